"""Solutions and typical mistakes of notebook 02."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from tests.exercise_cases import Case


def _ratio(*, weighted=True, middle=False, how=lambda b, w: b / w):
    def ratio(X, y):
        means = torch.stack([X[y == c].mean(dim=0) for c in y.unique()])
        overall = means.mean(dim=0) if middle else X.mean(dim=0)
        between = within = 0.0
        for c, mean in zip(y.unique(), means, strict=True):
            rows = X[y == c]
            weight = len(rows) if weighted else 1
            between += weight * ((mean - overall) ** 2).sum().item()
            within += ((rows - mean) ** 2).sum().item()
        return how(between, within)

    return ratio


def _match(*, centre="own", unit=True, dim=1):
    def match(A, B):
        both = torch.cat([A, B]).mean(dim=0)
        shift = {
            "own": (A.mean(dim=0), B.mean(dim=0)),
            "common": (both, both),
            "none": (0, 0),
            "only A": (A.mean(dim=0), 0),
        }
        a, b = A - shift[centre][0], B - shift[centre][1]
        if unit:
            a, b = normalize(a), normalize(b)
        return (a @ b.T).argmax(dim=dim)

    return match


CASES = {
    "02.1": Case(solution=162.83, mistakes=[134.5, 28.3, 106.2, 162_826_560, 191, 100]),
    "02.2": Case(
        solution=lambda: _ratio(),
        mistakes=[
            lambda: _ratio(how=lambda b, w: w / b),
            lambda: _ratio(how=lambda b, w: b / (b + w)),
            lambda: _ratio(weighted=False),
            lambda: _ratio(middle=True),
            lambda: _ratio(how=lambda b, w: (b / w) ** 0.5),
            lambda: _ratio(how=lambda b, w: b - w),
        ],
    ),
    "02.3": Case(
        solution=lambda: _match(),
        mistakes=[
            lambda: _match(centre="none"),
            lambda: _match(centre="common"),
            lambda: _match(centre="only A"),
            lambda: _match(unit=False),
            lambda: _match(dim=0),
        ],
    ),
}
