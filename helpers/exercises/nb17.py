"""Graders of notebook 17, compression."""

from __future__ import annotations

from collections.abc import Callable
from math import isclose

import torch

from helpers.exercises import exercise


@exercise("17.1", "Half a step, wherever the number lies.")
def _largest_error(answer: float) -> str | None:
    step = (3.9 + 1.2) / 255
    known = {
        step: "that is the whole step; the nearest mark is at most half of it away.",
        (3.9 + 1.2) / 256 / 2: "256 marks have 255 gaps between them: divide by 255.",
        3.9 / 127 / 2: "that is the symmetric ruler; the asymmetric one spans 5.1.",
        3.9 / 255 / 2: "the ruler begins at -1.2, not at 0: it spans 5.1.",
    }
    for value, hint in known.items():
        if isclose(answer, value, rel_tol=1e-3):
            return hint
    if isclose(answer, step / 2, rel_tol=2e-3) or isclose(answer, 0.01, rel_tol=1e-6):
        return None
    return "the scale is the span divided by 255; the error is at most half a scale."


@exercise(
    "17.2", "A quiet row keeps its detail beside a loud one.", function="quantise"
)
def _rows(
    answer: Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]],
) -> str | None:
    w = torch.tensor([[10.0, -3.0, 1.0], [0.01, -0.02, 0.005], [0.0, 0.0, 0.0]])
    q, scale = answer(w, 8)
    if tuple(scale.shape) != (3, 1):
        return f"the scales have shape {tuple(scale.shape)}; make it (rows, 1)."
    if q.isnan().any() or scale.isnan().any():
        return "the row of zeros became NaN: its scale must not be 0 (clamp it)."
    q = q.to(torch.float64)
    if not torch.equal(q, q.round()):
        return "the integers are not whole numbers: round them."
    if isclose(scale[0].item(), scale[1].item()):
        return "all rows share one scale: take the largest weight of each row."
    top = q.abs().amax(dim=1)
    if top[0] in (128, 255, 256):
        return "8 bits end at 127 here: the largest integer is 2 ** (bits - 1) - 1."
    if q[0, 1] > 0:
        return "a negative weight became positive: keep the sign."
    if (w - q * scale).abs().max() > 10.0 / 127 / 2 * 1.001 or top[:2].min() != 127:
        return "integers times scales should come back to w, within half a scale."
    three = answer(w, 3)[0]
    if three.abs().max() != 3:
        return "with 3 bits the largest integer is 3: use bits, not 8."
    return None


@exercise(
    "17.3", "At half zeros a weight still costs 17 bits, not 16.", function="bits"
)
def _bits(answer: Callable[[float], float]) -> str | None:
    half, most = answer(0.5), answer(0.9)
    if isclose(half, 16.0, rel_tol=1e-6):
        return "that is the cost of the values alone: where the zeros are must be told."
    if isclose(half, 16 + 0.693147, rel_tol=1e-4):
        return "that is the natural logarithm; bits need log2."
    if isclose(half, 17.0, rel_tol=1e-6) and isclose(most, 29.268996, rel_tol=1e-4):
        return "p is the share of ZEROS: 32 bits go to the other 1 - p."
    if isclose(most, 0.468996 * 32 + 3.2, rel_tol=1e-3):
        return "the decision costs H(p) bits, not 32 H(p)."
    if isclose(half, 17.0, rel_tol=1e-4) and isclose(most, 3.668996, rel_tol=1e-4):
        return None
    return "add H(p), for the decision, and 32 (1 - p), for the values."
