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
        solution=7683,
        mistakes=[
            (2000, "that is one standard error"),
            (1921, "with so few the interval"),
            (30732, "half of the width must"),
            (3920, "1.96 must be squared as"),
            (12293, "that treats the two models"),
            (6147, "that is the interval of"),
            (0.768, "one point is 0.01, not"),
            (500, "solve 1.96 * sqrt(0.2 /"),
        ],
    ),
    "11.2": Case(
        solution=lambda: _merge,
        mistakes=[
            (lambda: lambda W, A, B, alpha: W + B @ A, "the factor alpha / r is"),
            (lambda: lambda W, A, B, alpha: W + alpha * B @ A, "multiply by alpha / r"),
            (
                lambda: lambda W, A, B, alpha: W + alpha / len(A) * A @ B,
                "the shapes do not fit",
            ),
            (
                lambda: lambda W, A, B, alpha: alpha / len(A) * B @ A,
                "that is the update alone",
            ),
            (
                lambda: lambda W, A, B, alpha: W + alpha / len(B) * B @ A,
                "r is the number of columns",
            ),
            (lambda: _in_place, "W itself was changed: W"),
        ],
    ),
    "11.3": Case(
        solution=(_GOOD, _BAD, ["positive", "negative"]),
        mistakes=[
            ((_GOOD, _BAD), "give three parts: first"),
            ((_GOOD, _GOOD, ["positive", "positive"]), "that is the same sentence"),
            (
                (_GOOD, "it is bad", ["positive", "negative"]),
                "both need the same words",
            ),
            ((_GOOD, _BAD, ["negative", "negative"]), "the model calls both negative."),
            ((_GOOD, _BAD, [1, 0]), "the third part holds our"),
        ],
    ),
    "11.4": Case(
        solution=lambda: _top_p,
        mistakes=[
            (
                lambda: lambda logits, p: _top_p(logits, p, crossing=False),
                "0.40 + 0.25 does not reach",
            ),
            (
                lambda: lambda logits, p: _top_p(logits, p, renormalise=False),
                "the right tokens; now divide",
            ),
            (
                lambda: lambda logits, p: _top_p(logits, p, put_back=False),
                "right, but sorted: put",
            ),
            (lambda: _threshold, "compare p with the running"),
            (
                lambda: lambda logits, p: logits.softmax(dim=0),
                "nothing was cut: with p=0.7",
            ),
        ],
    ),
}
