"""Graders of notebook 13, applications in vision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from helpers.exercises import exercise

Box = Sequence[float]

_SQUARE = (0.0, 0.0, 10.0, 10.0)


@exercise(
    "13.1", "Touching is not overlapping, and nothing can be negative.", function="iou"
)
def _iou(answer: Callable[[Box, Box], float]) -> str | None:
    equal = float(answer(_SQUARE, _SQUARE))
    if abs(equal - 0.5) < 1e-6:
        return (
            "two equal boxes give 0.5: the sum of the areas counts the common part "
            "twice; subtract it once."
        )
    if abs(equal - 1) > 1e-6:
        return f"two equal boxes should give 1, yours gives {equal:.3g}."
    half = float(answer(_SQUARE, (5.0, 0.0, 15.0, 10.0)))
    if abs(half - 0.5) < 1e-6:
        return (
            "that is 0.5 for a box shifted by half its width: Dice, 2 I / (|A| + |B|), "
            "or a share of one box; divide by the union."
        )
    if abs(half - 66 / 176) < 1e-6:
        return "lengths are x2 - x1 here, not x2 - x1 + 1: coordinates are edges."
    if abs(half - 1 / 3) > 1e-6:
        return f"a box shifted by half its width should give 1/3, yours {half:.3g}."
    diagonal = float(answer(_SQUARE, (20.0, 20.0, 30.0, 30.0)))
    if diagonal > 0:
        return (
            "two boxes far apart on the diagonal overlap for you: a negative width "
            "times a negative height. Cut both off at 0 before you multiply."
        )
    beside = float(answer(_SQUARE, (20.0, 0.0, 30.0, 10.0)))
    if diagonal < 0 or beside < 0:
        return "boxes that do not meet get less than 0: cut width and height off at 0."
    if abs(float(answer(_SQUARE, (10.0, 0.0, 20.0, 10.0)))) > 1e-6:
        return "boxes that only touch share no area: their IoU is 0."
    if abs(float(answer(_SQUARE, (2.0, 2.0, 7.0, 7.0))) - 0.25) > 1e-6:
        return "a box of a quarter of the area, inside the other, should give 0.25."
    wide, tall = (0.0, 0.0, 30.0, 10.0), (10.0, 0.0, 20.0, 40.0)
    if abs(float(answer(wide, tall)) - 100 / 600) > 1e-6:
        return "boxes that cross should work, too: width and height differ there."
    return None


@exercise("13.2", "B falls to A, and a fallen box cannot take C along.")
def _chain(answer: str | Sequence[str]) -> str | None:
    given = "".join(answer).replace(" ", "").replace(",", "").upper()
    letters = "".join(sorted(set(given)))
    known = {
        "A": "C overlaps only B by more than 0.5, and B was already dropped: it cannot "
        "suppress anything any more.",
        "B": "begin with the best score, which is A's.",
        "ABC": "B overlaps A by 0.6, more than 0.5: A drops it.",
        "AB": "B overlaps A by 0.6, more than 0.5; and C, does anything drop it?",
        "C": "the best score is kept first, always.",
        "BC": "the best score is kept first, always: A.",
        "": "something is always left: the box with the best score.",
    }
    if letters == "AC":
        return None
    return known.get(letters, "answer with letters out of A, B and C, such as 'AB'.")


@exercise("13.3", "A sixth of the figure, for boxes that nobody would call wrong.")
def _doubles(answer: float) -> str | None:
    if not 0 <= answer <= 1:
        return "AP is a share between 0 and 1."
    expected = (51 + 50 * 2 / 3) / 101
    if abs(answer - expected) < 6e-4:
        return None
    known = {
        5 / 6: "that is the exact area; COCO's rule reads the curve at 101 recalls, "
        "and 51 of them (0 to 0.50) see precision 1.",
        1.0: "doubles are not ignored: the second box on a drawing that is taken is a "
        "false alarm, and the next hit comes later.",
        0.5: "that is the precision after all four boxes; AP also counts how early the "
        "hits come.",
        0.75: "that reads the precision when each box comes in; take it at the hits, "
        "1 and 2/3.",
        2 / 3: "that is the precision at the last hit only; up to recall 0.5 it is 1.",
    }
    for value, hint in known.items():
        if abs(answer - value) < 6e-4:
            return hint
    return (
        "write down precision and recall after each of hit, miss, hit, miss: 1 and "
        "1/2, then …, and pass those hits to average_precision."
    )


@exercise(
    "13.4",
    "Chosen on validation scenes, it may be used on test scenes.",
    function="best_threshold",
)
def _threshold(
    answer: Callable[[np.ndarray, np.ndarray, int], float],
) -> str | None:
    scores = np.array([0.2, 0.9, 0.4, 0.8, 0.6, 0.3])
    hits = np.array([False, True, True, False, True, False])
    # By score: hit, miss, hit, hit, miss, miss of 4; F1 is best after four boxes.
    given = float(np.asarray(answer(scores, hits, 4)).item())
    known = {
        0.9: "at 0.9 one box is shown: precision is perfect, recall is not; F1 needs "
        "both.",
        0.2: "at 0.2 everything is shown: recall is at its best, precision is not.",
        0.6: "go through the boxes by score; the arrays come in any order.",
        3: "that is a number of boxes; return the score of the last box shown.",
        4: "that is a number of boxes; return the score of the last box shown.",
    }
    if given in known:
        return known[given]
    if abs(given - 0.75) < 1e-6:
        return "that is the F1 itself; return the threshold where it is reached."
    if abs(given - 0.4) > 1e-6:
        return (
            f"for six boxes with the best F1 at 0.4 it returns {given:.3g}: go through "
            "the boxes by score and compute F1 after each."
        )
    few = float(np.asarray(answer(scores[1:2], hits[1:2], 3)).item())
    if abs(few - 0.9) > 1e-6:
        return "a single box should give its own score."
    sure = float(np.asarray(answer(np.array([0.5, 0.7]), np.array([False, True]), 1)))
    if abs(sure - 0.7) > 1e-6:
        return "with one truth, found by the best of two boxes, show only that box."
    return None
