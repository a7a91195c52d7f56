"""Solutions and typical mistakes of notebook 11."""

from __future__ import annotations

import torch

from tests.exercise_cases import Case

_GOOD = "it is good, not bad"
_BAD = "it is bad, not good"


def _merge(W, A, B, alpha):
    return W + alpha / len(A) * B @ A


def _in_place(W, A, B, alpha):
    W += alpha / len(A) * B @ A
    return W


def _top_p(logits, p, *, crossing=True, renormalise=True, put_back=True):
    probabilities, order = logits.softmax(dim=0).sort(descending=True)
    total = probabilities.cumsum(dim=0)
    kept = (total - probabilities if crossing else total) < p
    probabilities = probabilities * kept
    if renormalise:
        probabilities = probabilities / probabilities.sum()
    if not put_back:
        return probabilities
    return torch.zeros_like(logits).scatter(0, order, probabilities)


def _threshold(logits, p):
    probabilities = logits.softmax(dim=0)
    return probabilities * (probabilities > p)


CASES = {
    "11.1": Case(
        solution=(_GOOD, _BAD, ["positive", "negative"]),
        mistakes=[
            (_GOOD, _BAD),
            (_GOOD, _GOOD, ["positive", "positive"]),
            (_GOOD, "it is bad", ["positive", "negative"]),
            (_GOOD, _BAD, ["negative", "negative"]),
            (_GOOD, _BAD, [1, 0]),
        ],
    ),
    "11.2": Case(
        solution=lambda: _merge,
        mistakes=[
            lambda: lambda W, A, B, alpha: W + B @ A,
            lambda: lambda W, A, B, alpha: W + alpha * B @ A,
            lambda: lambda W, A, B, alpha: W + alpha / len(A) * A @ B,
            lambda: lambda W, A, B, alpha: alpha / len(A) * B @ A,
            lambda: lambda W, A, B, alpha: W + alpha / len(B) * B @ A,
            lambda: _in_place,
        ],
    ),
    "11.3": Case(
        solution=lambda: _top_p,
        mistakes=[
            lambda: lambda logits, p: _top_p(logits, p, crossing=False),
            lambda: lambda logits, p: _top_p(logits, p, renormalise=False),
            lambda: lambda logits, p: _top_p(logits, p, put_back=False),
            lambda: _threshold,
            lambda: lambda logits, p: logits.softmax(dim=0),
        ],
    ),
    "11.4": Case(
        solution=7683, mistakes=[2000, 1921, 30732, 3920, 12293, 6147, 0.768, 500]
    ),
}
