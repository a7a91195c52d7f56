"""Solutions and typical mistakes of notebook 17."""

from __future__ import annotations

from math import log, log2

import torch

from tests.exercise_cases import Case


def _quantise(w, bits, *, rows=True, clamp=True, top=None, whole=True):
    top = 2 ** ((bits or 8) - 1) - 1 if top is None else top
    reach = w.abs().amax(dim=1, keepdim=True)
    if not rows:
        reach = w.abs().max().expand(len(w), 1)
    scale = reach / top
    if clamp:
        scale = scale.clamp(min=1e-12)
    q = w / scale
    return (torch.round(q) if whole else q), scale


def _bits(p, *, logarithm=log2, entropy=1.0, kept=None):
    h = -p * logarithm(p) - (1 - p) * logarithm(1 - p)
    return entropy * h + 32 * ((1 - p) if kept is None else p)


CASES = {
    "17.1": Case(
        solution=5.1 / 255 / 2,
        mistakes=[
            (5.1 / 255, "that is the whole step"),
            (5.1 / 256 / 2, "256 marks have 255 gaps"),
            (3.9 / 127 / 2, "that is the symmetric ruler"),
            (3.9 / 255 / 2, "the ruler begins at -1.2"),
            (1.0, "the scale is the span divided"),
        ],
    ),
    "17.2": Case(
        solution=lambda: _quantise,
        mistakes=[
            (
                lambda: lambda w, bits: _quantise(w, bits, rows=False),
                "all rows share one scale",
            ),
            (
                lambda: lambda w, bits: _quantise(w, bits, clamp=False),
                "the row of zeros became",
            ),
            (
                lambda: lambda w, bits: _quantise(w, bits, top=128),
                "8 bits end at 127 here",
            ),
            (
                lambda: lambda w, bits: _quantise(w, bits, whole=False),
                "the integers are not whole",
            ),
            (lambda: lambda w, bits: _quantise(w, 8), "with 3 bits the largest"),
            (
                lambda: lambda w, bits: (_quantise(w, bits)[0], w.abs().amax(dim=1)),
                "the scales have shape (3,)",
            ),
            (
                lambda: (
                    lambda w, bits: (_quantise(w, bits)[0].abs(), _quantise(w, bits)[1])
                ),
                "a negative weight became",
            ),
        ],
    ),
    "17.3": Case(
        solution=lambda: _bits,
        mistakes=[
            (lambda: lambda p: _bits(p, entropy=0.0), "that is the cost of the"),
            (
                lambda: lambda p: _bits(p, logarithm=log),
                "that is the natural logarithm",
            ),
            (lambda: lambda p: _bits(p, kept=True), "p is the share of ZEROS"),
            (lambda: lambda p: _bits(p, entropy=32.0), "the decision costs H(p)"),
            (lambda: lambda p: 32.0, "add H(p), for the decision"),
        ],
    ),
}
