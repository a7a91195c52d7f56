"""Solutions and typical mistakes of notebook 19."""

from __future__ import annotations

import numpy as np
import torch

from tests.exercise_cases import Case


def _integrate(f, x, baseline, steps, *, start=None, factor=None, last=False):
    t = (torch.arange(steps) + 0.5)[:, None] / steps
    start = baseline if start is None else start
    path = x[None] if last else start + t * (x - start)
    path = path.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(f(path).sum(), path)
    return (x - baseline if factor is None else factor) * slope.mean(dim=0)


def _step(x, start, gradient, epsilon, size, *, sign=True, box=True, picture=True):
    moved = x + size * (gradient.sign() if sign else gradient)
    if box:
        moved = moved.clamp(start - epsilon, start + epsilon)
    return moved.clamp(0, 1) if picture else moved


def _downhill(x, start, gradient, epsilon, size):
    return _step(x, start, -gradient, epsilon, size)


def _tpr_at(scores, member, fpr, *, swapped=False, strict=False):
    if swapped:
        member = ~member
    outsiders = np.sort(scores[~member])[::-1]
    if strict:
        return np.mean(scores[member] > outsiders[0])
    return np.mean(scores[member] > outsiders[int(fpr * len(outsiders) + 1e-9)])


def _low_scores(scores, member, fpr):
    return np.mean(scores[member] < np.quantile(scores[~member], fpr))


def _allowed(so_far, answers, end, *, ends=True, filtered=True, after=True):
    whole = [[*tokens, end] if ends else list(tokens) for tokens in answers]
    n = len(so_far)
    fits = [t for t in whole if n < len(t) and (t[:n] == so_far or not filtered)]
    return {t[n] for t in fits} or ({end} if after else set())


CASES = {
    "19.1": Case(
        solution=lambda: _integrate,
        mistakes=[
            (
                lambda: lambda f, x, b, n: _integrate(f, x, b, n, factor=1),
                "that is the mean slope",
            ),
            (
                lambda: lambda f, x, b, n: _integrate(f, x, b, n, factor=x),
                "you multiply by x; the",
            ),
            (
                lambda: lambda f, x, b, n: _integrate(f, x, b, n, factor=b - x),
                "the sign is turned round",
            ),
            (
                lambda: lambda f, x, b, n: _integrate(f, x, b, n, start=0 * x),
                "the path begins at 0; it",
            ),
            (
                lambda: lambda f, x, b, n: _integrate(f, x, b, n, last=True),
                "that is gradient times",
            ),
            (
                lambda: lambda f, x, b, n: n * _integrate(f, x, b, n),
                "that is a sum over the",
            ),
        ],
    ),
    "19.2": Case(
        solution=lambda: _step,
        mistakes=[
            (
                lambda: lambda *given: _step(*given, sign=False),
                "a pixel in the middle of",
            ),
            (lambda: lambda *given: _step(*given, box=False), "one pixel left the box"),
            (
                lambda: lambda *given: _step(*given, picture=False),
                "not a picture: clamp to",
            ),
            (lambda: _downhill, "that goes downhill; an"),
        ],
    ),
    "19.3": Case(
        solution=lambda: _tpr_at,
        mistakes=[
            (
                lambda: lambda *given: _tpr_at(*given, swapped=True),
                "the two groups are exchanged",
            ),
            (
                lambda: lambda *given: _tpr_at(*given, strict=True),
                "one outsider of 100 may",
            ),
            (lambda: _low_scores, "high scores mean member"),
        ],
    ),
    "19.4": Case(
        solution=lambda: _allowed,
        mistakes=[
            (
                lambda: lambda *given: _allowed(*given, ends=False),
                "[5] alone is an answer",
            ),
            (
                lambda: lambda *given: _allowed(*given, filtered=False),
                "a complete answer must",
            ),
            (
                lambda: lambda *given: _allowed(*given, after=False),
                "after the end token a batch",
            ),
        ],
    ),
}
