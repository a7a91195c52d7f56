"""Exercises that grade themselves: `helpers.check("09.1", answer)`.

One module a notebook (`nb09.py` grades 09.1, 09.2, …). A grader looks like this:

    @exercise("09.1")
    def grade(answer: int) -> str | None:
        if answer == 1000:
            return "1000 is the width of the old head; what goes into it?"
        return None if answer == 1280 else "Look at backbone.classifier[-1]."

It returns None for a correct answer and otherwise names the likely mistake.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.exercises import progress

Grader = Callable[[Any], str | None]


@dataclass(frozen=True)
class _Exercise:
    grade: Grader
    praise: str
    function: str


# Part of the message for an answer that makes the grader stumble.
UNREADABLE = "cannot be checked here"

_registry: dict[str, _Exercise] = {}

# What an answer of the wrong kind provokes inside a grader; anything else is the
# grader's own bug and is raised. An answer that is a function may raise what it likes.
_ANSWER_ERRORS = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)


def exercise(
    id: str, praise: str = "", function: str = ""
) -> Callable[[Grader], Grader]:
    """Register the decorated grader as exercise `id`, such as "09.1".

    `praise` is one sentence printed after "correct": what the answer means. `function`
    is the name that the statement gives to an answer that must be callable.
    Raises `ValueError` when `id` is malformed or taken.
    """
    if not re.fullmatch(r"\d\d\.\d", id):
        raise ValueError(f"id must look like '09.1', got {id!r}")

    def register(grade: Grader) -> Grader:
        taken = _registry.get(id)
        if taken is not None and taken.grade.__module__ != grade.__module__:
            raise ValueError(
                f"exercise {id!r} exists already in {taken.grade.__module__}; "
                "give this one another number"
            )
        _registry[id] = _Exercise(grade, praise, function)
        return grade

    return register


def exercise_ids(notebook: str | None = None) -> list[str]:
    """Return the ids of every exercise, or of one notebook's (`"09"`), in order."""
    for module in pkgutil.iter_modules(__path__):
        number = module.name.removeprefix("nb")
        if module.name.startswith("nb") and notebook in (None, number):
            importlib.import_module(f"{__name__}.{module.name}")
    return sorted(
        id for id in _registry if notebook is None or id.startswith(f"{notebook}.")
    )


def check(id: str, answer: object = ...) -> None:
    """Print one line about `answer`: not attempted, correct, or which mistake it is.

    Whether `id` was tried or solved is noted on this machine (`exercises.progress`).
    Raises `ValueError` naming the known ids when there is no exercise `id`.
    """
    found = _find(id)
    if answer is ...:
        print(f"{id} not attempted yet: replace the ... in the cell above")
        return
    if answer is None:
        print(f"{id} not yet: the answer is None; did a `return` or a value get lost?")
        progress.note(id, correct=False)
        return
    message = _grade(found, answer)
    if message is None:
        print(f"{id} correct. {found.praise}".rstrip())
    else:
        print(f"{id} not yet: {' '.join(message.split())}")
    progress.note(id, correct=message is None)


def _find(id: str) -> _Exercise:
    """Return exercise `id`, importing its notebook's module when it is needed."""
    if id not in _registry:
        number = str(id).partition(".")[0]
        known = exercise_ids(number) or exercise_ids()
        if id not in known:
            raise ValueError(
                f"there is no exercise {id!r}; known ids: {', '.join(known) or 'none'}"
            )
    return _registry[id]


def _grade(found: _Exercise, answer: object) -> str | None:
    """Run a grader; an answer that it cannot read becomes a message."""
    if found.function and not callable(answer):
        return (
            f"the answer is a function: set answer = {found.function}, "
            "without brackets."
        )
    errors = Exception if callable(answer) else _ANSWER_ERRORS
    try:
        return found.grade(answer)
    except errors as error:
        reason = traceback.format_exception_only(error)[-1].strip()
        kind = type(answer).__name__
        return (
            f"an answer of type {kind} {UNREADABLE} "
            f"({textwrap.shorten(reason, 160, placeholder='…')})"
        )
