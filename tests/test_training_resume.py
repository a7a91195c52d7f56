"""A training killed with SIGKILL anywhere continues to the very same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="kills forked processes; Windows cannot fork"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("killed")
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "tests.killed_training", str(folder)]
        # To a file: orphaned DataLoader workers would hold a pipe open for seconds.
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"COURSE_INTERACTIVE": "0"},
            stdout=log,
            stderr=log,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, (folder / "log").read_text()
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("at random steps", 20),
        ("in saving", 3),
        ("with patience", 2),
        ("with workers", 1),
    ],
)
def test_killed_and_resumed_runs_equal_the_uninterrupted_one(
    results: Any, name: str, kills: int
) -> None:
    runs = results[name]
    assert [run["killed"] for run in runs] == [True] * kills
    assert [run["where"] for run in runs if not run["equal"]] == []
    assert [run["left over"] for run in runs] == [[]] * kills


def test_so_do_runs_killed_at_any_time(results: Any) -> None:
    runs = results["at random times"]
    assert [run["where"] for run in runs if not run["equal"]] == []


def test_ctrl_c_does_not_take_the_workers_away(results: Any) -> None:
    (run,) = results["with Ctrl-C"]
    assert run["status"] == 0  # interrupted in an orderly way, not by an error
    assert run["equal"]


def test_resuming_does_not_repeat_everything(results: Any) -> None:
    # A kill before the first checkpoint, six batches in, has to begin again.
    late = [r for r in results["at random steps"] if r["where"]["at"] >= 6]
    assert late
    assert not any(run["repeated"] for run in late)
