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
        solution=12_544,
        mistakes=[
            (9_216, "that is for 28 x 28; a"),
            (196, "196 is one map of 14 x"),
            (16_384, "each 3 x 3 convolution"),
            (50_176, "the maps are 28 x 28 before"),
            (65_536, "two convolutions without padding"),
            (12_545, "side = (32 - 2 - 2) / 2"),
        ],
    ),
    "08.2": Case(
        solution=1.4612,
        mistakes=[
            (0.0, "0 is what cross_entropy"),
            (2.3026, "2.30 is ln 10, the loss"),
            (0.232, "0.23 is the probability"),
            (2.237, "Perfect softmax output is"),
            (1.0, "Perfect softmax output is"),
        ],
    ),
    "08.3": Case(
        solution=lambda: pad,
        mistakes=[
            (lambda: roll, "what leaves on the right"),
            (lambda: left, "this moves to the left"),
            (lambda: down, "this moves down; the last"),
            (lambda: wider, "the shape changes from"),
            (lambda: not_for_zero, "k = 0 must give the same"),
            (lambda: in_place, "the function changes X"),
            (lambda: lambda X, k: None, "the function returns a"),
            (lambda: lambda X, k: torch.zeros_like(X), "column j of the result"),
        ],
    ),
    "08.4": Case(
        solution=0.238,
        mistakes=[
            (0.1216, "that is one standard error"),
            (0.4765, "that is the whole interval"),
            (0.00238, "that is a fraction; times"),
            (23.8, "divide by the 10,000 digits"),
            (0.00029, "the square root is missing."),
            (1.5, "100 * 1.96 * sqrt(0.985"),
        ],
    ),
}
