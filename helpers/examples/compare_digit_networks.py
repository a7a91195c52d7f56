"""Three networks for MNIST on the same 6,000 digits: a table. See notebook 08.

    python -m helpers.examples.compare_digit_networks

D0's network with a layer of ten classes, D4's, and the small one of the notebook. Each
tries three learning rates with the first seed, and further ones as long as the best of
the 5,000 validation digits lies at an end of those tried; only with that rate, and five
seeds, are the test digits read. It takes about five minutes with one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import helpers
from helpers.datasets import mnist
from helpers.examples import records

__all__ = ["NETWORKS", "TARGET", "compare", "main"]

TARGET = records.RUNS / "08_networks.csv"
SEEDS = (0, 1, 2, 3, 4)
RATES = (3e-4, 1e-3, 3e-3)
FACTOR = 10**0.5  # between neighbours
COLUMNS = ("network", "weights", "lr", "seed", "seconds", "valid", "test")


def _d0() -> nn.Module:
    conv = nn.Conv2d(1, 32, 5, padding=2)
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(32 * 28 * 28, 10))


def _d4() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.25)),
        nn.Flatten(),
        *(nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


def _small() -> nn.Module:
    def block(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, size, stride=stride, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    body = block(1, 16, 5, 2), block(16, 32, 3, 2), block(32, 64, 3, 1)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(64 * 3 * 3, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"D0": _d0, "D4": _d4, "small": _small}
"""By name: makes the network, with random weights."""


def compare(
    target: Path,
    *,
    networks: Sequence[str] = tuple(NETWORKS),
    seeds: Sequence[int] = SEEDS,
    limit: int = 6_000,
    epochs: int = 3,
) -> None:
    """Write ``target``: each network's rates on validation, then seeds on test.

    Args:
        networks: names from ``NETWORKS``.
        seeds: of the weights and of the order; the first one chooses the rate.
        limit: the first so many of the training digits.
        epochs: passes over them, in batches of 64, with Adam.
    """
    train = DataLoader(mnist("train", limit=limit), 64, shuffle=True)
    valid, test = (DataLoader(mnist(split), 1_000) for split in ("valid", "test"))
    rows: list[dict[str, object]] = []

    def run(name: str, lr: float, seed: int) -> tuple[float, nn.Module]:
        """Train, note the validation accuracy in ``rows``, and return both."""
        torch.manual_seed(seed)
        model = NETWORKS[name]()
        optimizer = torch.optim.Adam(model.parameters(), lr)
        start = time.process_time()
        settings = {"optimizer": optimizer, "clip": None, "progress": False}
        helpers.fit(model, train, epochs=epochs, seed=seed, **settings)  # type: ignore[arg-type]
        seconds = time.process_time() - start
        right = helpers.evaluate(model, valid)["accuracy"]
        weights = helpers.count_parameters(model)[1]
        values = (name, weights, f"{lr:.2g}", seed, f"{seconds:.1f}", f"{right:.4f}")
        rows.append(dict(zip(COLUMNS, (*values, ""), strict=True)))
        print(*values, flush=True)
        return right, model

    for name in networks:
        found = {lr: run(name, lr, seeds[0]) for lr in RATES}
        noted = dict(zip(found, rows[-len(found) :], strict=True))
        while (best := max(found, key=lambda lr: found[lr][0])) in (
            min(found),
            max(found),
        ):
            beyond = best * FACTOR if best == max(found) else best / FACTOR
            found[beyond] = run(name, beyond, seeds[0])
            noted[beyond] = rows[-1]
        for seed in seeds:
            if seed == seeds[0]:
                model, row = found[best][1], noted[best]
            else:
                model, row = run(name, best, seed)[1], rows[-1]
            row["test"] = f"{helpers.evaluate(model, test)['accuracy']:.4f}"
    _write(target, rows, f"{limit:,} training digits, {epochs} epochs")


def _write(target: Path, rows: list[dict[str, object]], trained: str) -> None:
    total = sum(float(str(row["seconds"])) for row in rows)
    seeds = ", ".join(str(seed) for seed in sorted({int(str(r["seed"])) for r in rows}))
    head = [
        f"Networks of notebook 08: {trained}, batches of 64, Adam.",
        "valid, test: share of right answers of 5,000 and 10,000 digits; test only",
        "with the rate chosen on valid with the first seed, from a grid that grew",
        f"until its best was no end of it. seeds: {seeds}.",
        "weights: parameters. seconds: of the processor, for training.",
        "command: python -m helpers.examples.compare_digit_networks",
        f"machine: {records.machine()}; trained {total:.0f} s in all",
    ]
    records.write(target, head, COLUMNS, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    return records.command(lambda: compare(TARGET), __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
