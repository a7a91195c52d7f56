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


def _prefix(n, k, diagonal=0):
    sees = torch.ones(n, n).tril(diagonal).bool()
    sees[:, :k] = True
    return sees


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
    "02.1": Case(
        solution=162.83,
        mistakes=[
            (134.5, "the shared table counted once"),
            (135, "the shared table counted once"),
            (28.3, "that is the head alone"),
            (106.2, "those are the thirty layers"),
            (162_826_560, "that is the plain number"),
            (191.1, "the 135 million contain"),
            (100, "take all parameters of"),
        ],
    ),
    "02.2": Case(
        solution=lambda: _prefix,
        mistakes=[
            (lambda: lambda n, k: _prefix(n, k).T, "turned over: rows are outputs"),
            (lambda: lambda n, k: _prefix(n, 0), "that is the plain decoder"),
            (lambda: lambda n, k: _prefix(n, n), "that is the plain encoder"),
            (lambda: lambda n, k: _prefix(n, k, -n), "see one another, too: backwards"),
            (lambda: lambda n, k: _prefix(n, k, -1), "an output sees its own input"),
            (lambda: lambda n, k: _prefix(n, k + 1), "off by one: the prefix of"),
            (lambda: lambda n, k: _prefix(n, k)[1:], "has shape (5, 6), not (6, 6)"),
            (lambda: lambda n, k: ~_prefix(n, k), "begin with the triangle"),
        ],
    ),
    "02.3": Case(
        solution=lambda: _ratio(),
        mistakes=[
            (lambda: _ratio(how=lambda b, w: w / b), "upside down: between the"),
            (lambda: _ratio(how=lambda b, w: b / (b + w)), "you divided by the total"),
            (lambda: _ratio(weighted=False), "a class of n_c members"),
            (lambda: _ratio(middle=True), "the overall mean is the"),
            (
                lambda: _ratio(how=lambda b, w: (b / w) ** 0.5),
                "the formula has squared",
            ),
            (lambda: _ratio(how=lambda b, w: b - w), "for three made-up classes"),
        ],
    ),
    "02.4": Case(
        solution=lambda: _match(),
        mistakes=[
            (lambda: _match(centre="none"), "nothing was centred: subtract"),
            (lambda: _match(centre="common"), "you subtracted one common"),
            (lambda: _match(centre="only A"), "only A was centred."),
            (lambda: _match(unit=False), "a plain product favours"),
            (lambda: _match(dim=0), "one row number of A for"),
        ],
    ),
}
