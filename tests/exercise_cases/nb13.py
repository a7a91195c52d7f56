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
            (_wrong_iou(cut=False), "two boxes far apart on"),
            (_wrong_iou(union=False), "two equal boxes give 0.5"),
            (_wrong_iou(extra=1), "lengths are x2 - x1 here"),
            (_wrong_iou(dice=True), "that is 0.5 for a box shifted"),
            (0.5, "the answer is a function"),
        ],
    ),
    "13.2": Case(
        solution="AC",
        mistakes=[
            ("A", "C overlaps only B by more"),
            ("B", "begin with the best score"),
            ("ABC", "B overlaps A by 0.6, more than 0.5"),
            ("AB", "B overlaps A by 0.6, more than 0.5"),
            ("C", "the best score is kept first, always."),
            ("BC", "the best score is kept first, always"),
            ("X", "answer with letters out"),
        ],
    ),
    "13.3": Case(
        solution=0.835,
        mistakes=[
            (5 / 6, "that is the exact area"),
            (1.0, "doubles are not ignored"),
            (0.5, "that is the precision after"),
            (0.75, "that reads the precision"),
            (2 / 3, "that is the precision at"),
            (83.5, "AP is a share between 0"),
            (0.9, "write down precision and"),
        ],
    ),
    "13.4": Case(
        solution=lambda: _best,
        mistakes=[
            (_wrong_best(ordered=False), "go through the boxes by"),
            (_wrong_best(by="precision"), "at 0.9 one box is shown"),
            (_wrong_best(by="recall"), "at 0.2 everything is shown"),
            (_wrong_best(give="count"), "that is a number of boxes"),
            (_wrong_best(give="f1"), "that is the F1 itself"),
            (0.4, "the answer is a function"),
        ],
    ),
}
