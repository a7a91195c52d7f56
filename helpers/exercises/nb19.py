"""Graders of notebook 19, trust."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.exercises import exercise


@exercise("19.1", "Completeness came for free.", function="integrate")
def _integrate(answer: Callable[..., Tensor]) -> str | None:
    def f(x: Tensor) -> Tensor:
        return x[:, 0] ** 2 * x[:, 1] + 3 * x[:, 2] ** 3

    x, baseline = torch.tensor([2.0, 3.0, 1.0]), torch.tensor([1.0, -1.0, 0.0])
    found = answer(f, x, baseline, 200)
    if not isinstance(found, Tensor) or found.shape != (3,):
        shape = tuple(getattr(found, "shape", ()))
        return f"return one attribution a coordinate, shape (3,) here, not {shape}."
    t = (torch.arange(200) + 0.5)[:, None] / 200
    mean = _slope(f, baseline + t * (x - baseline)).mean(dim=0)
    here = _slope(f, x[None])[0]
    from_zero = _slope(f, t * x).mean(dim=0)
    if torch.allclose(found, (x - baseline) * mean, rtol=1e-3, atol=1e-3):
        return None
    known = {
        "that is the mean slope along the way; multiply it by x - baseline.": mean,
        "you multiply by x; the way begins at the baseline, so its length is "
        "x - baseline.": x * mean,
        "that is gradient times input at x alone: average the gradient over points "
        "between baseline and x.": (x - baseline) * here,
        "the path begins at 0; it should begin at the baseline.": (x - baseline)
        * from_zero,
        "the sign is turned round: multiply by x - baseline, not by baseline - x.": (
            baseline - x
        )
        * mean,
        "that is a sum over the steps; take the mean.": (x - baseline) * mean * 200,
    }
    for hint, wrong in known.items():
        if torch.allclose(found, wrong, rtol=1e-3, atol=1e-3):
            return hint
    return (
        "the attributions should sum to f(x) - f(baseline), "
        f"{(f(x[None]) - f(baseline[None])).item():.1f} here; yours sum to "
        f"{found.sum():.1f}. Use points baseline + t (x - baseline)."
    )


def _slope(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(f(x).sum(), x)[0]


@exercise("19.2", "In the box, and still a picture.", function="step")
def _step(answer: Callable[..., Tensor]) -> str | None:
    start = torch.tensor([[0.50, 0.50, 0.98, 0.02, 0.50]])
    x = torch.tensor([[0.58, 0.50, 0.98, 0.02, 0.42]])
    gradient = torch.tensor([[4.0, 0.01, 7.0, -3.0, -2.0]])
    kept = start.clone(), x.clone()
    found = answer(x, start, gradient, 0.10, 0.04)
    if not (torch.equal(start, kept[0]) and torch.equal(x, kept[1])):
        return "x or start changed: return a new tensor instead."
    if not isinstance(found, Tensor) or found.shape != x.shape:
        shape = tuple(getattr(found, "shape", ()))
        return f"return a tensor like x, shape (1, 5) here, not {shape}."
    moved = found[0, 1].item() - 0.50
    if abs(moved + 0.04) < 1e-4:
        return "that goes downhill; an attack climbs: add size * gradient.sign()."
    if abs(moved - 0.04) > 1e-4:
        return (
            f"a pixel in the middle of its box moved by {moved:.4f} instead of 0.04: "
            "only the gradient's sign counts, not its size."
        )
    if abs(found[0, 0].item() - 0.62) < 1e-4:
        return "one pixel left the box: clamp to start - epsilon .. start + epsilon."
    if found.max() > 1 or found.min() < 0:
        return "not a picture: clamp to 0 .. 1 as well."
    wanted = torch.tensor([[0.60, 0.54, 1.0, 0.0, 0.40]])
    if not torch.allclose(found, wanted, atol=1e-5):
        return (
            "the box is around `start`, not around `x`: clamp to start - epsilon .. "
            "start + epsilon, then to 0 .. 1."
        )
    return None


@exercise("19.3", "A rate without a false alarm is easy to claim.", function="tpr_at")
def _tpr_at(answer: Callable[..., Any]) -> str | None:
    # 100 outsiders 0 .. 99; members: forty at 50, thirty at 98.5, thirty at 120.
    outsiders = np.arange(100.0)
    members = np.repeat([50.0, 98.5, 120.0], [40, 30, 30])
    scores = np.concatenate([members, outsiders])
    member = np.repeat([True, False], 100)
    order = np.random.default_rng(0).permutation(200)
    scores, member = scores[order], member[order]
    values = [float(answer(scores, member, fpr)) for fpr in (0.01, 0.0, 0.5)]
    one, none, half = values
    if not all(0 <= value <= 1 for value in values):
        return f"a rate lies between 0 and 1, yours is {max(values, key=abs):.2f}."
    if abs(one - 0.6) < 1e-6 and abs(none - 0.3) < 1e-6 and abs(half - 1.0) < 1e-6:
        return None
    if abs(one - 0.3) < 1e-6 and abs(none - 0.3) < 1e-6:
        return (
            "one outsider of 100 may be accused at 1 %; you allow none. The highest "
            "threshold that keeps the rate at or below fpr is too strict: take the "
            "lowest."
        )
    low = [np.mean(members < np.quantile(outsiders, q)) for q in (0.01, 0.5)]
    if max(abs(one - low[0]), abs(half - low[1])) < 1e-6:
        return "high scores mean member: accuse above the threshold, not below."
    if abs(half - np.mean(outsiders > np.sort(members)[49])) < 1e-6:
        return (
            "the two groups are exchanged: set the threshold on the outsiders, then "
            "count members above it."
        )
    every = np.quantile(scores, 0.99)
    if abs(one - np.mean(members >= every)) < 0.02 and one < 0.05:
        return "set the threshold on the outsiders alone, not on everybody."
    return (
        "with outsiders 0 to 99 and members at 50, 98.5 and 120, a false positive "
        f"rate of 1 % allows a threshold just above 98, and 60 % of the members lie "
        f"above; you get {one:.0%}."
    )


@exercise("19.4", "Whatever the model wants to say.", function="allowed")
def _allowed(answer: Callable[..., Any]) -> str | None:
    answers, end = [[5, 6], [5, 7, 8], [9], [5]], 0
    asked: list[tuple[list[int], set[int]]] = [
        ([], {5, 9}),
        ([5], {6, 7, 0}),
        ([5, 7], {8}),
        ([9], {0}),
        ([5, 7, 8], {0}),
        ([5, 6, 0], {0}),
    ]
    found = []
    for so_far, _ in asked:
        given = answer(list(so_far), answers, end)
        found.append({int(token) for token in given})
    if found[0] != {5, 9}:
        return (
            "before the first token every answer's first token is allowed, {5, 9} "
            f"here; you return {sorted(found[0])}."
        )
    if 9 in found[1]:
        return (
            "after [5], the answer [9] is out of the race: keep only the answers that "
            "begin with what was said."
        )
    if found[1] == {6, 7}:
        return (
            "[5] alone is an answer as well as the beginning of two others: the end "
            "must be allowed, too."
        )
    if found[3] != {0} or found[4] != {0}:
        return "a complete answer must end: allow the end token, and nothing else."
    if found[5] != {0}:
        return (
            "after the end token a batch may still run for its slower rows: allow the "
            "end token again, so that some token is allowed."
        )
    for (so_far, right), have in zip(asked, found, strict=True):
        if have != right:
            return f"after {so_far} allow {sorted(right)}; you allow {sorted(have)}."
    return None
