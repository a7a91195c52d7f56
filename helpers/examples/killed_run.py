"""A training that is stopped in the middle, and goes on. Taught in notebook 10.

    python -m helpers.examples.killed_run FOLDER STEP

kills itself in that step as `kill -9` would: no handler runs, nothing is tidied up. The
same command without STEP continues from the last checkpoint in FOLDER, and compares
the head with that of a training that nobody disturbed.
"""

from __future__ import annotations

import itertools
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

import helpers
from helpers.datasets import openmoji
from helpers.training import classify

__all__ = ["KILL", "main", "train"]

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows knows only the second


def train(
    folder: str | Path | None = None,
    stop_at: int | None = None,
    how: signal.Signals = KILL,
) -> nn.Module:
    """Train a head with dropout on 128 drawings: 10 epochs of 4 steps.

    Args:
        folder: for checkpoints, one every third step; None keeps none.
        stop_at: the step, counted from 1, in which the process gets the signal ``how``.
    """
    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    drawings = openmoji("train", weights.transforms(resize_size=64, crop_size=64))
    body = mobilenet_v2(weights=weights)
    body.classifier = nn.Identity()
    loader = DataLoader(Subset(drawings, range(0, 512, 4)), batch_size=64)
    vectors = helpers.cache_features(body, loader, progress=False)
    torch.manual_seed(0)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(vectors.width, 6))
    calls = itertools.count(1)

    def step(model: nn.Module, batch: Any) -> tuple[torch.Tensor, Any]:
        if next(calls) == stop_at:
            signal.raise_signal(how)
        return classify(model, batch)

    options: dict[str, Any] = {"folder": folder, "save_every": 3} if folder else {}
    options |= {"epochs": 10, "step": step, "deterministic": True, "progress": False}
    history = helpers.fit(head, vectors.loader(32, shuffle=True), **options)
    print(history.outcome, "after", history.steps, "steps")
    return head


def main() -> None:
    """Train in the folder given; die in the step given, if one is."""
    folder, *step = sys.argv[1:]
    head = train(folder, int(step[0]) if step else None)
    pairs = zip(head.parameters(), train().parameters(), strict=True)
    equal = all(torch.equal(a, b) for a, b in pairs)
    print("equal to an undisturbed run, bit for bit:", equal)


if __name__ == "__main__":
    main()
