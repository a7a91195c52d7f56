"""The example programs do what notebooks 02 and 10 say of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.examples.multi_process import launch

# Each starts two programs; test_training_processes trains in two processes, too.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PROGRAM = ["-m", "helpers.examples.multi_process"]
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def output(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_two_processes_train_the_same_model_as_one() -> None:
    one = output(*PROGRAM)
    two = output(*LAUNCHER, *PROGRAM)
    assert one.startswith("1 process(es): loss ")
    assert two == one.replace("1 process", "2 process", 1), "and only rank 0 prints"
    assert launch(2).strip() == two, "without a launcher process"


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="No module named .*no_such_program"):
        launch(2, "helpers.examples.no_such_program")


def test_sentences_of_two_languages_become_neighbours(tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    lines = ["The cat sleeps.", "Where is the station?", "猫在睡觉。", "火车站在哪里？"]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.examples.embed_multilingual", str(file)],
        input="\n".join(lines),
        encoding="utf-8",
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    vectors = np.load(file)
    assert vectors.shape == (4, 512)
    cosines = vectors[:2] @ vectors[2:].T
    assert cosines.argmax(axis=1).tolist() == [0, 1]
