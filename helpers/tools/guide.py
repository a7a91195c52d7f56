"""The teacher's guide: Markdown pages, and the notes in the teacher's notebooks.

Computed are minutes (from the notebooks and measured runs), what comes before (from
data/needs.toml) and common mistakes (from the exercises' graders). data/guide.toml adds
what only a teacher knows: what to skip, what learners ask, time-tables, the room.
"""

from __future__ import annotations

import ast
import json
import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from helpers.tools.notebooks import ROOT, find
from helpers.tools.sections import (
    CODE_LINES_A_MINUTE,
    WHOLE,
    WORDS_A_MINUTE,
    Section,
    measured,
    of_course,
)

__all__ = ["GuideError", "Row", "Workshop", "mistakes", "notes", "pages", "workshops"]

GUIDE = ROOT / "data" / "guide.toml"
NEEDS = ROOT / "data" / "needs.toml"
_GRADERS = ROOT / "helpers" / "exercises"

# A time-table counts in steps of five minutes.
_STEP = 5
# A room takes that many times as long as one reader: telling, running, asking.
_ROOM = 2
# Minutes; a shorter section without anything else gets no note in a notebook.
_WORTH_A_NOTE = 2
# A shorter string in a grader is a key or a name, not a hint.
_SHORTEST = 15


_INTRODUCTION = f"""\
How long each notebook takes, what to skip when time is short, what learners ask, and
which mistakes the exercises know. All minutes come from one table:

- *run*: measured on two slow cores
  (`data/runs/notebook_seconds.csv`); – where nobody has measured yet;
- *read*: words / {WORDS_A_MINUTE} + code lines / {CODE_LINES_A_MINUTE};
- *exercises*: the minutes that they state. *Study* is read + exercises.

To skip a section is to skip the talk: run its cells all the same, for later ones may
need what it defines."""

_ON_WORKSHOPS = f"""\
A room needs {_ROOM} times a section's *read* (to tell, run and discuss it), its *run*,
and the exercises that are named; each line is rounded up to {_STEP} minutes.
You talk, the learners run; who is early takes another exercise."""


class GuideError(RuntimeError):
    """data/guide.toml and the notebooks disagree; the message says where."""


@dataclass(frozen=True)
class Row:
    """A line of a time-table, in minutes since midnight.

    Attributes:
        notebook: its number, "" for a break.
        sections: what is taught of it.
        exercises: ids of those that are done in the room.
    """

    begin: int
    minutes: int
    title: str
    notebook: str = ""
    sections: tuple[Section, ...] = ()
    exercises: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """When the next line begins."""
        return self.begin + self.minutes


@dataclass(frozen=True)
class Workshop:
    """A time-table: for each day its lines, the last one a reserve up to its end."""

    name: str
    why: str
    days: tuple[tuple[Row, ...], ...]


@cache
def _authored() -> Mapping[str, Any]:
    return tomllib.loads(GUIDE.read_text("utf-8"))


def _of(kind: str, number: str) -> list[Mapping[str, str]]:
    """The [[skip]] or [[question]] of a notebook."""
    found = [each for each in _authored()[kind] if each["notebook"] == number]
    for each in found:
        _section(number, each["section"])
    return found


def _section(number: str, heading: str) -> Section:
    """The section with this heading; raises `GuideError` listing what there is."""
    known = of_course().get(number, ())
    for section in known:
        if section.heading == heading:
            return section
    names = "; ".join(section.heading for section in known) or "no such notebook"
    raise GuideError(f"data/guide.toml: {number} has no section {heading!r}: {names}")


# Common mistakes


def mistakes(id: str) -> list[str]:
    """The hints that the grader of exercise ``id`` can give, in its order.

    They are read from its source, with … for what it fills in.
    """
    module = _module(id.partition(".")[0])
    top = {
        name: node
        for node in module.body
        for name in _names(node)
        if not isinstance(node, ast.Import | ast.ImportFrom)
    }
    grader = next((n for n in module.body if _grades(n, id)), None)
    if grader is None:
        raise GuideError(f"exercise {id} has no grader in nb{id[:2]}.py")
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting: list[ast.AST] = [grader]
    while waiting:
        node = waiting.pop(0)
        for text in _hints(node):
            found.setdefault(text)
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in top and part.id not in seen:
                seen.add(part.id)
                waiting.append(top[part.id])
    return list(found)


@cache
def _module(number: str) -> ast.Module:
    return ast.parse((_GRADERS / f"nb{number}.py").read_text("utf-8"))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _grades(node: ast.stmt, id: str) -> bool:
    if not isinstance(node, ast.FunctionDef):
        return False
    return any(
        isinstance(call, ast.Call)
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value == id
        for call in node.decorator_list
    )


def _hints(node: ast.AST) -> Iterator[str]:
    """Sentences in a piece of code, in order; docstrings and decorators left out."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        body = node.body[1:] if ast.get_docstring(node) else node.body
    else:
        body = [node]  # type: ignore[list-item]
    for part in body:
        yield from _sentences(part)


def _sentences(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield from _hints(node)
        return
    text = ""
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
        text = "".join(map(str, parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _sentences(child)
    if len(text) >= _SHORTEST and " " in text.strip():
        yield " ".join(text.split())


# Time-tables


def workshops() -> list[Workshop]:
    """The time-tables, each slot's minutes computed.

    Raises `GuideError` when a day is over later than it says, an exercise stands in a
    section that is not taught, or a heading does not exist.
    """
    return [
        Workshop(
            each["name"],
            each["why"],
            tuple(tuple(_day(each["name"], day)) for day in each["day"]),
        )
        for each in _authored()["workshop"]
    ]


def _day(name: str, day: Mapping[str, Any]) -> Iterator[Row]:
    now, end = _minutes_of(day["starts"]), _minutes_of(day["ends"])
    for slot in day["slot"]:
        row = _row(now, slot)
        yield row
        now = row.end
    if now > end:
        raise GuideError(
            f"data/guide.toml: a day of {name!r} ends at {clock(now)}, not by "
            f"{clock(end)}: take out a section or an exercise"
        )
    if now < end:
        yield Row(now, end - now, "Reserve, and what was left open")


def _row(begin: int, slot: Mapping[str, Any]) -> Row:
    if "title" in slot:
        return Row(begin, slot["minutes"], slot["title"])
    number = slot["notebook"]
    chosen = tuple(_section(number, heading) for heading in slot["sections"])
    wanted = tuple(slot.get("exercises", ()))
    there = {each.id: each for section in chosen for each in section.exercises}
    if missing := [id for id in wanted if id not in there]:
        raise GuideError(
            f"data/guide.toml: exercise {missing[0]} stands in none of the sections "
            f"of {number} that its slot teaches"
        )
    minutes = sum(
        _ROOM * section.reading + (section.seconds or 0) / 60 for section in chosen
    )
    minutes += sum(there[id].minutes for id in wanted)
    whole = _STEP * math.ceil(minutes / _STEP)
    return Row(begin, whole, _title(number), number, chosen, wanted)


def _minutes_of(text: str) -> int:
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)


def clock(minutes: int) -> str:
    """ "09:05" for 545 minutes since midnight."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


# Pages


def pages(address: str = "notebooks/{file}") -> dict[str, str]:
    """The guide's pages by name ("guide", "workshops", "01" to "20"), in Markdown.

    ``address`` is how a page links to a notebook's file.
    """
    result = {"guide": _front(address), "workshops": _workshop_page(address)}
    return result | {number: _page(number, address) for number in of_course()}


def _title(number: str) -> str:
    return of_course()[number][0].heading.partition(" · ")[2]


def _link(number: str, address: str, text: str = "") -> str:
    (path,) = find([number])
    return f"[{text or number}]({address.format(file=path.name)})"


def _front(address: str) -> str:
    lines = ["# Teacher's guide", "", _INTRODUCTION, "", "## The room", ""]
    by_time: dict[str, list[str]] = defaultdict(list)
    for each in _authored()["check"]:
        by_time[each["when"]].append(each["what"])
    for when, things in by_time.items():
        lines += [f"**{when}**", "", *(f"- [ ] {thing}" for thing in things), ""]
    lines += ["## The notebooks", ""]
    lines += ["| notebook | builds on | run | read | exercises | study |"]
    lines += ["|---|---|---|---|---|---|"]
    total = [0.0, 0.0, 0.0]
    for number, sections in of_course().items():
        read = sum(section.reading for section in sections)
        study = sum(section.study for section in sections)
        title = _link(number, address, f"{number} {_title(number)}")
        before = ", ".join(each["builds_on"] for each in _edges(number)) or "–"
        lines.append(
            f"| {title} | {before} | {_seconds(measured().get((number, WHOLE)))} | "
            f"{_about(read)} | {_about(study - read)} | {_about(study)} |"
        )
        total = [a + b for a, b in zip(total, (read, study - read, study), strict=True)]
    hours = " | ".join(f"{minutes / 60:.0f} h" for minutes in total)
    lines += [f"| all | | | {hours} |", ""]
    return "\n".join(lines)


def _edges(number: str) -> list[Mapping[str, str]]:
    needs = tomllib.loads(NEEDS.read_text("utf-8"))
    return [edge for edge in needs["edge"] if edge["notebook"] == number]


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.0f} s"


def _about(minutes: float) -> str:
    return f"{minutes:.0f} min"


def _promise(number: str) -> str:
    """The paragraph below a notebook's title."""
    (path,) = find([number])
    first = json.loads(path.read_text("utf-8"))["cells"][0]["source"]
    return "".join(first).split("\n\n")[1].replace("\n", " ")


def _page(number: str, address: str) -> str:
    sections = of_course()[number]
    lines = [f"# {number} · {_title(number)}", "", f"**Goal.** {_promise(number)}", ""]
    edges = _edges(number)
    before = ", ".join(
        f"{_link(each['builds_on'], address)} for *{each['idea']}*" for each in edges
    )
    lines += [f"**Before it.** {before or 'Nothing: it is the first.'}", ""]
    whole = _seconds(measured().get((number, WHOLE)))
    study = _about(sum(section.study for section in sections))
    lines += [f"**Time.** Run {whole}, study {study}.", ""]
    lines += ["| section | run | read | exercises |", "|---|---|---|---|"]
    for each in sections:
        done = ", ".join(f"{e.id} ({e.minutes} min)" for e in each.exercises)
        lines.append(
            f"| {_cell(each.heading)} | {_seconds(each.seconds)} | "
            f"{_about(each.reading)} | {done} |"
        )
    lines += ["", "**Short of time?** Skip, in this order:", ""]
    lines += [f"- *{e['section']}* ({e['why']})" for e in _of("skip", number)]
    lines += ["", "**Learners ask**", ""]
    for ask in _of("question", number):
        lines.append(f"- *{ask['ask']}* {ask['answer']} ({ask['section']})")
    lines += ["", "**Common mistakes**, as `helpers.check` names them:", ""]
    for each in sections:
        for exercise in each.exercises:
            lines += [f"- **{exercise.id} {exercise.title}** {exercise.difficulty}"]
            lines += [f"    - {_plain(text)}" for text in mistakes(exercise.id)]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    """A grader's line in Markdown: what is no code span shows as it is printed."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*_$<\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _workshop_page(address: str) -> str:
    lines = ["# Workshops", "", _ON_WORKSHOPS, ""]
    for workshop in workshops():
        lines += [f"## {workshop.name}", "", workshop.why, ""]
        for place, day in enumerate(workshop.days, start=1):
            if len(workshop.days) > 1:
                lines += [f"### Day {place}", ""]
            lines += ["| from | to | minutes | what | exercises |"]
            lines += ["|---|---|---|---|---|"]
            lines += [_line(row, address) for row in day]
            total = sum(row.minutes for row in day)
            lines += [f"| | | {total} | in all | |", ""]
    return "\n".join(lines)


def _line(row: Row, address: str) -> str:
    what = row.title
    if row.notebook:
        what = _link(row.notebook, address, f"{row.notebook} {row.title}")
        numbers = [section.number or section.heading for section in row.sections]
        what += f": {_listed(numbers)}"
    return (
        f"| {clock(row.begin)} | {clock(row.end)} | {row.minutes} | {what} | "
        f"{', '.join(row.exercises)} |"
    )


def _listed(numbers: Sequence[str]) -> str:
    kind = "section" if len(numbers) == 1 else "sections"
    return f"{kind} {', '.join(numbers)}"


# Notes in the teacher's notebooks


def notes(number: str) -> dict[str, str]:
    """A note in Markdown for each section that has something to say, by heading."""
    return {
        section.heading: text
        for section in of_course()[number]
        if (text := _note(section))
    }


def _note(section: Section) -> str:
    skip = [e for e in _of("skip", section.notebook) if e["section"] == section.heading]
    asked = [
        e for e in _of("question", section.notebook) if e["section"] == section.heading
    ]
    if not (skip or asked or section.exercises or section.study >= _WORTH_A_NOTE):
        return ""
    times = [f"read {_about(section.reading)}"]
    if section.seconds is not None:
        times.insert(0, f"run {_seconds(section.seconds)}")
    for each in section.exercises:
        times.append(f"exercise {each.id} {each.minutes} min")
    lines = [f"**For the teacher** · {' · '.join(times)}"]
    lines += ["", *(f"- Short of time? Skip it ({e['why']})." for e in skip)]
    lines += [f"- *{e['ask']}* {e['answer']}" for e in asked]
    for each in section.exercises:
        lines.append(f"- Common mistakes in {each.id}:")
        lines += [f"    - {_plain(text)}" for text in mistakes(each.id)]
    quoted = "\n".join(lines).strip().split("\n")
    return "\n".join(f"> {line}".rstrip() for line in quoted)
