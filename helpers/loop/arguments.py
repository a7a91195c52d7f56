"""Checks of numbers that a caller gives, with one wording for all of them."""

from __future__ import annotations

__all__ = ["check_counts", "check_positive"]


def check_counts(*, most: int | None = None, **counts: int | None) -> None:
    """Refuse what is not a whole number from 1 to ``most``; None was not given.

    Raises:
        ValueError: names the argument, its value and what it may be.
    """
    for name, value in counts.items():
        if value is None:
            continue
        if not isinstance(value, int) or value < 1 or (most and value > most):
            known = f"from 1 to {most:,}" if most else "of at least 1"
            raise ValueError(f"{name}={value!r}: give a whole number {known}.")


def check_positive(example: float, **numbers: float) -> None:
    """Refuse what is not above zero, NaN included.

    Raises:
        ValueError: names the argument, its value and an ``example``.
    """
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(
                f"{name}={value}: give a positive number, e.g. {example:g}."
            )
