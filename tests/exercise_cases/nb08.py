"""Solutions and typical mistakes of notebook 08."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.exercise_cases import Case


def pad(X: Tensor, k: int) -> Tensor:
    return F.pad(X, (k, 0))[..., : X.shape[-1]]


def roll(X: Tensor, k: int) -> Tensor:
    return X.roll(k, dims=-1)


def left(X: Tensor, k: int) -> Tensor:
    return F.pad(X, (0, k))[..., k:]


def down(X: Tensor, k: int) -> Tensor:
    return F.pad(X, (0, 0, k, 0))[..., : X.shape[-2], :]


def wider(X: Tensor, k: int) -> Tensor:
    return F.pad(X, (k, 0))


def not_for_zero(X: Tensor, k: int) -> Tensor:
    return F.pad(X[..., :-k], (k, 0))


def in_place(X: Tensor, k: int) -> Tensor:
    X.copy_(pad(X, k))
    return X


CASES = {
    "08.1": Case(
        solution=12_544, mistakes=[9_216, 196, 16_384, 50_176, 65_536, 12_545]
    ),
    "08.2": Case(solution=1.4612, mistakes=[0.0, 2.3026, 0.232, 2.237, 1.0]),
    "08.3": Case(
        solution=lambda: pad,
        mistakes=[
            lambda: roll,
            lambda: left,
            lambda: down,
            lambda: wider,
            lambda: not_for_zero,
            lambda: in_place,
            lambda: lambda X, k: None,
            lambda: lambda X, k: torch.zeros_like(X),
        ],
    ),
    "08.4": Case(
        solution=0.238, mistakes=[0.1216, 0.4765, 0.00238, 23.8, 0.00029, 1.5]
    ),
}
