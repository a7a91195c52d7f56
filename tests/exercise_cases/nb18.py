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
        mistakes=[9.0, 2.71, 12.48, 3.12, -6.24, 1 / 512, 512, 1.0],
    ),
    "18.2": Case(
        solution=lambda: _fair,
        mistakes=[
            lambda: _hopeful,
            lambda: _with_itself,
            lambda: lambda scores, k: _fair(scores.T, k),
            lambda: lambda scores, k: _fair(scores, k) * len(scores),
        ],
    ),
    "18.3": Case(
        solution=lambda: lambda p: normalize(normalize(p, dim=2).mean(1), dim=1),
        mistakes=[
            lambda: lambda p: normalize(p, dim=2).mean(1),
            lambda: lambda p: normalize(p.mean(1), dim=1),
            lambda: lambda p: p.mean(1),
            lambda: lambda p: normalize(normalize(p, dim=2).mean(0), dim=1),
            lambda: lambda p: normalize(normalize(p).mean(1), dim=1),
        ],
    ),
}
