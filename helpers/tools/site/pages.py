"""The pages that are not notebooks: front page, glossary, run times, how to start."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.tools import guide
from helpers.tools.sections import WHOLE, recorded
from helpers.tools.site.anchors import anchor
from helpers.tools.site.notebook_pages import Head, Term, chinese

_ROW = re.compile(
    r"^\| \[(?P<number>\d\d) (?P<title>[^\]]+)\]\((?P<file>[^)]+)\) "
    r"\| (?P<shows>.+?) \| (?P<time>.+?) \| (?P<needs>.+?) \|$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Entry:
    """A row of README's table of notebooks."""

    number: str
    title: str
    file: str
    shows: str
    time: str
    needs: str

    @property
    def name(self) -> str:
        """The notebook's file name without its ending."""
        return Path(self.file).stem


@dataclass(frozen=True)
class Card:
    """A notebook on the front page: its row, what it promises, its picture's words."""

    entry: Entry
    head: Head
    alt: str


def entries(readme: str) -> list[Entry]:
    """Return the rows of README's table of notebooks."""
    return [Entry(**found.groupdict()) for found in _ROW.finditer(readme)]


def section(readme: str, heading: str) -> str:
    """Return the text below a heading of README, up to the next of its rank.

    Raises `ValueError` when README has no such heading.
    """
    parts = re.split(r"^## (.+)$", readme, flags=re.MULTILINE)
    known = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in known:
        raise ValueError(f"README.md has no section {heading!r}; it has {list(known)}")
    return known[heading].strip()


def front(
    cards: Sequence[Card], site: Path, needs: Path, readme: str, extra: Sequence[str]
) -> str:
    """Return the front page; `site` and `needs` are site.toml and needs.toml.

    `extra` are the names of further pages for the contents.
    """
    groups = tomllib.loads(site.read_text("utf-8"))
    by_number = {card.entry.number: card for card in cards}
    first = readme.split("\n\n")[1].replace("\n", " ")
    parts = ["# Pretrained models: a course in notebooks", "", "```{raw} html"]
    parts += ['<div class="hero">', f"<p>{html.escape(first)}</p>", _BUTTONS, _HERO]
    parts += ["</div>", "```", "", "## Start here", ""]
    paths = [*groups["start"], *tomllib.loads(needs.read_text("utf-8"))["path"]]
    parts += ["```{raw} html", '<div class="paths">']
    parts += [_path(path, by_number) for path in paths]
    parts += [_TEACHER, "</div>", "```", "", "## The twenty notebooks", ""]
    for group in groups["group"]:
        parts += [
            f"### {group['caption']}",
            "",
            "```{raw} html",
            '<div class="lessons">',
        ]
        parts += [_card(by_number[number]) for number in group["notebooks"]]
        parts += ["</div>", "```", ""]
    for group in groups["group"]:
        parts += ["```{toctree}", ":hidden:", f":caption: {group['caption']}", ""]
        for number in group["notebooks"]:
            entry = by_number[number].entry
            parts.append(f"{number} · {entry.title} <notebooks/{entry.name}>")
        parts += ["```", ""]
    parts += ["```{toctree}", ":hidden:", ":caption: Around the course", "", *extra]
    return "\n".join([*parts, "```", ""])


_BUTTONS = """\
<p class="buttons"><a class="button first" href="notebooks/01_background.html">Read
notebook 01</a> <a class="button" href="start.html">Run the course</a></p>"""
_HERO = """\
<img src="_static/drawings/01_two_stages.svg" alt="Two stages. First
somebody trains a network on a million photos, once; then you take its weights and
train a small head on a few labelled drawings."/>"""
_TEACHER = """\
<div><b>You teach it</b><p>A USB stick for the room, one cache for all, exercises that
check themselves.</p><p><a href="teach/index.html">The teacher's guide</a></p></div>"""


def _path(path: dict[str, object], by_number: dict[str, Card]) -> str:
    numbers = path["notebooks"]
    assert isinstance(numbers, list)
    links = " ".join(
        f'<a href="notebooks/{by_number[n].entry.name}.html" '
        f'aria-label="{n} {html.escape(by_number[n].entry.title)}">{n}</a>'
        for n in numbers
    )
    name, why = html.escape(str(path["name"])), html.escape(str(path["why"]))
    return f'<div><b>{name}</b><p>{why}</p><p class="numbers">{links}</p></div>'


def _card(card: Card) -> str:
    entry = card.entry
    needs = "" if entry.needs == "default" else f" · needs {html.escape(entry.needs)}"
    study = card.head.time.rpartition(", ")[2].removesuffix(" to study")
    study = study.removesuffix(" minutes")
    return (
        f'<a class="lesson" href="notebooks/{entry.name}.html">'
        f'<span class="picture"><img alt="{html.escape(card.alt)}" '
        f'src="_static/thumbnails/{entry.number}.png"/></span>'
        f"<b>{entry.number} · {html.escape(entry.title)}</b>"
        f"<span>{html.escape(entry.shows)}</span>"
        f"<small>runs {html.escape(entry.time)} · study {html.escape(study)} minutes"
        f"{needs}</small></a>"
    )


def glossary(terms: Sequence[Term], names: dict[str, str]) -> str:
    """Return the glossary; `names` gives the file name for a notebook's number."""
    lines = ["# Glossary, English and Chinese", ""]
    lines += [f"{len(terms)} terms, each with the section that shows it at work.", ""]
    letter = ""
    for term in sorted(terms, key=lambda t: t.en.casefold()):
        first = term.en[0].upper()
        if first != letter:
            letter = first
            lines += [f"## {letter}", ""]
        place = f"notebooks/{names[term.notebook]}.ipynb#{anchor(term.heading)}"
        shown = re.sub(r"[\[\]]", "", term.heading)
        lines += [
            term.index,
            f"({term.id})=",
            f"**{term.en}** · {chinese(term.zh)}",
            f": {term.line}\\",
            f"  {chinese(term.line_zh)}\\",
            f"  → [{term.notebook} · {shown}](<{place}>)",
            "",
        ]
    return "\n".join(lines)


def run_times(table: Path, names: dict[str, str]) -> str:
    """Return the page of measured times, from a table of seconds a section.

    Columns: notebook, section, seconds, peak_gib; the section "whole" is the wall time.
    Lines that open with # say how it was measured. Without the file the page says so.
    Sections without code to speak of are left out.
    """
    lines = ["# Measured run times", ""]
    if not table.is_file():
        return "\n".join([*lines, "Nothing was measured yet for this edition.", ""])
    text = table.read_text("utf-8").splitlines()
    # A comment that opens with a small letter and a colon, or a capital, is a new line.
    for line in (line.lstrip("# ") for line in text if line.startswith("#")):
        new = line[:1].isupper() or re.match(r"[a-z]+: ", line)
        lines += ["", line] if new else [line]
    rows = recorded(table)
    whole = [row for row in rows if row["section"] == WHOLE]
    lines += ["", "| notebook | seconds | peak memory, GiB |", "|---|--:|--:|"]
    for row in whole:
        name = names[row["notebook"][:2]]
        link = f"[{name.replace('_', ' ')}](notebooks/{name}.ipynb)"
        lines.append(f"| {link} | {_short(row['seconds'])} | {row['peak_gib']} |")
    total = sum(float(row["seconds"]) for row in whole)
    lines += [f"| all, one after the other | {total:,.0f} | |", ""]
    lines += ["## Section by section", ""]
    for row in whole:
        number = row["notebook"][:2]
        of_it = [r for r in rows if r["notebook"] == row["notebook"] and r is not row]
        parts = [r for r in of_it if float(r["seconds"]) >= 0.05]
        title = names[number].replace("_", " ")
        lines += [f"### {title}", "", "| section | seconds |", "|---|--:|"]
        lines += [f"| {_plain(r['section'])} | {_short(r['seconds'])} |" for r in parts]
        lines.append("")
    return "\n".join(lines)


def peaks(table: Path) -> dict[str, float]:
    """Return the peak memory of each notebook in GiB, by number; see `run_times`."""
    return {
        row["notebook"][:2]: float(row["peak_gib"])
        for row in recorded(table)
        if row["section"] == WHOLE
    }


def _short(seconds: str | float) -> str:
    value = float(seconds)
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


_COLAB = """\
Colab opens a notebook without the course around it. Put this into a first cell; pip
installs only what is missing:

```ipython
!git clone --depth 1 https://github.com/{online} course
%cd course/notebooks
!pip install -q --upgrade-strategy only-if-needed -e ..
!python -m helpers fetch
```"""


def start(readme: str, online: str = "") -> str:
    """Return how to run the course, from README's sections.

    With the GitHub name of the repository, also how to begin in Colab.
    """
    lines = ["# Run the course", ""]
    for heading in ("Start", "Windows and conda", "Settings", "Troubleshooting"):
        lines += [f"## {heading}", "", section(readme, heading), ""]
    if online:
        lines += ["## In Colab", "", _COLAB.format(online=online), ""]
    lines += ["## The five source documents", ""]
    sources = re.split(r"^### The five source documents$", readme, flags=re.MULTILINE)
    return "\n".join([*lines, re.split(r"^## ", sources[1], flags=re.MULTILINE)[0]])


def teach(readme: str) -> dict[str, str]:
    """Return the guide's pages by file name, the first of them `teach/index.md`."""
    parts = guide.pages(address="../notebooks/{file}")
    front = parts.pop("guide")
    short = {
        entry.number: f"{entry.number} · {entry.title}" for entry in entries(readme)
    }
    lines = [f"- [{short.get(name, name.capitalize())}]({name}.md)" for name in parts]
    found = {
        "teach/index.md": "\n".join([front, "", "## Page by page", "", *lines, ""])
    }
    for name, text in parts.items():
        # The notebook itself has the same title.
        shown = text.replace("# ", "# Teaching ", 1) if name.isdecimal() else text
        # They are left out of the contents on the left, which stay those of learners.
        found[f"teach/{name}.md"] = f"---\norphan: true\n---\n\n{shown}"
    return found


def titles(names: Iterable[str]) -> dict[str, str]:
    """Return the file name without ending for each notebook's number."""
    return {name[:2]: name for name in names}
