"""What every benchmark shares: the machine, fair rounds, tables of paired ratios.

Two contestants are compared round by round, a moment apart, so that a busy neighbour
slows both; the median of the ratios then says more than a ratio of two medians.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import psutil

from helpers.tools.refresh import processor

__all__ = ["duration", "interleave", "machine", "markdown", "ratios", "table"]


def machine() -> str:
    """CPU, cores, memory, system and versions on one line, without names or paths."""
    import torch

    memory = psutil.virtual_memory().total / 2**30
    parts = [
        f"{processor()}, {os.cpu_count()} cores",
        f"{memory:.0f} GiB",
        _system(),
        f"Python {platform.python_version()}",
        f"torch {torch.__version__} ({torch.get_num_threads()} threads)",
    ]
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    return " · ".join(parts)


def _system() -> str:
    if sys.platform == "linux":
        try:
            return platform.freedesktop_os_release()["PRETTY_NAME"]
        except (OSError, KeyError):
            return "Linux"
    return f"{platform.system()} {platform.release()}"


def interleave(
    contestants: Mapping[str, Callable[[int], float]], rounds: int
) -> dict[str, list[float]]:
    """Let every contestant run once a round; return each one's seconds by round.

    Args:
        contestants: by name, a function of the round's number that returns seconds.
            It times what counts and leaves out its own preparation.
        rounds: how often; the one that begins changes from round to round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if sys.stderr.isatty():
                text = f"round {number + 1} of {rounds}: {name}"
                print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)
            seconds[name].append(contestants[name](number))
    if sys.stderr.isatty():
        print(f"\r{'':<70}\r", end="", file=sys.stderr, flush=True)
    return seconds


def ratios(
    seconds: Mapping[str, Sequence[float]], reference: str
) -> dict[str, list[float]]:
    """Every contestant's time divided by the reference's time of the same round."""
    base = seconds[reference]
    return {
        name: [own / other for own, other in zip(values, base, strict=True)]
        for name, values in seconds.items()
    }


def duration(seconds: float) -> str:
    """Three significant digits in the unit that suits: "1.27 ms", "41.2 s"."""
    if seconds >= 1:
        value, unit = seconds, "s"
    elif seconds >= 1e-3:
        value, unit = seconds * 1e3, "ms"
    else:
        value, unit = seconds * 1e6, "us"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def table(
    seconds: Mapping[str, Sequence[float]], reference: str, *, steps: int = 1
) -> str:
    """A Markdown table: median time, median of the paired ratios, and its spread.

    Args:
        seconds: by contestant, one number a round, as :func:`interleave` returns.
        reference: the contestant whose ratio is 1.
        steps: what a time is divided by, to show a time per step.
    """
    rows = []
    for name, values in ratios(seconds, reference).items():
        time = duration(statistics.median(seconds[name]) / steps)
        if name == reference:
            rows.append([name, time, "1", "", ""])
            continue
        low, high = _quartiles(values)
        ratio = f"{statistics.median(values):.2f}"
        ends = f"{min(values):.2f} to {max(values):.2f}"
        rows.append([name, time, ratio, f"{low:.2f} to {high:.2f}", ends])
    rounds = len(seconds[reference])
    what = "time a step" if steps > 1 else "time"
    heads = [f"median of {rounds} rounds", what, "ratio", "quartiles", "min to max"]
    return markdown(heads, rows)


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is aligned to the right."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]

    def joined(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rules = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return "\n".join([joined(heads), joined(rules), *map(joined, lines)])
