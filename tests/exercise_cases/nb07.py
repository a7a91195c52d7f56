"""Solutions and typical mistakes of notebook 07."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

from tests.exercise_cases import Case


def _partner_loss(a, b, group, tau, *, unit=True, out="others", fill=-torch.inf):
    if unit:
        a, b = normalize(a, dim=1), normalize(b, dim=1)
    scores = a @ b.T / tau
    own = torch.eye(len(a), dtype=torch.bool)
    same = group[:, None] == group
    barred = {"others": same & ~own, "all": same, "none": same & False}[out]
    return (scores.masked_fill(barred, fill).logsumexp(1) - scores.diag()).mean()


def _gradient(z, Y):
    return Y.sum(dim=1, keepdim=True) * z.softmax(dim=1) - Y


CASES = {
    "07.1": Case(
        solution=0.25,
        mistakes=[
            (0.5, "you used h / (h + lambda)"),
            (3, "too strong: the steep direction"),
            (0.01, "too weak: the flat direction"),
            (-1, "lambda is a positive number."),
        ],
    ),
    "07.2": Case(
        solution=lambda: _gradient,
        mistakes=[
            (lambda: lambda z, Y: z.softmax(1) - Y, "a row may count twice"),
            (lambda: lambda z, Y: -_gradient(z, Y), "the sign is wrong"),
            (lambda: lambda z, Y: _gradient(z, Y) / len(z), "the gradient of the mean"),
            (lambda: lambda z, Y: (z.softmax(1) - Y) / len(z), "a sum, not a mean"),
            (
                lambda: lambda z, Y: Y.sum(1, keepdim=True) * z.softmax(0) - Y,
                "softmax runs over the classes",
            ),
            (lambda: lambda z, Y: -Y / z.softmax(1), "by the probabilities"),
            (lambda: lambda z, Y: _gradient(z, Y).sum(), "one number for each score"),
            (lambda: lambda z, Y: z - Y, "start from -log p(c)"),
        ],
    ),
    "07.3": Case(
        solution=lambda: _partner_loss,
        mistakes=[
            (
                lambda: lambda *given: _partner_loss(*given, out="none"),
                "nothing was left out: another",
            ),
            (
                lambda: lambda *given: _partner_loss(*given, out="all"),
                "the partner itself, j =",
            ),
            (
                lambda: lambda *given: _partner_loss(*given, unit=False),
                "the scores are plain products",
            ),
            (
                lambda: lambda a, b, group, tau: _partner_loss(a, b, group, 1.0),
                "the temperature was forgotten",
            ),
            (
                lambda: lambda *given: _partner_loss(*given, fill=0.0),
                "a score of 0 is not nothing",
            ),
        ],
    ),
    "07.4": Case(
        solution=28.3,
        mistakes=[
            (25, "that is the mean of the"),
            (32.5, "you weighted by length"),
            (20, "you averaged the logarithms"),
            (math.log(28.28), "that is the mean surprise"),
            (12, "add up the surprises n"),
        ],
    ),
}
