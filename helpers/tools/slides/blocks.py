"""A notebook as a row of blocks: paragraphs, formulas, drawings, tables, code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from nbformat import NotebookNode

from helpers.tools.drawings import SHOWN
from helpers.tools.ranges import RANGE_TAG
from helpers.tools.sections import tags

__all__ = ["Block", "Kind", "blocks", "sentences", "unlinked"]

_FENCE = re.compile(r"^(```|~~~)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*$")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?:[^()\s]|\([^)]*\))+\)")
_BARE = re.compile(r"<(https?://[^>]+)>")
_EXERCISE = re.compile(r"^\*\*(?P<id>\d\d\.\d) · (?P<title>.+?)\*\* · (?P<rest>[^.]+)")
# What may stand between a full stop and the blank: a closing bracket, quote, emphasis.
_END = re.compile(r"(?<=[.!?:])[*_)\"'”’]*\s+(?=[*_(\"'“‘`$]*[A-Z0-9`$])")
_NO_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|al|vs|cf|etc|resp|approx|no|Fig|Eq|Dr|St)\.|\b[A-Z]\.|:)$"
)


class Kind(Enum):
    """What a block is."""

    HEADING = "heading"
    PROSE = "prose"
    LIST = "list"
    FORMULA = "formula"
    DRAWING = "drawing"
    TABLE = "table"
    CODE = "code"
    EXERCISE = "exercise"


@dataclass(frozen=True)
class Block:
    """One block; ``section`` and ``part`` are the headings (## and ###) above it."""

    kind: Kind
    text: str
    section: str
    part: str
    cell: NotebookNode
    level: int = 0  # of a heading

    @property
    def alt(self) -> str:
        """What a drawing shows, in words."""
        found = SHOWN.search(self.text)
        return found["alt"] if found else ""

    @property
    def drawing(self) -> str:
        """A drawing as base64 of its SVG file."""
        found = SHOWN.search(self.text)
        assert found, self.text
        return str(self.cell.attachments[found["name"]]["image/svg+xml"])


def blocks(notebook: NotebookNode) -> list[Block]:
    """Return the blocks in order, without solutions, stubs and ranges' lines.

    An exercise is one block: its statement, up to the next code cell.
    """
    return list(_blocks(notebook))


def _blocks(notebook: NotebookNode) -> Iterator[Block]:
    section = part = ""
    for cell in notebook.cells:
        if tags(cell) & {RANGE_TAG, "exercise", "solution"}:
            continue
        if cell.cell_type == "code":
            yield Block(Kind.CODE, cell.source, section, part, cell)
            continue
        inside = False  # of an exercise, whose statement may have several paragraphs
        for text in _paragraphs(cell.source):
            heading = _HEADING.match(text)
            if heading:
                level, title = len(heading[1]), heading[2]
                if level <= 2:
                    section, part = title if level == 2 else "", ""
                else:
                    part = title
                inside = False
                yield Block(Kind.HEADING, title, section, part, cell, level)
                continue
            if re.match(r"(?:A|Both|The) solutions? (?:is|are) folded below", text):
                continue
            inside = inside or bool(_EXERCISE.match(text))
            kind = Kind.EXERCISE if inside else _kind(text)
            yield Block(kind, text, section, part, cell)


def _paragraphs(source: str) -> Iterator[str]:
    """Yield what blank lines and headings separate; a fenced or $$ block stays one."""
    lines: list[str] = []
    fence, formula = "", False
    for line in source.splitlines():
        marker = _FENCE.match(line)
        if marker and not formula:
            fence = "" if fence == marker[1] else fence or marker[1]
        if not fence and line.count("$$") % 2:
            formula = not formula
        if fence or formula or marker:
            lines.append(line)
        elif not line.strip() or _HEADING.match(line):
            if lines:
                yield "\n".join(lines)
            lines = []
            if line.strip():
                yield line
        else:
            lines.append(line)
    if lines:
        yield "\n".join(lines)


def _kind(text: str) -> Kind:
    if SHOWN.search(text):
        return Kind.DRAWING
    if "$$" in text:
        return Kind.FORMULA
    if re.match(r"\|.*\n\|[ :|-]+\n", text):
        return Kind.TABLE
    if re.match(r"(?:[-*]|\d+\.) ", text):
        return Kind.LIST
    return Kind.PROSE


def exercise_title(text: str) -> str:
    """Return an exercise's number, name, difficulty and minutes, "" if it is none."""
    found = _EXERCISE.match(text)
    if not found:
        return ""
    return f"**{found['id']}** {found['title']} · {found['rest'].strip()}"


def unlinked(text: str) -> str:
    """Return Markdown whose links are their texts: a slide is not clicked."""
    return _BARE.sub(r"`\1`", _LINK.sub(r"\1", text))


def sentences(text: str) -> list[str]:
    """Split a paragraph of Markdown; emphasis and formulas stay whole."""
    text = " ".join(text.split())
    start = 0
    found: list[str] = []
    for end in _END.finditer(text):
        piece = text[start : end.start()] + end[0].rstrip()
        if _NO_END.search(text[: end.start()]) or not _balanced(piece):
            continue
        found.append(piece.strip())
        start = end.end()
    return [*found, text[start:].strip()] if text[start:].strip() else found


def _balanced(text: str) -> bool:
    """Say whether emphasis, code, formulas and brackets that open also close."""
    code = re.sub(r"`[^`]*`", "", text)
    bare = re.sub(r"\$[^$]*\$", "", code)
    return (
        "`" not in code
        and "$" not in bare
        and bare.replace("**", "").count("*") % 2 == 0
        and bare.count("**") % 2 == 0
        and bare.count("(") == bare.count(")")
        and bare.count("[") == bare.count("]")
    )
