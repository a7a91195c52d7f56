"""Drawings of `data/drawings/`, embedded in the notebooks that show them.

A Markdown cell shows one as ``![what it shows](attachment:09_backbone.svg)``. The copy
in the notebook opens everywhere, untrusted and without a network; the file is the
source, and lint holds the two together.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from nbformat import NotebookNode

from helpers.tools import alt_texts
from helpers.tools.notebooks import ROOT, NotebookError, write

__all__ = ["DRAWINGS", "SHOWN", "embed", "faults", "findings", "renew"]

DRAWINGS = ROOT / "data" / "drawings"
# A drawing in Markdown. Its words may hold brackets of their own, such as [CLS].
SHOWN = re.compile(
    r"!\[(?P<alt>(?:[^\[\]]|\[[^\[\]]*\])*)\]\(attachment:(?P<name>[^)\s]+)\)"
)
_SVG = "image/svg+xml"
# What a picture would load from elsewhere, or run.
_ACTIVE = re.compile(
    r"<script|\son\w+\s*=|(?:href|src)\s*=\s*[\"'](?!#)|url\((?!#)|@import",
    re.IGNORECASE,
)


def embed(notebook: NotebookNode, folder: Path = DRAWINGS) -> bool:
    """Put the drawings that Markdown cells name into them; True if something changed.

    Raises `NotebookError` for a name without a file in ``folder``.
    """
    changed = False
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        wanted = {}
        for shown in SHOWN.finditer(cell.source):
            path = folder / shown["name"]
            if not path.is_file():
                there = ", ".join(sorted(p.name for p in folder.glob("*.svg")))
                raise NotebookError(
                    f"there is no drawing {shown['name']!r} in {folder.name}/; "
                    f"there are: {there or 'none'}"
                )
            wanted[path.name] = {_SVG: _encoded(path)}
        if wanted != cell.get("attachments", {}):
            changed = True
            cell.pop("attachments", None)
            if wanted:
                cell["attachments"] = wanted
    return changed


def renew(path: Path) -> bool:
    """Embed drawings and texts for pictures at ``path``; True if the file changed."""
    notebook = nbformat.read(path, as_version=4)
    changed = embed(notebook, DRAWINGS) | alt_texts.embed(notebook)
    if changed:
        write(notebook, path)
    return changed


def findings(notebook: NotebookNode, folder: Path = DRAWINGS) -> Iterator[str]:
    """What is wrong with the drawings of a notebook, one sentence each."""
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        attached = dict(cell.get("attachments", {}))
        for shown in SHOWN.finditer(cell.source):
            name, copy = shown["name"], attached.pop(shown["name"], {})
            path = folder / name
            if not path.is_file():
                yield f"drawing {name}: there is no such file in data/drawings"
            elif copy != {_SVG: _encoded(path)}:
                yield (
                    f"drawing {name}: the notebook's copy is not the file in "
                    "data/drawings: run `python -m helpers drawings`"
                )
            else:
                yield from (f"drawing {name}: {wrong}" for wrong in faults(path))
            if len(shown["alt"]) < alt_texts.LEAST_ALT:
                yield f"drawing {name}: say in ![…] what it shows"
        for name in attached:
            yield (
                f"attachment {name}: no drawing of data/drawings shown in its cell; "
                "plots come from code cells"
            )


def faults(path: Path) -> Iterator[str]:
    """What is wrong with one SVG file."""
    text = path.read_text("utf-8")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        yield f"not XML ({error})"
        return
    space = "{http://www.w3.org/2000/svg}"
    if root.tag != f"{space}svg" or "viewBox" not in root.attrib:
        yield "its outermost element must be <svg viewBox=… xmlns=…>"
    if not (root.findtext(f"{space}title") or "").strip():
        yield "<title> is missing: screen readers read it"
    if found := _ACTIVE.search(text):
        yield f"it runs or loads something ({found[0].strip()!r}); draw it in the file"


def _encoded(path: Path) -> str:
    # The same bytes whatever line ends a checkout has.
    data = path.read_bytes().replace(b"\r\n", b"\n")
    return base64.b64encode(data).decode("ascii")
