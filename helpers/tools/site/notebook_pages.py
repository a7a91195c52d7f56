"""A notebook as a page: drawings as files, solutions folded, links added."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from helpers.tools.site.anchors import anchor

BINDER = 2.0  # GiB of memory that mybinder.org grants
THUMBNAIL = (480, 300)  # pixels; cards show half of it
_ATTACHED = re.compile(r"\(attachment:(?P<name>[^)\s]+)\)")
# A file of the course beside the notebooks.
_COURSE_FILE = re.compile(r"\]\(\.\./(?P<path>(?:data|helpers)/[^)\s#]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *$", re.MULTILINE)
_HEAD = re.compile(
    r"# (?P<number>\d\d) · (?P<title>.+)\n\n(?P<promise>.+)\n\n"
    r"Time: (?P<time>.+?) · Needs: (?P<needs>.+?) · Mirrors: (?P<mirrors>.+)\n"
)


@dataclass(frozen=True)
class Term:
    """A line of the glossary; `place` is notebook number and heading."""

    en: str
    zh: str
    line: str
    line_zh: str
    notebook: str
    heading: str

    @property
    def index(self) -> str:
        """The Markdown that lets search find this place by both names."""
        return "".join(
            f"```{{index}} ! single: {n}\n```\n\n" for n in (self.en, self.zh)
        )

    @property
    def id(self) -> str:
        """The id of its entry on the glossary's page."""
        return "term-" + re.sub(r"[^a-z0-9]+", "-", self.en.lower()).strip("-")


@dataclass(frozen=True)
class Head:
    """What a notebook's first cell says of it."""

    number: str
    title: str
    promise: str
    time: str
    needs: str
    mirrors: str


def chinese(text: str) -> str:
    """Return Chinese words marked as such, for screen readers and fonts."""
    return f'<span class="zh" lang="zh">{text}</span>'


def head(notebook: NotebookNode, name: str) -> Head:
    """Return title, promise and the line of time and needs.

    Raises `ValueError` naming the notebook when its first cell has another form.
    """
    found = _HEAD.match(notebook.cells[0].source)
    if not found:
        raise ValueError(
            f"{name}: its first cell must be '# NN · Title', a paragraph, and a line "
            "'Time: … · Needs: … · Mirrors: …'"
        )
    return Head(**{key: str(value).strip() for key, value in found.groupdict().items()})


def thumbnail(notebook: NotebookNode, cell_id: str, path: Path) -> str:
    """Write the first picture of a cell, made small; return its text.

    Raises `ValueError` when the notebook has no such cell, or it shows no picture.
    """
    for cell in notebook.cells:
        if cell.id != cell_id:
            continue
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                data = base64.b64decode(output["data"]["image/png"])
                with Image.open(io.BytesIO(data)) as image:
                    flat = Image.new("RGB", image.size, "white")
                    seen = image.convert("RGBA")
                    flat.paste(seen, mask=seen.getchannel("A"))
                flat.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
                flat.save(path, optimize=True)
                return str(cell.metadata.get("alt", [""])[0])
    raise ValueError(
        f"no cell {cell_id!r} with a picture (data/site.toml, {path.stem})"
    )


def course_files(notebook: NotebookNode) -> set[str]:
    """Return the course's files that Markdown cells link to, from the course's root.

    The site brings each along, as a text file in `course/`.
    """
    return {
        found["path"]
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for found in _COURSE_FILE.finditer(cell.source)
    }


def convert(
    notebook: NotebookNode,
    name: str,
    terms: list[Term],
    online: str = "",
    peak: float | None = None,
) -> NotebookNode:
    """Return the page's notebook; its drawings lie in `../drawings`.

    `terms` are those of the glossary that lead here. `online` is the GitHub name of
    the repository, "" when there is none to link to. `peak` is the measured memory in
    GiB: Binder is offered where it suffices.
    """
    page = nbformat.from_dict(notebook)
    page.metadata.pop("course", None)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.pop("attachments", None)
            source = _ATTACHED.sub(r"(../drawings/\g<name>)", cell.source)
            source = _COURSE_FILE.sub(r"](../course/\g<path>.txt)", source)
            cell.source = _with_index(source, terms)
        elif "solution" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-cell"]
    page.cells.insert(1, _markdown(f"{name}-run", _run_it(name, online, peak)))
    if terms:
        page.cells.append(_markdown(f"{name}-words", _words(terms)))
    return page


def _markdown(key: str, source: str) -> NotebookNode:
    cell = nbformat.v4.new_markdown_cell(source)
    cell["id"] = re.sub(r"[^a-zA-Z0-9-]", "-", key)[:64]
    return cell


def _with_index(source: str, terms: list[Term]) -> str:
    """Let search find a heading by the glossary's words, English and Chinese."""

    def entries(found: re.Match[str]) -> str:
        here = [t for t in terms if anchor(t.heading) == anchor(found["text"])]
        if not here:
            return found[0]
        return "".join(term.index for term in here) + found[0]

    # Fences hold comments that look like headings; the terms never name those.
    return _HEADING.sub(entries, source)


def _run_it(name: str, online: str, peak: float | None) -> str:
    file, number = f"{name}.ipynb", name[:2]
    links = [f'<a class="button" href="{file}" download>Download the notebook</a>']
    if online:
        address = (
            f"https://colab.research.google.com/github/{online}/blob/HEAD/notebooks"
        )
        links.append(f'<a class="button" href="{address}/{file}">Open in Colab</a>')
    if online and peak is not None and peak < BINDER:
        address = f"https://mybinder.org/v2/gh/{online}/HEAD?labpath=notebooks%2F{file}"
        links.append(f'<a class="button" href="{address}">Open in Binder</a>')
    words = (
        "<span>Run it in the course: <code>make lab</code>, then open "
        f"<code>{html.escape(file)}</code>; or <code>make run NB={number}</code></span>"
    )
    return f'```{{raw}} html\n<div class="run-it">{"".join(links)}{words}</div>\n```'


def _words(terms: list[Term]) -> str:
    lines = [f"- [{t.en}](../glossary.md#{t.id}) · {chinese(t.zh)}" for t in terms]
    return "\n".join(["## Words of this notebook", "", "{.words}", *lines, ""])
