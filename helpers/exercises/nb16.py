"""Graders of notebook 16, tools and standards."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.exercises import exercise

Keep = Callable[[np.ndarray, np.ndarray], Any]
Read = Callable[[bytes, str], Any]


@exercise(
    "16.1",
    "What is left is a matter of taste; what went was not.",
    function="keep",
)
def _dominated(answer: Keep) -> str | None:
    # Cheap and poor, dear and good, beaten by the second, equal to the first.
    costs = np.array([[1.0, 4.0], [3.0, 1.0], [3.0, 2.0], [1.0, 4.0], [9.0, 9.0]])
    gain = np.array([0.5, 0.7, 0.7, 0.5, 0.9])
    kept = np.asarray(answer(costs, gain))
    if kept.shape != (5,):
        return f"return one truth value a model, shape (5,) here, not {kept.shape}."
    if kept.dtype != bool:
        return "return booleans, True for a model that stays."
    if not kept.any():
        return (
            "every model went, since each is as good as itself: domination needs one "
            "thing that is strictly better."
        )
    if not kept[0] and not kept[3]:
        return "two equal models do not dominate each other: both stay."
    if kept[0] != kept[3]:
        return "the first and the fourth model are equal, so both stay."
    if kept[2]:
        if kept.all():
            return (
                "the third model costs more than the second and gains no more, so it "
                "goes: 'strictly better' is asked for in one thing, not in all."
            )
        return "the third model is dominated by the second: same gain, higher cost."
    if not kept[4]:
        return "the last model has the largest gain: its cost alone is no reason to go."
    if kept.tolist() != [True, True, False, True, True]:
        return "a model goes only if one other is at least as good in everything."
    return None


@exercise("16.2", "Forgetting the pairs would have asked for more than twice as many.")
def _how_many_posts(answer: float) -> str | None:
    known = {
        1917: None,
        1921: "nearly: the variance of the difference is d minus (p - q) squared.",
        20: "the margin of 1.96 standard errors must be 0.02: square 1.96 / 0.02.",
        500: "that is one standard error of 2 points; the interval has 1.96 of them.",
        4568: "that forgets the pairs: use d - (p - q) ** 2, not p(1-p) + q(1-q).",
        480: "the interval may reach 2 points to each side, not 4.",
        2263: "that is the interval of A alone; the difference needs d - (p - q) ** 2.",
        2305: "that is the interval of B alone; the difference needs d - (p - q) ** 2.",
    }
    for number, hint in known.items():
        if abs(answer - number) <= max(1.5, 0.001 * number):
            return hint
    if 0 < answer < 1:
        return (
            "that is an error or a variance; the question asks for a number of posts."
        )
    return (
        "solve 1.96 * sqrt(variance / n) = 0.02 for n, with the paired variance "
        "d - (p - q) ** 2 = 0.2 - 0.02 ** 2."
    )


def _file() -> tuple[bytes, dict[str, np.ndarray]]:
    tensors = {
        "first": np.arange(6, dtype="<f4").reshape(2, 3) - 2.5,
        "half": np.array([1.5, -2.0, 0.25], dtype="<f2"),
        "counts": np.array([[7], [1 << 40]], dtype="<i8"),
    }
    kinds = {"<f4": "F32", "<f2": "F16", "<i8": "I64"}
    header: dict[str, Any] = {"__metadata__": {"made": "by a grader"}}
    data = b""
    for name, values in tensors.items():
        raw = values.tobytes()
        header[name] = {
            "dtype": kinds[values.dtype.newbyteorder("<").str],
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data, tensors


@exercise("16.3", "No instruction was executed: you only looked.", function="read")
def _read(answer: Read) -> str | None:
    raw, tensors = _file()
    for name, values in tensors.items():
        try:
            given = np.asarray(answer(raw, name))
        except ValueError as error:
            return (
                f"{name}: NumPy says '{error}'. Take dtype, shape and data_offsets of "
                "each tensor from the header."
            )
        if given.dtype != values.dtype:
            return (
                f"{name} has dtype {values.dtype} in the file, and {given.dtype} came "
                "out: look it up in the header's 'dtype'."
            )
        if given.size != values.size:
            return (
                f"{name} has {values.size} numbers, not {given.size}: data_offsets "
                "are its begin and its end, in bytes."
            )
        if given.shape != values.shape:
            return f"{name} should have shape {values.shape}: reshape by the header."
        if not np.array_equal(given, values):
            return (
                f"{name} has the right size and wrong numbers: the offsets count from "
                "the end of the header, that is, from byte 8 + n."
            )
    return None
