"""Solutions and typical mistakes of notebook 18."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

from tests.exercise_cases import Case


def _fair(scores: torch.Tensor, k: int) -> float:
    before = (scores >= scores.diagonal()[:, None]).sum(dim=1) - 1
    return (before < k).float().mean().item()


def _hopeful(scores: torch.Tensor, k: int) -> float:
    before = (scores > scores.diagonal()[:, None]).sum(dim=1)
    return (before < k).float().mean().item()


def _with_itself(scores: torch.Tensor, k: int) -> float:
    before = (scores >= scores.diagonal()[:, None]).sum(dim=1)
    return (before < k).float().mean().item()


CASES = {
    "18.1": Case(
        solution=math.log(512),
        mistakes=[
            (9.0, "that is the base-2 logarithm"),
            (2.71, "that is the logarithm to"),
            (12.48, "rows and columns are averaged"),
            (3.12, "each direction costs ln"),
            (-6.24, "a loss is minus the logarithm"),
            (1 / 512, "that is the probability"),
            (512, "512 is the number of answers"),
            (1.0, "softmax of equal scores"),
        ],
    ),
    "18.2": Case(
        solution=lambda: _fair,
        mistakes=[
            (lambda: _hopeful, "a tie still counts for"),
            (lambda: _with_itself, "with k equal to the number"),
            (lambda: lambda scores, k: _fair(scores.T, k), "you ranked names for each"),
            (
                lambda: lambda scores, k: _fair(scores, k) * len(scores),
                "that is a count: divide",
            ),
        ],
    ),
    "18.3": Case(
        solution=lambda: lambda p: normalize(normalize(p, dim=2).mean(1), dim=1),
        mistakes=[
            (lambda: lambda p: normalize(p, dim=2).mean(1), "a mean of unit vectors"),
            (lambda: lambda p: normalize(p.mean(1), dim=1), "the long vectors drown"),
            (lambda: lambda p: p.mean(1), "a plain mean: normalise"),
            (
                lambda: lambda p: normalize(normalize(p, dim=2).mean(0), dim=1),
                "you averaged over the categories",
            ),
            (
                lambda: lambda p: normalize(normalize(p).mean(1), dim=1),
                "normalize's default, dim=1, runs",
            ),
        ],
    ),
}
