"""Solutions and typical mistakes of notebook 16."""

from __future__ import annotations

import json

import numpy as np

from tests.exercise_cases import Case


def _keep(costs, gain, *, strict=True, everywhere=False, minus=True, flip=False):
    gain = np.asarray(gain)
    points = np.column_stack([costs, -gain if minus else gain])
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    if everywhere:
        better = (points[:, None] < points[None]).all(axis=2)
    beaten = (no_worse & better if strict else no_worse).any(axis=0)
    return beaten if flip else ~beaten


def _one_of_equals(costs, gain):
    kept = _keep(costs, gain)
    kept[3] = False
    return kept


def _read(raw, name, *, start=None, dtype=None, shape=True, whole=False):
    n = int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8 : 8 + n])[name]
    begin, end = entry["data_offsets"]
    offset = 8 + n if start is None else start
    kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    part = raw[offset + begin : len(raw) if whole else offset + end]
    if whole:
        part = part[: len(part) // 8 * 8]
    values = np.frombuffer(part, dtype or kinds[entry["dtype"]])
    return values.reshape(entry["shape"]) if shape and not whole else values


def _with(function, **options):
    return lambda *given: function(*given, **options)


CASES = {
    "16.1": Case(
        solution=lambda: _keep,
        mistakes=[
            (lambda: _with(_keep, strict=False), "every model went, since"),
            (lambda: _with(_keep, everywhere=True), "the third model costs more"),
            (lambda: _with(_keep, minus=False), "the last model has the"),
            (lambda: _with(_keep, flip=True), "two equal models do not"),
            (lambda: _one_of_equals, "the first and the fourth"),
            (
                lambda: lambda costs, gain: _keep(costs, gain).astype(int),
                "return booleans, True for",
            ),
            (
                lambda: lambda costs, gain: np.flatnonzero(_keep(costs, gain)),
                "return one truth value",
            ),
        ],
    ),
    "16.2": Case(
        solution=1917,
        mistakes=[
            (1921, "nearly: the variance of"),
            (20, "the margin of 1.96 standard"),
            (500, "that is one standard error"),
            (4568, "that forgets the pairs"),
            (480, "the interval may reach"),
            (2263, "that is the interval of A"),
            (2305, "that is the interval of B"),
            (0.0196, "that is an error or a variance"),
            (1000, "solve 1.96 * sqrt(variance"),
        ],
    ),
    "16.3": Case(
        solution=lambda: _read,
        mistakes=[
            (lambda: _with(_read, start=8), "first has the right size"),
            (lambda: _with(_read, start=0), "first has the right size"),
            (lambda: _with(_read, dtype="<f4"), "half: NumPy says 'buffer"),
            (lambda: _with(_read, shape=False), "first should have shape"),
            (lambda: _with(_read, whole=True), "first has 6 numbers, not"),
        ],
    ),
}
