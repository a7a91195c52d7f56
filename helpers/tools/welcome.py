"""The page that JupyterLab opens on: `notebooks/welcome.md`, made anew at each start.

It holds the map of the notebooks with measured minutes, the learner's progress, where
to start and what to do when stuck. It is nobody's source, and git ignores it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.assets.paths import command
from helpers.files import remove_leftovers, replacing
from helpers.tools import progress
from helpers.tools.notebooks import NOTEBOOKS, ROOT
from helpers.tools.sections import RECORD, WHOLE, recorded

__all__ = ["NAME", "arguments", "minutes", "page"]

NAME = "welcome.md"
_STUCK = """\
## When you are stuck

- **A cell fails that should not**: *Kernel → Restart Kernel and Run up to Selected
  Cell* starts afresh. Most faults are cells run out of order.
- **It still fails, or a model is missing**: in a terminal (*File → New → Terminal*)
  `{doctor}` names each fault and the command that mends it.
- **The kernel died**: memory. Shut down other notebooks; the round icon at the left
  lists them.
- **An exercise**: replace the `...` and run the cell; `helpers.check` says which
  mistake it is. A solution is folded below, behind three dots.
- **A notebook that you changed**: as long as it is not saved, *File → Reload Notebook
  from Disk* brings the course's back.
"""
_CELL = str.maketrans({"|": "\\|", "\n": " "})


def arguments(folder: Path = NOTEBOOKS) -> list[str]:
    """Write the page into ``folder``; return what JupyterLab needs to open on it.

    A folder that cannot be written keeps nobody from working: that is said, and
    JupyterLab opens on its list of files.
    """
    path = folder / NAME
    try:
        remove_leftovers(folder)
        with replacing(path) as temporary:
            temporary.write_text(page(), "utf-8", newline="\n")
    except OSError as error:
        print(
            f"No welcome page: {folder.name}/ cannot be written ({error.strerror}). "
            "JupyterLab opens on the list of notebooks.",
            file=sys.stderr,
        )
        return []
    return [f"--LabApp.default_url=/lab/tree/{NAME}"]


def page(root: Path = ROOT) -> str:
    """Return the page in Markdown; its links are relative to ``notebooks/``."""
    rows = progress.summary()
    return "\n".join(
        [
            "# Pretrained models: a course in notebooks",
            "",
            "A click on a title opens the notebook; `Shift+Enter` runs a cell and goes",
            "on to the next. Everything runs on this machine, without a network.",
            "",
            "## Start here",
            "",
            *_paths(root, {each.number: each.file for each in rows}),
            "",
            "## The notebooks",
            "",
            *_table(root, rows),
            "",
            *_stuck(),
            "",
        ]
    )


def _paths(root: Path, files: dict[str, str]) -> Iterator[str]:
    """Ways through the course, each a list item with links."""
    ways = _toml(root / "data" / "site.toml").get("start", [])
    ways += _toml(root / "data" / "needs.toml").get("path", [])
    for way in ways:
        numbers = [number for number in way["notebooks"] if number in files]
        links = " · ".join(f"[{number}]({files[number]})" for number in numbers)
        yield f"- **{way['name']}**: {links}. {way['why']}"
    if not ways:
        yield "- Follow the numbers, or jump: every notebook runs alone."


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def _table(root: Path, rows: list[progress.NotebookProgress]) -> Iterator[str]:
    from helpers.tools.site.pages import entries

    readme = root / "README.md"
    told = entries(readme.read_text("utf-8")) if readme.is_file() else []
    about = {entry.number: entry for entry in told}
    measured = minutes(root / RECORD.relative_to(ROOT))
    solved = sum(each.solved for each in rows)
    yield "| notebook | what it shows | time to run | needs | exercises |"
    yield "|---|---|---|---|---|"
    for each in rows:
        entry = about.get(each.number)
        shows, time, needs = (
            (entry.shows, entry.time, entry.needs) if entry else [""] * 3
        )
        title = f"{each.number} {each.title}".translate(_CELL)
        time = measured.get(each.number, time)
        yield f"| [{title}]({each.file}) | {shows} | {time} | {needs} | {each.dots} |"
    yield ""
    total = sum(each.total for each in rows)
    yield (
        f"Exercises: {solved} of {total} solved when JupyterLab was started "
        f"(● solved, ◐ tried, ○ open; `{command('progress')}` shows them now). "
        "Times were measured on two cores; an ordinary laptop is faster."
    )


def minutes(path: Path = RECORD) -> dict[str, str]:
    """Return each notebook's measured time ("1.5 min") by number; {} without a file."""
    return {
        row["notebook"]: f"{max(1, round(float(row['seconds']) / 30)) / 2:g} min"
        for row in recorded(path)
        if row["section"] == WHOLE
    }


def _stuck() -> list[str]:
    return _STUCK.format(doctor=command("doctor")).splitlines()
