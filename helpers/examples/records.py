"""Tables of long runs: rows of a CSV file below some lines of comment.

A program adds a row, writes the file anew in one step, and when it is started again it
goes on after the rows that are there. Notebooks read `pandas.read_csv(…, comment="#")`.
"""

from __future__ import annotations

import csv
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd
import torch

from helpers.files import replacing

__all__ = ["RUNS", "command", "machine", "read", "write", "write_frame"]

RUNS = Path(__file__).parents[2] / "data" / "runs"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of ``path`` as texts, without its comment; none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def write(
    path: Path,
    about: Sequence[str],
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
) -> None:
    """Replace ``path`` by ``rows`` below the comment lines ``about``, in one step.

    What a row lacks stays empty.

    Raises:
        ValueError: a row has what is none of ``columns``.
    """
    with _opened(path, about) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_frame(path: Path, about: Sequence[str], table: pd.DataFrame) -> None:
    """`write` for a table without its index, floats with four significant digits."""
    with _opened(path, about) as file:
        table.to_csv(file, index=False, float_format="%.4g", lineterminator="\n")


@contextmanager
def _opened(path: Path, about: Sequence[str]) -> Iterator[IO[str]]:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        file.writelines(f"# {line}\n" for line in about)
        yield file


def machine() -> str:
    """What a comment says of the machine: "x86_64, 1 thread(s), torch 2.14.1"."""
    threads = f"{torch.get_num_threads()} thread(s)"
    return f"{platform.machine()}, {threads}, torch {torch.__version__}"


def command(
    run: Callable[[], object], usage: str | None, argv: Sequence[str] | None = None
) -> int:
    """Run a program that takes no arguments and can be interrupted: its exit status.

    ``usage`` is printed, with status 2, when there are arguments.
    """
    if sys.argv[1:] if argv is None else argv:
        print(usage, file=sys.stderr)
        return 2
    try:
        run()
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0
