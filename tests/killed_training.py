"""Kill trainings with SIGKILL, resume them in new processes, compare the weights.

Run by ``test_training_resume`` as ``python -m tests.killed_training FOLDER``, which
writes FOLDER/results.json. Starting Python and torch takes seconds, so this process
imports them once, trains nothing itself, and forks a new process for every training.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from helpers.training import fit
from tests.training_cases import Augmented, blobs, loader, mlp

# torch imports these, two seconds of work, when it makes its first optimizer.
LOADED_LATE = ("torch._dynamo", "torch.distributed.tensor")
KILLS = 20
STEPS = 3 * 8  # epochs times batches of the plain case


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def press_ctrl_c() -> None:
    """What a terminal and Jupyter do: tell the process and its workers."""
    os.killpg(0, signal.SIGINT)


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> OneCycleLR:
    return OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)


def train(
    folder: Path | None, note: Path, at: int | None, after: bool, **changes: Any
) -> None:
    """Train a small model; die in its step number ``at``, before or after the work.

    Writes to ``note`` the weights' hash, the history and the number of steps taken.
    """
    calls = 0

    def step(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        if model.training:
            if calls == at and not after:
                stop()
            calls += 1
        outputs = model(batch[0])
        loss = nn.functional.cross_entropy(outputs, batch[1])
        if model.training and calls - 1 == at:
            stop()
        return loss, outputs

    workers, stop = changes.pop("workers", 0), changes.pop("stop", die)
    arguments: dict[str, Any] = {
        "epochs": 3,
        "scheduler": one_cycle,
        "accumulate": 3,
        "save_every": 2 if folder else None,
        **changes,
    }
    model = mlp(dropout=0.3)
    data = loader(Augmented(blobs(62)), num_workers=workers)
    valid = loader(blobs(30, seed=5))
    history = fit(model, data, valid, step=step, folder=folder, **arguments)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    rows = [{k: v for k, v in r.items() if k != "seconds"} for r in history.rows]
    result = {"weights": digest.hexdigest(), "rows": rows, "outcome": history.outcome}
    note.write_text(json.dumps({"result": result, "steps": calls}))


def in_new_process(work: Callable[[], None], seconds: float | None = None) -> int:
    """Fork, do the work there, optionally kill it after a while; its wait status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def killed_in_saving(number: int) -> Callable[[], None]:
    """Makes the next process die in its save number ``number``, before the rename."""

    def prepare() -> None:
        replace, calls = os.replace, 0

        def deadly(source: Any, target: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                die()
            replace(source, target)

        os.replace = deadly  # type: ignore[assignment]

    return prepare


class Series:
    """Kills and resumes under one name, all compared with one uninterrupted run."""

    def __init__(self, root: Path, name: str, **changes: Any) -> None:
        self.root, self.name, self.changes = root / name, name, changes
        self.root.mkdir()
        started = time.perf_counter()
        status = in_new_process(lambda: self.run(None, "whole"))
        self.seconds = time.perf_counter() - started
        assert status == 0, f"{name}: the uninterrupted run failed"
        self.whole = self.read("whole")
        self.results: list[dict[str, Any]] = []

    def run(
        self, folder: Path | None, note: str, at: int | None = None, after: bool = True
    ) -> None:
        path = self.root / f"{note}.json"
        train(folder, path, at, after, **self.changes)

    def read(self, note: str) -> dict[str, Any]:
        return json.loads((self.root / f"{note}.json").read_text())

    def kill_and_resume(
        self,
        at: int | None = None,
        after: bool = True,
        seconds: float | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        number = len(self.results)
        folder, note = self.root / f"run-{number}", f"resumed-{number}"

        def killed() -> None:
            prepare()
            self.run(folder, "killed", at, after)

        first = in_new_process(killed, seconds)
        second = in_new_process(lambda: self.run(folder, note))
        found = self.read(note) if second == 0 else {"result": None, "steps": None}
        left = [path.name for path in folder.iterdir()]
        self.results.append(
            {
                "status": first,
                "killed": os.WIFSIGNALED(first)
                and os.WTERMSIG(first) == signal.SIGKILL,
                "equal": found["result"] == self.whole["result"],
                "repeated": found["steps"] == self.whole["steps"],
                "left over": [name for name in left if name.startswith(".")],
                "where": {"at": at, "after": after, "seconds": seconds},
            }
        )


def main(root: Path) -> None:
    torch.set_num_threads(1)
    for name in LOADED_LATE:
        importlib.import_module(name)
    numbers = random.Random(os.urandom(8))
    steps = Series(root, "at random steps")
    for at in numbers.sample(range(STEPS), KILLS):
        steps.kill_and_resume(at, numbers.random() < 0.5)
    saving = Series(root, "in saving")
    for number in (1, 2, 5):
        saving.kill_and_resume(prepare=killed_in_saving(number))
    times = Series(root, "at random times")
    for _ in range(6):
        times.kill_and_resume(seconds=numbers.uniform(0, times.seconds))
    patient = Series(root, "with patience", patience=1, scheduler=None, lr=0.05)
    for at in (4, patient.whole["steps"] - 1):
        patient.kill_and_resume(at)
    workers = Series(root, "with workers", workers=2)
    workers.kill_and_resume(13)
    more = {"workers": 2, "accumulate": 8}  # it needs its workers seven times more
    pressed = Series(root, "with Ctrl-C", stop=press_ctrl_c, **more)
    pressed.kill_and_resume(8, prepare=os.setsid)
    every = [steps, saving, times, patient, workers, pressed]
    results = {series.name: series.results for series in every}
    (root / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
