"""Time per step: ``fit`` against a loop by hand, HF Trainer and Lightning.

Everyone trains the same network for one epoch on the same MNIST digits, on the CPU in
float32. The loop is what a learner would write: DataLoader, Adam, five lines. ``fit``
runs as a notebook calls it: progress bar on, clipping, the order that makes exact
resuming possible. Trainer and Lightning run without bar, logs, saving or summary.
Setting up is part of everyone's time, making the network is not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import helpers
from benchmarks.common import interleave, machine, ratios, table
from benchmarks.mnist import PublishedNetwork
from helpers.datasets import mnist

LOOP, FIT, TRAINER, LIGHTNING = "loop by hand", "fit", "HF Trainer", "Lightning"
OPTION = "fit, channels_last"
LR = 1e-3
APART = Path(sys.prefix) / "benchmarks"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"


@dataclass(frozen=True)
class Task:
    """A network to train, and how: so many steps of so many digits."""

    name: str
    make: Callable[[], nn.Module]
    batch_size: int
    steps: int

    def data(self) -> TensorDataset:
        """The first digits of the training set, enough for all steps."""
        return mnist("train", limit=self.steps * self.batch_size)


def small_mlp() -> nn.Module:
    """784 inputs, 128 hidden units, 10 scores."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)
    )


TASKS = {
    "cnn": Task("CNN of the source document, batch 64", PublishedNetwork, 64, 40),
    "mlp": Task("small MLP, batch 32", small_mlp, 32, 400),
}


def loop_by_hand(model: nn.Module, data: TensorDataset, size: int) -> None:
    """The loop of every tutorial."""
    loader = DataLoader(data, batch_size=size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def fit(model: nn.Module, data: TensorDataset, size: int) -> None:
    """The course's call, with everything it does by default and its bar."""
    loader = DataLoader(data, batch_size=size, shuffle=True)
    helpers.fit(model, loader, lr=LR, device="cpu", progress=True)


def fit_channels_last(model: nn.Module, data: TensorDataset, size: int) -> None:
    """The same call with the option that suits convolutions; not what is judged."""
    loader = DataLoader(data, batch_size=size, shuffle=True)
    helpers.fit(model, loader, lr=LR, device="cpu", progress=True, channels_last=True)


class _Rows(Dataset[dict[str, Tensor]]):
    """The digits as Trainer wants them: dicts with labels."""

    def __init__(self, data: TensorDataset) -> None:
        self.x, self.y = data.tensors

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class _WithLoss(nn.Module):
    """A network as Trainer wants it: it returns its own loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        scores = self.model(x)
        loss = nn.functional.cross_entropy(scores, labels)
        return {"loss": loss, "logits": scores}


def hf_trainer(model: nn.Module, data: TensorDataset, size: int) -> None:
    """Hugging Face's Trainer with everything off that can be."""
    from transformers import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=size,
            learning_rate=LR,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        rows = _Rows(data)
        trainer = Trainer(_WithLoss(model), arguments, train_dataset=rows)
        trainer.train()


def with_lightning(model: nn.Module, data: TensorDataset, size: int) -> None:
    """Lightning's Trainer with everything off that can be."""
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, number: int) -> Tensor:
            x, y = batch
            return nn.functional.cross_entropy(self.model(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LR)

    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(data, batch_size=size, shuffle=True))


Train = Callable[[nn.Module, TensorDataset, int], None]


def contestants() -> dict[str, Train]:
    """Everyone who can run here; says so when Lightning cannot."""
    everyone: dict[str, Train] = {
        LOOP: loop_by_hand,
        FIT: fit,
        OPTION: fit_channels_last,
        TRAINER: hf_trainer,
    }
    if _lightning_is_there():
        everyone[LIGHTNING] = with_lightning
    else:
        print("Lightning could not be installed, so it does not take part.\n")
    return everyone


def _lightning_is_there() -> bool:
    sys.path.append(str(APART))
    if importlib.util.find_spec("lightning") is not None:
        return True
    # What else it needs is in the course's environment, whose pins stay as they are.
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    command += ["--target", str(APART), "-r", str(REQUIREMENTS)]
    done = subprocess.run(command, check=False)
    importlib.invalidate_caches()
    return done.returncode == 0 and importlib.util.find_spec("lightning") is not None


def timed(task: Task, train: Train) -> Callable[[int], float]:
    """A contestant for :func:`interleave`; refuses one that does not learn."""
    data, check = task.data(), DataLoader(mnist("valid", limit=500), 500)

    def run(number: int) -> float:
        torch.manual_seed(number)
        model = task.make()
        # Everybody prints into nothing: a bar is drawn, but not shown.
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stderr(nowhere),
            contextlib.redirect_stdout(nowhere),
        ):
            started = time.perf_counter()
            train(model, data, task.batch_size)
            seconds = time.perf_counter() - started
        accuracy = helpers.evaluate(model, check, device="cpu")["accuracy"]
        if accuracy < 0.5:
            raise RuntimeError(f"{train.__name__} reached only {accuracy:.0%}")
        return seconds

    return run


def report(seconds: dict[str, list[float]], steps: int) -> str:
    """The table, and whether the goals are met."""
    lines = [table(seconds, LOOP, steps=steps), ""]
    median = statistics.median(ratios(seconds, LOOP)[FIT])
    verdict = "met" if median <= 1 else "missed"
    lines.append(f"Goal: fit takes at most 1.00 of the loop: {verdict} ({median:.2f}).")
    for name in sorted(seconds.keys() - {LOOP, FIT, OPTION}):
        share = statistics.median(ratios(seconds, name)[FIT])
        verdict = "met" if share < 1 else "missed"
        lines.append(f"Goal: fit is faster than {name}: {verdict} ({share:.2f}).")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--task", choices=list(TASKS), action="append")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    print(machine(), end="\n\n")
    everyone = contestants()
    for key in options.task or TASKS:
        task = TASKS[key]
        # Channels have an order only where there are pictures with channels.
        left_out = {OPTION} if key == "mlp" else set()
        runs = {
            name: timed(task, train)
            for name, train in everyone.items()
            if name not in left_out
        }
        for run in runs.values():
            run(0)  # imports, first allocations
        seconds = interleave(runs, options.rounds)
        print(f"### {task.name}, {task.steps} steps\n\n{report(seconds, task.steps)}\n")


if __name__ == "__main__":
    main()
