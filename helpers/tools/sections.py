"""A notebook's sections, with what they cost: seconds to run, minutes to study.

The teacher's edition, its guide and the workshops' time-tables count with these.
"""

from __future__ import annotations

import copy
import csv
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.tools.notebooks import NOTEBOOKS, ROOT
from helpers.tools.ranges import RANGE_TAG

__all__ = ["CODE_LINES_A_MINUTE", "WORDS_A_MINUTE", "Exercise", "Section"]
__all__ += ["RECORD", "WHOLE", "heading_of", "measured", "of_course", "recorded"]
__all__ += ["sections", "split_at_headings", "tags"]

# How fast a first reader reads prose with formulas, and code that is run and looked at.
WORDS_A_MINUTE = 200
CODE_LINES_A_MINUTE = 20

RECORD = ROOT / "data" / "runs" / "notebook_seconds.csv"
WHOLE = "whole"
"""The section of the row with a notebook's wall time, its kernel's start included."""

_HEADING = re.compile(r"^#{1,2} +(?P<text>.+?) *$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_STATEMENT = re.compile(
    r"\*\*(?P<id>\d\d\.\d) · (?P<title>.+?)\*\* · (?P<dots>[●○]+) · (?P<min>\d+) ?min"
)
# What is not read: tags, pictures, addresses of links.
_UNREAD = re.compile(r"<[^>]+>|!\[[^\]]*\]\([^)]*\)|(?<=\])\([^)]*\)")


@dataclass(frozen=True)
class Exercise:
    """An exercise's statement: id, title, difficulty (such as ●●○) and minutes."""

    id: str
    title: str
    difficulty: str
    minutes: int


@dataclass(frozen=True)
class Section:
    """What stands below a heading of level 1 or 2, up to the next one.

    Attributes:
        notebook: its number, such as "09".
        level: 1 for the title and what follows it, 2 for the others.
        heading: without the hashes, as ``benchmarks.notebooks`` records it.
        words: of prose; solutions and discussions belong to the exercises' minutes.
        code_lines: lines of code cells that are not empty, without solutions.
        exercises: those stated here.
        seconds: to run its cells, None where nobody has measured it.
    """

    notebook: str
    level: int
    heading: str
    words: int
    code_lines: int
    exercises: tuple[Exercise, ...]
    seconds: float | None

    @property
    def reading(self) -> float:
        """Minutes to read prose and code."""
        return self.words / WORDS_A_MINUTE + self.code_lines / CODE_LINES_A_MINUTE

    @property
    def study(self) -> float:
        """Minutes to read, and to do every exercise in the time that it states."""
        return self.reading + sum(each.minutes for each in self.exercises)

    @property
    def number(self) -> str:
        """The "3" of "3 · Freeze, replace, count"; "" where there is none."""
        found = re.match(r"(\d+) · ", self.heading)
        return found[1] if found and self.level == 2 else ""


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def split_at_headings(notebook: NotebookNode) -> NotebookNode:
    """A copy in which every heading of level 1 or 2 begins its own Markdown cell."""
    result = copy.deepcopy(notebook)
    result.cells = [piece for cell in result.cells for piece in _pieces(cell)]
    return result


def _pieces(cell: NotebookNode) -> Iterator[NotebookNode]:
    if cell.cell_type != "markdown":
        yield cell
        return
    starts = [found.start() for found in _headings(cell.source)]
    bounds = sorted({0, *starts, len(cell.source)})
    texts = [cell.source[a:b] for a, b in itertools.pairwise(bounds)]
    for place, text in enumerate(text for text in texts if text.strip()):
        piece = copy.deepcopy(cell)
        piece.source = text.strip("\n")
        if place:
            piece.id = f"{cell.id[:58]}-{place + 1}"
        shown = {k: v for k, v in piece.get("attachments", {}).items() if k in text}
        piece.pop("attachments", None)
        if shown:
            piece.attachments = shown
        yield piece


def _headings(source: str) -> list[re.Match[str]]:
    """Headings of level 1 and 2 outside of fenced code, where # begins a comment."""
    hidden = [range(*found.span()) for found in _FENCE.finditer(source)]
    return [
        found
        for found in _HEADING.finditer(source)
        if not any(found.start() in fence for fence in hidden)
    ]


def heading_of(cell: NotebookNode) -> str | None:
    """The heading that a cell of `split_at_headings` begins with, or None."""
    if cell.cell_type != "markdown":
        return None
    found = _headings(cell.source)
    return found[0]["text"].strip() if found and not found[0].start() else None


def sections(notebook: NotebookNode, number: str) -> list[Section]:
    """The sections of the notebook called ``number``, its title's first."""
    seconds = measured()
    parts: list[tuple[str, list[NotebookNode]]] = []
    for cell in split_at_headings(notebook).cells:
        heading = heading_of(cell)
        if heading is not None:
            parts.append((heading, []))
        if parts:
            parts[-1][1].append(cell)
    return [
        Section(
            number,
            1 if cells[0].source.startswith("# ") else 2,
            heading,
            sum(_words(cell) for cell in cells),
            sum(_code_lines(cell) for cell in cells),
            tuple(e for cell in cells for e in exercises_of(cell)),
            seconds.get((number, heading)),
        )
        for heading, cells in parts
    ]


def exercises_of(cell: NotebookNode) -> list[Exercise]:
    """The exercises that a Markdown cell states."""
    if cell.cell_type != "markdown":
        return []
    return [
        Exercise(found["id"], found["title"], found["dots"], int(found["min"]))
        for found in _STATEMENT.finditer(cell.source)
    ]


def _words(cell: NotebookNode) -> int:
    if cell.cell_type != "markdown" or RANGE_TAG in tags(cell):
        return 0
    text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
    return len(_UNREAD.sub(" ", text).split())


def _code_lines(cell: NotebookNode) -> int:
    if cell.cell_type != "code" or "solution" in tags(cell):
        return 0
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def recorded(path: Path = RECORD) -> list[dict[str, str]]:
    """The rows that `benchmarks.notebooks` kept; none unless it has measured.

    Each has notebook ("09"), section (its heading, or `WHOLE`), seconds and, of the
    whole, peak_gib.
    """
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@cache
def measured() -> Mapping[tuple[str, str], float]:
    """Seconds by (notebook, heading), and by (notebook, `WHOLE`); empty unless kept."""
    return {
        (row["notebook"], row["section"]): float(row["seconds"]) for row in recorded()
    }


@cache
def of_course(folder: Path = NOTEBOOKS) -> Mapping[str, tuple[Section, ...]]:
    """Every notebook's sections by its number."""
    return {
        path.name[:2]: tuple(sections(nbformat.read(path, as_version=4), path.name[:2]))
        for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    }
