"""MNIST: seconds of training to 98.5 % on the test images, the plain way and the fast.

The plain way is the program of the course's source document: a large network, one
image at a time through a DataLoader, batches of 64, a constant learning rate. The fast
recipe is that of notebook 08. Both see all 60,000 training images in an order of their
own per round, on the CPU. The clock stops while the test images are checked, which
happens for everyone as soon as another 5,000 images were trained on. The recipe's
settings were chosen on 5,000 images held out of the training set; the test images only
say when to stop the clock.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import helpers
from benchmarks.common import interleave, machine, markdown, ratios, table

TARGET = 0.985
CHECK_EVERY = 5_000
PLAIN_EPOCHS = 10
EPOCHS, BATCH, MAX_LR = 2, 256, 0.01

Training = Iterator[int]
"""Trains on one batch each time it is asked, and yields how many images that had."""


class PublishedNetwork(nn.Module):
    """The source document's network, slips included (notebook 08 explains them)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout2d(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (n, 1, 28, 28) to log-probabilities (n, 10)."""
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


def small_network() -> nn.Sequential:
    """The recipe's network: (n, 1, 28, 28) to scores (n, 10). Shown in notebook 08."""

    def block(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, size, stride=stride, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16, 5, stride=2),
        *block(16, 32, 3, stride=2),
        *block(32, 64, 3),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 10),
    )


def published(data: MNIST, model: nn.Module) -> Training:
    """The source document's loop, line by line."""
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    criterion = nn.CrossEntropyLoss()
    for _ in range(PLAIN_EPOCHS):
        for inputs, labels in loader:
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(labels)


def in_memory(data: MNIST, model: nn.Module) -> Training:
    """The same loop over tensors in memory."""
    X, y = _tensors(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(PLAIN_EPOCHS):
        for index in torch.randperm(len(X)).split(64):
            loss = F.cross_entropy(model(X[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(index)


def recipe(data: MNIST, model: nn.Module) -> Training:
    """Tensors in memory, large batches, channels last, one cycle of learning rates."""
    X, y = _tensors(data)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR, fused=True)
    steps = EPOCHS * math.ceil(len(X) / BATCH)
    schedule = OneCycleLR(optimizer, MAX_LR, total_steps=steps, pct_start=0.25)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(X)).split(BATCH):
            pictures = X[index].contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(pictures), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield len(index)


def _tensors(data: MNIST) -> tuple[Tensor, Tensor]:
    return data.data.float().div_(255).unsqueeze_(1), data.targets


def accuracy(model: nn.Module, X: Tensor, y: Tensor) -> float:
    """Share of right answers in eval mode; the model is in train mode afterwards."""
    model.eval()
    with torch.inference_mode():
        right = sum(int((model(a).argmax(1) == b).sum()) for a, b in _batches(X, y))
    model.train()
    return right / len(y)


def _batches(X: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(X.split(1000), y.split(1000), strict=True)


@dataclass
class Finish:
    """One run: seconds and images until the target (inf if missed), accuracy there."""

    seconds: float = math.inf
    images: float = math.inf
    accuracy: float = 0.0


def run(training: Training, check: Callable[[], float], target: float) -> Finish:
    """Train until ``check()`` reaches ``target``; checking is not timed."""
    seconds, seen, due = 0.0, 0, CHECK_EVERY
    score = 0.0
    started = time.perf_counter()
    for count in training:
        seen += count
        if seen < due:
            continue
        seconds += time.perf_counter() - started
        due += CHECK_EVERY
        score = check()
        if score >= target:
            return Finish(seconds, seen, score)
        started = time.perf_counter()
    return Finish(accuracy=score)


Way = tuple[Callable[[MNIST, nn.Module], Training], Callable[[], nn.Module]]
WAYS: dict[str, Way] = {
    "the published program": (published, PublishedNetwork),
    "its data in memory": (in_memory, PublishedNetwork),
    "... and the small network": (in_memory, small_network),
    "the recipe": (recipe, small_network),
}


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--ends", action="store_true", help="only the program and the recipe"
    )
    options = parser.parse_args()
    helpers.require("mnist")
    warnings.filterwarnings("ignore", message="dropout2d: Received a 2-D input")
    train = MNIST(helpers.data_root(), train=True, transform=ToTensor())
    X, y = _tensors(MNIST(helpers.data_root(), train=False))
    finishes: dict[str, list[Finish]] = {}

    def contestant(name: str) -> Callable[[int], float]:
        loop, make_model = WAYS[name]

        def one_round(number: int) -> float:
            torch.manual_seed(number)
            model = make_model()
            done = run(loop(train, model), lambda: accuracy(model, X, y), TARGET)
            finishes.setdefault(name, []).append(done)
            return done.seconds

        return one_round

    names = ["the published program", "the recipe"] if options.ends else list(WAYS)
    seconds = interleave({name: contestant(name) for name in names}, options.rounds)
    print(machine(), end="\n\n")
    print(f"Training time to {TARGET:.1%} of the 10,000 test images (checks left out):")
    print(table(seconds, "the recipe"), end="\n\n")
    print(_rounds(finishes), end="\n\n")
    faster = ratios(seconds, "the recipe")["the published program"]
    print(
        f"The recipe is {statistics.median(faster):.1f} times as fast "
        f"({min(faster):.1f} to {max(faster):.1f} in {len(faster)} rounds; goal: 4)."
    )
    print(_whole_recipe(train, X, y, options.rounds))


def _rounds(finishes: dict[str, list[Finish]]) -> str:
    """A table of every round: seconds, and thousands of images, to the target."""
    rounds = len(next(iter(finishes.values())))
    heads = ["seconds (images)", *(f"seed {number}" for number in range(rounds))]
    rows = [
        [name, *(f"{f.seconds:.1f} ({f.images / 1000:.0f}k)" for f in done)]
        for name, done in finishes.items()
    ]
    return markdown(heads, rows)


def _whole_recipe(train: MNIST, X: Tensor, y: Tensor, rounds: int) -> str:
    """Run the recipe's whole schedule: its last accuracy is no lucky moment."""
    scores, seconds = [], []
    for number in range(rounds):
        torch.manual_seed(number)
        model = small_network()
        started = time.perf_counter()
        for _ in recipe(train, model):
            pass
        seconds.append(time.perf_counter() - started)
        scores.append(accuracy(model, X, y))
    listed = ", ".join(f"{score:.2%}" for score in scores)
    return (
        f"Run to its end ({statistics.median(seconds):.1f} s) it stands at {listed} "
        "of the test images."
    )


if __name__ == "__main__":
    main()
