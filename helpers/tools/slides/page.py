"""A deck's slides as HTML: Markdown, formulas, code, tables, pictures; no network."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from helpers.tools import mathml
from helpers.tools.site.anchors import anchor
from helpers.tools.slides.choose import (
    CODE_LINES,
    OUTPUT_LINES,
    Slide,
    alt,
    cut,
    html_table,
    output_text,
    picture,
)

__all__ = ["Shown", "inline", "markdown", "shown"]

TEMPLATES = Path(__file__).parent / "templates"
# Pixels of a slide of 1280 x 720 below its title, and of lines of text, code, tables.
WIDTH, ROOM = 1168, 530
TEXT_LINE, TABLE_LINE, TABLE_MARGIN = 35, 29, 13
CODE_SIZE, LARGE_CODE, CODE_LINE, CODE_MARGIN, CODE_PADDING = 20, 27, 25.5, 64, 44
CODE_WIDTH = 0.605  # of a letter, as a share of its size
# Characters: a line of text, all columns of a table, one of them.
TEXT_WIDTH, CELL_WIDTH, NARROW = 90, 104, 14
LONG_FORMULA = 40
# A picture's letters of 14 pixels are then as large as 20.
READABLE = 1.45
# More would show the pixels.
LARGEST = 2.4
# Slides whose title is no heading of the notebook.
_OWN = ("title", "points", "exercises")
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A slide for the template; all but ``kind`` and ``anchor`` is HTML."""

    kind: str
    kicker: str
    title: str
    lead: str
    body: str
    takeaway: str
    notes: str
    anchor: str


def shown(slides: Sequence[Slide], short_title: str) -> list[Shown]:
    """Return what the template shows of ``slides``; ``short_title`` names the deck."""
    return [_shown(slide, short_title) for slide in slides]


def _shown(slide: Slide, short_title: str) -> Shown:
    kicker, title = slide.section, slide.part
    if not title:
        kicker, title = short_title, slide.section
    if slide.kind == "question":
        kicker, title = slide.section, "Predict, then run"
    lead, takeaway = slide.lead, slide.takeaway
    room = ROOM - _height(lead) - _height(takeaway)
    if not _fits(slide, room) and takeaway:
        # The words are in the notes, too: they give way to what is shown.
        takeaway = ""
        room = ROOM - _height(lead)
    if not _fits(slide, room) and lead:
        lead, room = "", ROOM
    return Shown(
        slide.kind,
        inline(kicker),
        inline(title),
        inline(lead),
        _body(slide, room),
        inline(takeaway),
        "\n".join(markdown(note) for note in slide.notes),
        "" if slide.kind in _OWN else _place(slide.part or slide.section),
    )


def _place(heading: str) -> str:
    """The fragment of an address that leads to a heading; its formulas do not count."""
    return "#" + quote(anchor(re.sub(r"\$[^$]*\$", "", heading)))


def _height(text: str) -> float:
    """Pixels that a line of Markdown needs with its margin."""
    return TEXT_LINE * -(-len(text) // TEXT_WIDTH) + 26 if text else 0.0


def _fits(slide: Slide, room: float) -> bool:
    """Say whether a slide is large enough to be read in a height of ``room`` pixels."""
    if slide.kind in ("figure", "drawing"):
        width, height = _size(slide)
        widest = WIDTH / width
        return room / height >= min(READABLE, 0.95 * widest)
    if slide.kind == "code":
        assert slide.block
        lines = len(cut(slide.block.text, CODE_LINES).splitlines())
        printed = min(OUTPUT_LINES, len(output_text(slide.block.cell).splitlines()))
        return (lines + printed) * CODE_LINE + CODE_MARGIN <= room
    if slide.kind == "table":
        head, rows = _table(slide)
        return sum(_heights(_rows([*_ROW.findall(head), *rows]))) <= room
    return True


def _body(slide: Slide, room: float) -> str:
    if slide.kind in ("figure", "drawing"):
        return _picture(slide)
    if slide.kind == "code":
        return _code(slide, room)
    if slide.kind == "table":
        return _cut_table(*_table(slide), room)
    if slide.kind == "formula":
        return markdown(_lines_of(slide.body))
    return markdown(slide.body)


# --- text -------------------------------------------------------------------------


@cache
def _parser():  # type: ignore[no-untyped-def]
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable("table")


def markdown(text: str) -> str:
    """Return Markdown as HTML, formulas as MathML."""
    return str(_parser().render(mathml.in_markdown(text))).strip()


def inline(text: str) -> str:
    """Return one line of Markdown as HTML without a paragraph around it."""
    if not text:
        return ""
    # "1 · Title" is no list, and neither is "1. Title".
    return str(_parser().renderInline(mathml.in_markdown(text)))


# --- what a slide shows -----------------------------------------------------------


def _lines_of(formulas: str) -> str:
    r"""A long row of formulas, parted at \qquad, one a line."""

    def parted(found: re.Match[str]) -> str:
        tex = found[1].strip()
        if len(re.sub(r"\\[a-zA-Z]+|[{}^_\\,;! ]", "", tex)) < LONG_FORMULA:
            return found[0]
        if "\\begin" in tex:
            return found[0]
        parts = re.split(r"(?:\\q?quad\s*)*\\qquad(?:\s*\\q?quad)*", tex)
        return "\n\n".join(f"$${part.strip()}$$" for part in parts)

    return re.sub(r"\$\$(.+?)\$\$", parted, formulas, flags=re.DOTALL)


def _png(slide: Slide) -> str:
    assert slide.block
    output = picture(slide.block.cell)
    assert output
    return "".join(output.data["image/png"]).replace("\n", "")


def _size(slide: Slide) -> tuple[float, float]:
    """Width and height of a slide's picture in its own pixels."""
    assert slide.block
    if slide.kind == "figure":
        head = base64.b64decode(_png(slide)[:64])
        width, height = struct.unpack(">II", head[16:24])
        return float(width), float(height)
    svg = base64.b64decode(slide.block.drawing).decode("utf-8")
    found = re.search(r"viewBox=[\"']([^\"']+)", svg)
    assert found, slide.block.text
    _, _, wide, high = map(float, found[1].replace(",", " ").split())
    return wide, high


def _picture(slide: Slide) -> str:
    assert slide.block
    words = escape(alt(slide), quote=True)
    if slide.kind == "drawing":
        source = f"data:image/svg+xml;base64,{slide.block.drawing}"
        return f'<img class="drawing" src="{source}" alt="{words}">'
    width, height = (round(LARGEST * side) for side in _size(slide))
    most = f"max-width:{width}px;max-height:{height}px"
    html = (
        f'<img src="data:image/png;base64,{_png(slide)}" alt="{words}" style="{most}">'
    )
    printed = output_text(slide.block.cell)
    if 0 < len(printed.splitlines()) <= 3:
        html += f'<pre class="output">{escape(printed)}</pre>'
    return html


def _code(slide: Slide, room: float) -> str:
    """A cell and its output, larger where there is room."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    assert slide.block
    printed = output_text(slide.block.cell).splitlines()
    if len(printed) > OUTPUT_LINES:
        printed = [*printed[: OUTPUT_LINES - 1], "…"]
    left = int((room - CODE_MARGIN) // CODE_LINE) - len(printed)
    source = cut(slide.block.text, min(CODE_LINES, left))
    code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    lines = [*source.splitlines(), *printed]
    widest = (WIDTH - CODE_PADDING) / (CODE_WIDTH * max(1, *map(len, lines)))
    highest = (room - CODE_MARGIN) / (CODE_LINE / CODE_SIZE * len(lines))
    size = max(CODE_SIZE, min(int(widest), int(highest), LARGE_CODE))
    style = f' style="font-size:{size}px;line-height:{CODE_LINE / CODE_SIZE:g}"'
    text = escape("\n".join(printed))
    return (
        f'<pre class="code"{style}><code>{code.rstrip()}</code></pre>'
        f'<pre class="output"{style}>{text}</pre>'
    )


def _table(slide: Slide) -> tuple[str, list[str]]:
    """A table's head, and its rows below, as HTML."""
    assert slide.block
    if slide.body:
        html = markdown(slide.body)
    else:
        html = html_table(slide.block.cell)
        html = html[html.index("<table") : html.rindex("</table>")]
        html = re.sub(r"<(table|tr)\b[^>]*>", r"<\1>", html)
    head, _, rest = html.partition("<tbody>")
    return head, _ROW.findall(rest)


def _cut_table(head: str, rows: list[str], room: float) -> str:
    used, kept = 0.0, []
    heights = _heights(_rows([*_ROW.findall(head), *rows]))
    used = sum(heights[: len(heights) - len(rows)])
    for row, height in zip(rows, heights[len(heights) - len(rows) :], strict=True):
        used += height
        if used > room:
            break
        kept.append(row)
    if len(kept) < len(rows):
        kept = kept[:-1]
        columns = len(re.findall(r"<t[hd]\b", rows[0]))
        more = f"and {len(rows) - len(kept)} more rows in the notebook"
        kept.append(f'<tr class="more"><td colspan="{columns}">{more}</td></tr>')
    wide = sum(_widths(_rows([*_ROW.findall(head), *rows])))
    few = used <= 0.55 * room and wide <= 60
    size = ' class="small"' if wide > CELL_WIDTH else ' class="large"' if few else ""
    head = head.replace("<table", f"<table{size}", 1)
    return f"{head}<tbody>{''.join(kept)}</tbody></table>"


def _rows(rows: Sequence[str]) -> list[list[int]]:
    """Lengths of the texts of a table's cells, row by row."""
    found = []
    for row in rows:
        row = re.sub(r"<math.*?</math>", "x" * 12, row, flags=re.DOTALL)
        cells = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        found.append([len(re.sub(r"<[^>]+>", "", cell).strip()) for cell in cells])
    return found


def _widths(rows: list[list[int]]) -> list[int]:
    """The longest text of each column, with its margin, in characters."""
    columns = max(map(len, rows))
    return [
        max((r[c] for r in rows if c < len(r)), default=0) + 2 for c in range(columns)
    ]


def _heights(rows: list[list[int]]) -> list[float]:
    """Pixels that each row of a table takes, from the lengths of its cells' texts."""
    widths = _widths(rows)
    narrow = sum(w for w in widths if w <= NARROW)
    wide = sum(w for w in widths if w > NARROW)
    share = min(1.0, max(0.1, (CELL_WIDTH - narrow) / wide)) if wide else 1.0
    heights: list[float] = []
    for row in rows:
        lines = [
            -(-length // max(6, int((width - 2) * share))) if width > NARROW else 1
            for length, width in zip(row, widths, strict=False)
        ]
        heights.append(max([1, *lines]) * TABLE_LINE + TABLE_MARGIN)
    return heights
