"""ResNet-50 fine-tuning on a GPU: the source document's loop against ``fit``.

The plain way is the source document's program: float32, batches of 32 through a
DataLoader, SGD with momentum. ``fit`` does the same training in bf16 with
channels-last. Pictures are JPEG files made here (random ones: only the speed counts),
decoded, resized and cropped as the program does; the weights are random too. The last
rows train on one batch that already lies in GPU memory: the most that the GPU can do,
without any data to wait for. Their share tells how much of it each way reaches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18, resnet50

import helpers
from benchmarks.common import interleave, machine, markdown, ratios

PLAIN, FIT = "source document's loop, fp32", "fit, bf16, channels-last"
PLAIN_TOP, FIT_TOP = "fp32 loop on data in memory", "bf16 fit on data in memory"
CLASSES = 100


class Task:
    """Pictures on disk and in memory, and four ways to train on them.

    Args:
        folder: an ImageFolder with the pictures.
        options: batch size, workers, steps, device and whether this is a smoke test.
    """

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        side = 64 if options.tiny else 224
        steps = [
            transforms.Resize(side * 256 // 224),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
        self.pictures = ImageFolder(str(folder), transforms.Compose(steps))
        self.count = options.steps * options.batch
        x = torch.randn(options.batch, 3, side, side, device=self.device)
        y = torch.randint(CLASSES, (options.batch,), device=self.device)
        self.batch = x, y

    def loader(self, dataset: Dataset) -> DataLoader:
        """Shuffled batches; workers and pinned memory for both ways alike."""
        return DataLoader(
            dataset,
            self.options.batch,
            shuffle=True,
            num_workers=self.options.workers,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )

    def _new(self, number: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(number)
        model = (resnet18 if self.options.tiny else resnet50)(weights=None)
        model.fc = nn.Linear(model.fc.in_features, CLASSES)
        model.to(self.device)
        return model, torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

    def _timed(self, work: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def plain(self, number: int) -> float:
        """Seconds of the source document's loop over the pictures."""
        model, optimizer = self._new(number)
        return self._timed(
            lambda: self._loop(model, optimizer, self.loader(self.pictures))
        )

    def plain_top(self, number: int) -> float:
        """Seconds of the same loop when every batch is there already."""
        model, optimizer = self._new(number)
        batches = [self.batch] * self.options.steps
        return self._timed(lambda: self._loop(model, optimizer, batches))

    def _loop(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, batches: object
    ) -> None:
        criterion = nn.CrossEntropyLoss()
        model.train()
        for inputs, labels in batches:  # type: ignore[attr-defined]
            inputs, labels = inputs.to(self.device), labels.to(self.device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()

    def fit(self, number: int) -> float:
        """Seconds of ``fit`` over the pictures."""
        model, optimizer = self._new(number)
        return self._timed(lambda: self._fit(model, optimizer, self.pictures))

    def fit_top(self, number: int) -> float:
        """Seconds of ``fit`` when the data lies in the GPU's memory already."""
        model, optimizer = self._new(number)
        repeated = Repeated(self.batch, self.options.steps)
        return self._timed(lambda: self._fit(model, optimizer, repeated))

    def _fit(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, data: Dataset
    ) -> None:
        in_memory = isinstance(data, Repeated)
        size = self.options.batch
        loader = data.loader(size) if in_memory else self.loader(data)
        helpers.fit(
            model,
            loader,
            optimizer=optimizer,
            precision="fp32" if self.options.tiny else "bf16",
            channels_last=True,
            device=self.device,
            progress=False,
        )


class Repeated(TensorDataset):
    """One batch on the device, as a data set of ``times`` batches."""

    def __init__(self, batch: tuple[torch.Tensor, torch.Tensor], times: int) -> None:
        super().__init__(*batch)
        self.times = times

    def loader(self, size: int) -> DataLoader:
        """Batches of the same examples over and over, sliced on the device."""
        again = list(range(size)) * self.times
        return DataLoader(TensorDataset(*self.tensors), size, sampler=again)


def make_pictures(folder: Path, count: int, side: int) -> None:
    """Write JPEG files of blurred noise, in folders of two classes."""
    numbers = np.random.default_rng(0)
    for index in range(count):
        place = folder / f"class{index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = numbers.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((side * 4 // 3, side))
        picture.save(place / f"{index:05d}.jpg", quality=90)


def report(seconds: dict[str, list[float]], images: int) -> str:
    """Images a second, ratio of the times to the plain loop, share of the top."""
    tops = {PLAIN: PLAIN_TOP, FIT: FIT_TOP}
    rows = []
    for name, values in seconds.items():
        paired = ratios(seconds, PLAIN)[name]
        share = ""
        if name in tops:
            ratio = statistics.median(ratios(seconds, name)[tops[name]])
            share = f"{ratio:.0%}"
        rate = images / statistics.median(values)
        spread = f"{min(paired):.2f} to {max(paired):.2f}"
        rows.append(
            [name, f"{rate:,.0f}", f"{statistics.median(paired):.2f}", spread, share]
        )
    heads = ["", "images a second", "ratio of times", "min to max", "share of its top"]
    return markdown(heads, rows)


def main() -> None:
    """Measure and print, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="smoke test in seconds")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("The GPU benchmark did not run: no CUDA device.")
        return
    if options.tiny:
        print("SMOKE TEST: tiny network and pictures; these numbers mean nothing.\n")
        options.batch, options.steps, options.rounds, options.workers = 4, 3, 2, 0
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        side = 64 if options.tiny else 375
        make_pictures(Path(folder), options.steps * options.batch, side)
        task = Task(Path(folder), options)
        runs = {
            PLAIN: task.plain,
            FIT: task.fit,
            PLAIN_TOP: task.plain_top,
            FIT_TOP: task.fit_top,
        }
        for run in runs.values():
            run(0)  # the GPU picks its algorithms
        seconds = interleave(runs, options.rounds)
    print(report(seconds, task.count))


if __name__ == "__main__":
    sys.exit(main())
