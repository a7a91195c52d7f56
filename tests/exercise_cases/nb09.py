"""Solutions and typical mistakes of notebook 09."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.modules.batchnorm import _BatchNorm

from tests.exercise_cases import Case


def _modes(kinds: type[nn.Module], *, first: bool = True, all_of_them: bool = False):
    def train_mode(model: nn.Module) -> None:
        model.train(first)
        for layer in model.modules():
            if isinstance(layer, kinds):
                learns = any(p.requires_grad for p in layer.parameters())
                if all_of_them or not learns:
                    layer.eval()

    return train_mode


def _vote(queries, X, y, k, *, unit=True, labels=True, distance=False):
    if distance:
        likeness = -torch.cdist(queries, X)
    else:
        likeness = queries @ (normalize(X) if unit else X).T
    nearest = likeness.topk(k).indices
    return y[nearest].mode(dim=1).values if labels else nearest[:, 0]


def _first_only(queries, X, y, k):
    return _vote(queries, X, y, 1)


def _all_votes(queries, X, y, k):
    return y[(normalize(queries) @ normalize(X).T).topk(k).indices]


_X = torch.randn(599, 1280, generator=torch.Generator().manual_seed(0))
_Y = torch.arange(599) % 6
_HALF = torch.cat([_X[:300], _X[300:].flip(1)])

CASES = {
    "09.1": Case(
        solution=lambda: (torch.cat([_X, _X.flip(1)]), _Y.repeat(2)),
        mistakes=[
            (lambda: (_X, _Y), "X has 599 rows: put the"),
            (lambda: (torch.cat([_X, _X.flip(1)]), _Y), "y has 599 labels for 1198"),
            (
                lambda: (torch.cat([_X, _X.flip(1)]), _Y.repeat_interleave(2)),
                "the two halves of y differ",
            ),
            (lambda: (torch.cat([_X, _X]), _Y.repeat(2)), "both halves of X are equal"),
            (
                lambda: (torch.cat([_X, _HALF]), _Y.repeat(2)),
                "50% of the pictures were",
            ),
        ],
    ),
    "09.2": Case(
        solution=lambda: _modes(_BatchNorm),
        mistakes=[
            (lambda: _modes(_BatchNorm, first=False), "dropout is still in eval"),
            (lambda: _modes(_BatchNorm, all_of_them=True), "a batch norm that learns"),
            (lambda: nn.Module.train, "the frozen BatchNorm2d is"),
            (lambda: _modes(nn.BatchNorm2d), "BatchNorm2d is done, the"),
        ],
    ),
    "09.3": Case(
        solution=lambda: _vote,
        mistakes=[
            (
                lambda: lambda *given: _vote(*given, distance=True),
                "that is the smallest distance",
            ),
            (
                lambda: lambda *given: _vote(*given, unit=False),
                "a plain product favours",
            ),
            (
                lambda: lambda *given: _vote(*given, labels=False),
                "these are row numbers of",
            ),
            (lambda: _first_only, "k makes no difference"),
            (lambda: _all_votes, "return one label a query"),
        ],
    ),
    "09.4": Case(
        solution=31,
        mistakes=[
            (24, "features[:14] ends with block"),
            (20, "you divided by the network"),
            (69, "that is the share you cut"),
            (46, "features[:16] is one block"),
            (0.31, "that is a fraction; give"),
            (0, "count_parameters returns (trainable, total)"),
            (50, "count the parameters of"),
        ],
    ),
}
