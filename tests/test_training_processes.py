"""The same call on two processes gives what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import helpers
from helpers import environment
from tests.training_cases import cnn, loader, mlp, pictures
from tests.two_processes import Results, run

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32",
    reason="needs torch.distributed with gloo",
)


def launch(*command: str) -> str:
    """Run a program on two processes of the CPU; return what it printed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
            *command,
        ],
        cwd=ROOT,
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        | {"COURSE_INTERACTIVE": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """Weights and scores of one process, and of each of two."""
    folder = tmp_path_factory.mktemp("processes")
    launch("tests/two_processes.py", str(folder))
    results = {"one": run(folder / "checkpoint-of-1")}
    for rank in (0, 1):
        path = folder / f"{rank}-of-2"
        scores = json.loads(path.with_suffix(".json").read_text())
        results[f"rank {rank}"] = load_file(path.with_suffix(".safetensors")), scores
    return results


def test_weights_equal_those_of_one_process(both: dict[str, Results]) -> None:
    for name, expected in both["one"][0].items():
        found = both["rank 0"][0][name]
        assert float((found - expected).abs().max()) < 1e-6, name


def test_both_processes_hold_the_same_weights(both: dict[str, Results]) -> None:
    first, second = both["rank 0"][0], both["rank 1"][0]
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert "noisy/0.weight" in first
    assert "batch norm/1.running_mean" in first


def test_all_processes_score_the_same_model(both: dict[str, Results]) -> None:
    tensors, scores = both["rank 0"]
    model, start = cnn(), "batch norm/"
    state = {k.removeprefix(start): v for k, v in tensors.items() if start in k}
    model.load_state_dict(state)
    expected = helpers.evaluate(model, loader(pictures(30)))["loss"]
    assert scores["batch norm"] == pytest.approx(expected, abs=2e-6)


def test_histories_and_scores_equal_those_of_one_process(
    both: dict[str, Results],
) -> None:
    def flat(scores: Any) -> dict[str, float]:
        rows = {k: v if isinstance(v, list) else [v] for k, v in scores.items()}
        return {
            f"{case} {number} {name}": value
            for case, lines in rows.items()
            if case not in ("writes", "apart", "batch norm")
            for number, line in enumerate(lines)
            for name, value in line.items()
        }

    expected = flat(both["one"][1])
    assert any("valid_f1" in name for name in expected)
    for rank in ("rank 0", "rank 1"):
        found = flat(both[rank][1])
        assert found == pytest.approx(expected, abs=2e-6)
        exact = [name for name in expected if "accuracy" in name or "f1" in name]
        assert [found[n] for n in exact] == pytest.approx([expected[n] for n in exact])


def test_only_the_first_process_writes(both: dict[str, Results]) -> None:
    assert both["rank 0"][1]["writes"]
    assert both["rank 1"][1]["writes"] == []


def test_folders_without_a_shared_disk_are_noticed(both: dict[str, Results]) -> None:
    for rank in ("rank 0", "rank 1"):
        text = both[rank][1]["apart"]
        assert "[[1, 0], None]" in text
        assert "all machines share" in text


def test_processes_that_would_train_apart_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(environment, "device", lambda: torch.device("mps"))
    with pytest.raises(ValueError, match=r"one of 2 processes.*device='cpu'"):
        helpers.fit(mlp(), loader())
