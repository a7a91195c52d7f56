"""Graders of notebook 02, core concepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import normalize

from helpers.exercises import exercise


@exercise("02.1", "Sharing one table saves a sixth of the model.")
def _untied(answer: float) -> str | None:
    if answer > 1e6:
        return "that is the plain number; give millions, such as 120."
    known = {
        134.515: "that is the model as it is, with the shared table counted once; the "
        "head's own copy comes on top.",
        28.312: "that is the head alone; add it to all the rest.",
        106.203: "those are the thirty layers; embedding and head belong to the model, "
        "too.",
        191.14: "the 135 million contain the embedding already; only the head is new.",
    }
    if abs(answer - 162.827) < 0.6:
        return None
    for value, hint in known.items():
        if abs(answer - value) < 0.6:
            return hint
    return (
        "take all parameters of the model as it is, in which the shared table counts "
        "once, and add 49,152 times 576."
    )


@exercise(
    "02.2",
    "With k = 1 it is a decoder, with k = n an encoder: one mask decides.",
    function="prefix",
)
def _prefix(answer: Callable[..., Any]) -> str | None:
    for n, k in ((6, 3), (7, 2), (5, 1), (5, 5)):
        given = torch.as_tensor(answer(n, k))
        if tuple(given.shape) != (n, n):
            return f"prefix({n}, {k}) has shape {tuple(given.shape)}, not ({n}, {n})."
        given = given.bool()
        triangle = torch.ones(n, n).tril().bool()
        columns = torch.arange(n).expand(n, n) < k
        wanted = triangle | columns
        if given.equal(wanted):
            continue
        if given.equal(wanted.T):
            return "turned over: rows are outputs, columns are inputs."
        if given.equal(triangle):
            return "that is the plain decoder: the prefix is to be seen by all."
        if given.equal(torch.ones(n, n).bool()):
            return "that is the plain encoder: after the prefix nobody looks ahead."
        if given.equal(columns):
            return "the outputs after the prefix see one another, too: backwards."
        if given.equal(columns | torch.ones(n, n).tril(-1).bool()):
            return "an output sees its own input: the diagonal is True."
        off = [triangle | (torch.arange(n).expand(n, n) < k + s) for s in (-1, 1)]
        if any(given.equal(matrix) for matrix in off):
            return f"off by one: the prefix of prefix({n}, {k}) has {k} columns."
        return (
            f"prefix({n}, {k}) differs in {int((given != wanted).sum())} places: begin "
            "with the triangle, then open the first k columns for every row."
        )
    return None


def _scatter(X: torch.Tensor, y: torch.Tensor) -> tuple[float, float, float]:
    """(between, between with equal class weights, within) of the classes."""
    between = equal = within = 0.0
    for label in y.unique():
        rows = X[y == label]
        centre = rows.mean(dim=0)
        distance = ((centre - X.mean(dim=0)) ** 2).sum().item()
        between += len(rows) * distance
        equal += distance
        within += ((rows - centre) ** 2).sum().item()
    return between, equal, within


@exercise(
    "02.3",
    "It asks for heaps, and a linear head does not need heaps.",
    function="ratio",
)
def _ratio(answer: Callable[..., Any]) -> str | None:
    random = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 4 + [1] * 9 + [2] * 15)
    X = torch.randn(28, 5, generator=random) + 2 * y[:, None]
    between, equal, within = _scatter(X, y)
    given = float(answer(X, y))

    def near(wanted: float) -> bool:
        return abs(given - wanted) < 1e-3 * abs(wanted)

    if near(within / between):
        return "upside down: between the classes belongs above the line."
    if near(between / (between + within)):
        return "you divided by the total scatter; below the line stands what is within."
    if near(equal / within):
        return "a class of n_c members counts n_c times in the numerator."
    if near((between / within) ** 0.5):
        return "the formula has squared lengths and no root."
    middles = torch.stack([X[y == c].mean(dim=0) for c in (0, 1, 2)])
    sizes = y.bincount()[:, None]
    unweighted = (sizes * (middles - middles.mean(dim=0)) ** 2).sum().item()
    if near(unweighted / within):
        return (
            "the overall mean is the mean of all rows, not of the class means: the "
            "classes differ in size."
        )
    if not near(between / within):
        return (
            f"for three made-up classes it gives {given:.3g} instead of "
            f"{between / within:.3g}; go through the two sums one at a time."
        )
    far = float(answer(X + 100, y))
    if abs(far - between / within) > 0.01 * between / within:
        return "moving all points together changes your number: subtract the means."
    return None


def _nearest(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    cosines = normalize(A) @ normalize(B).T
    return cosines.argmax(dim=1)


@exercise(
    "02.4",
    "An offset is not all: what was never read cannot be moved back.",
    function="match",
)
def _match(answer: Callable[..., Any]) -> str | None:
    random = torch.Generator().manual_seed(0)
    B = torch.randn(40, 6, generator=random)
    B = B * (0.2 + 3 * torch.rand(40, 1, generator=random))  # lengths must not matter
    order = torch.randperm(40, generator=random)[:30]
    A = B[order] + 0.1 * torch.randn(30, 6, generator=random)
    B = B + torch.tensor([4.0, 0, 0, 0, 0, 0])
    A = A - torch.tensor([0, 5.0, 0, 0, 0, 0])
    given = answer(A.clone(), B.clone())
    a, b = A - A.mean(dim=0), B - B.mean(dim=0)
    wanted = _nearest(a, b)
    shape = tuple(getattr(given, "shape", ()))
    if shape == (40,):
        return "one row number of A for every row of B: it should be the other way."
    if shape != (30,):
        return f"return a tensor of shape (30,) for 30 rows of A, not {shape}."
    given = torch.as_tensor(given)
    if torch.equal(given, wanted):
        return None
    both = torch.cat([A, B]).mean(dim=0)
    mistakes = {
        "nothing was centred: subtract from A its mean, from B its own.": _nearest(
            A, B
        ),
        "only A was centred.": _nearest(a, B),
        "only B was centred.": _nearest(A, b),
        "you subtracted one common mean; each language has its own.": _nearest(
            A - both, B - both
        ),
        "a plain product favours long rows: normalise after centring.": (
            a @ b.T
        ).argmax(dim=1),
        "that is the smallest distance; cosine does not look at lengths.": torch.cdist(
            a, b
        ).argmin(dim=1),
        "centre first, then normalise: after the other order lengths differ.": (
            (normalize(A) - normalize(A).mean(dim=0))
            @ (normalize(B) - normalize(B).mean(dim=0)).T
        ).argmax(dim=1),
    }
    for message, rows in mistakes.items():
        if torch.equal(given, rows):
            return message
    right = int((given == wanted).sum())
    return (
        f"{right} of 30 rows are right: subtract each mean over the rows (dim=0), then "
        "normalise, multiply, and take argmax over the rows of B."
    )
