"""What a learner needs beside an error: its place in the data, the likely fix."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed"]


def listed(indices: Iterable[int]) -> str:
    """The first few examples by their number: "examples 8, 9, 10, …"."""
    numbers = list(indices)
    more = ", …" if len(numbers) > 8 else ""
    return f"examples {', '.join(map(str, numbers[:8]))}{more}"
