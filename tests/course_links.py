"""Headings of the notebooks and links between them, as JupyterLab resolves them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat

from helpers.tools.notebooks import NOTEBOOKS, ROOT

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, its own sub-sections included.

    Attributes:
        heading: as a reader sees it, without Markdown's marks.
        text: Markdown and code.
        executed: the number of its code cells that ran to their end.
    """

    heading: str
    text: str
    executed: int


def anchor(heading: str) -> str:
    """The id that JupyterLab gives to a heading: its text, hyphens for spaces."""
    return re.sub(r"[`*]", "", heading).replace(" ", "-")


def file_of(number: str) -> Path:
    """The notebook with this number."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    return path


@cache
def sections(number: str) -> dict[str, Section]:
    """The sections of a notebook by their anchors; the first of equal ones."""
    cells = nbformat.read(file_of(number), as_version=4).cells
    pieces: list[tuple[int, str, list[str], list[int]]] = []
    for cell in cells:
        if cell.cell_type == "code":
            if pieces:
                pieces[-1][2].append(cell.source)
                failed = any(o.output_type == "error" for o in cell.outputs)
                meant = "raises-exception" in cell.metadata.get("tags", [])
                ran = cell.execution_count is not None and (meant or not failed)
                pieces[-1][3].append(int(ran))
            continue
        parts = _HEADING.split(_FENCE.sub("", cell.source))
        if pieces:
            pieces[-1][2].append(parts[0])
        for level, heading, text in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        ):
            pieces.append((len(level), re.sub(r"[`*]", "", heading), [text], []))
    found: dict[str, Section] = {}
    for place, (level, heading, texts, ran_cells) in enumerate(pieces):
        text, executed = [heading, *texts], sum(ran_cells)
        for below, title, more, ran_below in pieces[place + 1 :]:
            # A notebook's title stands for its introduction, not for everything.
            if below <= level or level == 1:
                break
            text += [title, *more]
            executed += sum(ran_below)
        section = Section(heading, "\n".join(text), executed)
        found.setdefault(anchor(heading), section)
    return found


def section_at(place: str) -> Section:
    """The section called ``"13#1 · Heading"``.

    Raises:
        LookupError: there is none; the message lists what there is.
    """
    number, _, heading = place.partition("#")
    known = sections(number)
    if anchor(heading) not in known:
        names = "; ".join(section.heading for section in known.values())
        raise LookupError(f"notebook {number} has no {heading!r}; it has: {names}")
    return known[anchor(heading)]


def links(text: str) -> list[str]:
    """Targets of the Markdown links in a text."""
    return [found["target"] for found in _LINK.finditer(_FENCE.sub("", text))]


def broken(target: str, folder: Path = NOTEBOOKS) -> str | None:
    """Why a link from a notebook leads nowhere, or None."""
    if re.match(r"[a-z]+:", target):
        good = re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[^\s\"<>]*)?", target)
        return None if good else "not a well-formed https address"
    name, _, fragment = target.partition("#")
    path = (folder / name).resolve() if name else None
    if path is not None and not path.exists():
        return "no such file"
    if path is not None and not path.is_relative_to(ROOT):
        return "outside the course"
    if not fragment or path is None or path.suffix != ".ipynb":
        return None
    return None if fragment in sections(path.name[:2]) else "no such heading"
