"""One module a notebook: for each exercise, its solution and typical mistakes.

CASES = {
    "09.1": Case(
        solution=1280,
        mistakes=[(1000, "the old head's width"), (lambda: expensive(), "look again")],
    )
}
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Answers to one exercise: the solution, and at least two typical mistakes.

    A function given here is called, and what it returns is the answer; so wrap an
    answer that is itself a function: `lambda: my_function`.

    Attributes:
        solution: what is accepted.
        mistakes: (answer, words of the hint that it must get).
    """

    solution: object
    mistakes: Sequence[tuple[object, str]]


def answer(given: object) -> object:
    """Return the answer that a `Case` holds or makes."""
    return given() if isinstance(given, types.FunctionType) else given
