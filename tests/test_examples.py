"""The example programs do what notebook 10 says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = ["-m", "helpers.examples.multi_process"]
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def output(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parent.parent,
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
