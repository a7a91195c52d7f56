"""Tiny models and data that the tests of the training loop share."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers.loop.batches import Batches
from helpers.loop.steps import Step


def blobs(n: int = 60, classes: int = 3, width: int = 4, seed: int = 0) -> Any:
    """Clouds of points, one a class, that a small network separates well."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, width, generator=generator)
    y = torch.arange(n) % classes
    return TensorDataset(centres[y] + torch.randn(n, width, generator=generator), y)


def loader(dataset: Any = None, batch_size: int = 8, **options: Any) -> DataLoader:
    """A shuffling DataLoader over ``dataset``, by default over :func:`blobs`."""
    options.setdefault("shuffle", True)
    return DataLoader(blobs() if dataset is None else dataset, batch_size, **options)


def mlp(width: int = 4, classes: int = 3, dropout: float = 0.0) -> nn.Sequential:
    """A two-layer network, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(width, 16),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(16, classes),
        )


def cnn(classes: int = 3) -> nn.Sequential:
    """A convolution with batch norm for pictures (n, 3, 8, 8), always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, classes),
        )


def overflowing_step(at: int) -> Step:
    """Cross-entropy; in call ``at`` fp16's scaling makes the gradient infinite."""
    calls = itertools.count(1)

    def step(model: nn.Module, batch: Any) -> Any:
        outputs = model(batch[0])
        loss = nn.functional.cross_entropy(outputs, batch[1])
        if next(calls) == at:  # the value stays as it is
            loss = loss + ((outputs - outputs.detach()) * 1e37).sum()
        return loss, outputs

    return step


def pictures(n: int = 24, classes: int = 3) -> TensorDataset:
    """Random pictures (n, 3, 8, 8) with labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, 8, 8, generator=generator)
    return TensorDataset(x, torch.arange(n) % classes)


class Listed(Dataset):
    """Another dataset's examples, in a class that ``fit`` cannot slice in memory."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


class Augmented(Listed):
    """Examples with noise from all three generators that a transform may use."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.dataset[index]
        noise = torch.randn(x.shape) + random.random() + float(np.random.rand())
        return x + 0.1 * noise, y


def order_of(train: DataLoader, epochs: int, seed: int = 0) -> Iterator[Any]:
    """The batches of a fit over ``epochs`` epochs, one after the other."""
    batches = Batches(train, "train", seed)
    for epoch in range(epochs):
        for _, batch in batches.read(batches.plan(epoch), epoch):
            yield batch


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of everything a model's state holds."""
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def same(first: nn.Module | dict, second: nn.Module | dict) -> bool:
    """Whether two models (or copies of their state) are equal bit for bit."""
    a = first if isinstance(first, dict) else weights(first)
    b = second if isinstance(second, dict) else weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def distance(first: nn.Module, second: nn.Module) -> float:
    """The largest difference between two models' weights."""
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)
