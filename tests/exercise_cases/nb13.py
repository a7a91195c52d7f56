"""Solutions and typical mistakes of notebook 13."""

from __future__ import annotations

import numpy as np

from tests.exercise_cases import Case


def _iou(a, b, *, cut=True, union=True, extra=0, dice=False):
    lengths = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + extra for i in (0, 1)]
    width, height = (max(0, x) if cut else x for x in lengths)
    both = width * height
    areas = [(c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b)]
    if dice:
        return 2 * both / sum(areas)
    return both / (sum(areas) - both * union)


def _wrong_iou(**options):
    return lambda: lambda a, b: _iou(a, b, **options)


def _best(scores, hits, truths, *, ordered=True, by="f1", give="threshold"):
    order = np.argsort(-scores) if ordered else np.arange(len(scores))
    right = np.cumsum(hits[order])
    precision, recall = right / np.arange(1, len(right) + 1), right / truths
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    at = {"f1": f1, "precision": precision, "recall": recall[::1]}[by]
    best = len(at) - 1 - at[::-1].argmax() if by == "recall" else at.argmax()
    if give == "count":
        return best
    return f1.max() if give == "f1" else scores[order][best]


def _wrong_best(**options):
    return lambda: lambda *given: _best(*given, **options)


CASES = {
    "13.1": Case(
        solution=lambda: _iou,
        mistakes=[
            _wrong_iou(cut=False),
            _wrong_iou(union=False),
            _wrong_iou(extra=1),
            _wrong_iou(dice=True),
            0.5,
        ],
    ),
    "13.2": Case(solution="AC", mistakes=["A", "B", "ABC", "AB", "C", "BC", "X"]),
    "13.3": Case(solution=0.835, mistakes=[5 / 6, 1.0, 0.5, 0.75, 2 / 3, 83.5, 0.9]),
    "13.4": Case(
        solution=lambda: _best,
        mistakes=[
            _wrong_best(ordered=False),
            _wrong_best(by="precision"),
            _wrong_best(by="recall"),
            _wrong_best(give="count"),
            _wrong_best(give="f1"),
            0.4,
        ],
    ),
}
