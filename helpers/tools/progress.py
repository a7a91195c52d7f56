"""A learner's progress: a table, a sheet for a teacher, and how to forget it."""

from __future__ import annotations

import ast
import datetime
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.assets.paths import REPOSITORY, command
from helpers.exercises.progress import Record, forget, kept_in, records
from helpers.files import replacing

__all__ = ["ExerciseProgress", "NotebookProgress", "main", "sheet", "summary", "table"]

_SOLVED, _TRIED, _OPEN = "●◐○"


@dataclass(frozen=True)
class ExerciseProgress:
    """One exercise: its id ("09.1"), tries, and the day when it was solved or None."""

    id: str
    tries: int
    solved: datetime.date | None

    @property
    def dot(self) -> str:
        """● solved, ◐ tried, ○ open."""
        return _SOLVED if self.solved else _TRIED if self.tries else _OPEN


@dataclass(frozen=True)
class NotebookProgress:
    """One notebook: number ("09"), title without it, file name, and its exercises."""

    number: str
    title: str
    file: str
    exercises: tuple[ExerciseProgress, ...]

    @property
    def total(self) -> int:
        """How many exercises there are."""
        return len(self.exercises)

    @property
    def solved(self) -> int:
        """How many of them are solved."""
        return sum(each.solved is not None for each in self.exercises)

    @property
    def dots(self) -> str:
        """A dot an exercise, such as ●◐○."""
        return "".join(each.dot for each in self.exercises)


def summary() -> list[NotebookProgress]:
    """Every notebook of the course with this learner's progress, in order.

    Reads files only: no grader, and no framework, is imported.
    """
    known = records()
    found = []
    for path in sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        number = path.name[:2]
        exercises = []
        for id in _exercise_ids(number):
            record = known.get(id, Record())
            exercises.append(ExerciseProgress(id, record.tries, record.solved))
        title = _title(path).removeprefix(number).lstrip(" ·—-:")
        found.append(NotebookProgress(number, title, path.name, tuple(exercises)))
    return found


def _exercise_ids(number: str) -> Sequence[str]:
    """The ids in a notebook's graders, from their source (an import loads torch)."""
    path = REPOSITORY / "helpers" / "exercises" / f"nb{number}.py"
    if not path.is_file():
        return []
    return sorted(
        str(call.args[0].value)
        for function in ast.parse(path.read_text("utf-8")).body
        if isinstance(function, ast.FunctionDef)
        for call in function.decorator_list
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "exercise"
        and isinstance(call.args[0], ast.Constant)
    )


def _title(path: Path) -> str:
    """The title of the notebook in `path`; its stem where it cannot be read."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        first = "".join(cells[0]["source"])
    except (OSError, ValueError, LookupError):
        return path.stem
    return first.partition("\n")[0].lstrip("# ").strip() or path.stem


def table(notebooks: Sequence[NotebookProgress]) -> Iterator[str]:
    """Yield the lines of a table for a terminal."""
    width = max((len(each.title) for each in notebooks), default=0)
    for each in notebooks:
        yield f"{each.number}  {each.title:{width}}  {each.dots:5} {_share(each)}"
    yield f"{_SOLVED} solved  {_TRIED} tried  {_OPEN} open"


def _share(each: NotebookProgress) -> str:
    return f"{each.solved} of {each.total}"


def _sum(notebooks: Sequence[NotebookProgress]) -> str:
    solved = sum(each.solved for each in notebooks)
    return f"{solved} of {sum(each.total for each in notebooks)} exercises solved"


def sheet(notebooks: Sequence[NotebookProgress]) -> str:
    """A page in Markdown that a learner may hand to a teacher; the name is open."""
    lines = ["# Exercises solved", "", "Name: ____________________", ""]
    lines += [f"{_sum(notebooks)}, as of {datetime.date.today().isoformat()}.", ""]
    lines += ["| notebook | | solved | exercise: day (tries) |", "|---|---|---|---|"]
    for each in notebooks:
        days = ", ".join(
            f"{one.id}: {one.solved.isoformat()} ({one.tries})"
            for one in each.exercises
            if one.solved
        )
        lines.append(
            f"| {each.number} {each.title} | {each.dots} | {_share(each)} | {days} |"
        )
    note = (
        "Tries: checked answers up to the first correct one. The learner's own machine"
    )
    lines += [
        "",
        f"{note} counted them; a sheet is a talk's beginning, not a proof.",
        "",
    ]
    return "\n".join(lines)


def main(sheet_file: str | None = None, forgets: bool = False) -> int:
    """Print the table; or write the sheet ("-": print it); or delete what is kept.

    Returns an exit status.
    """
    if forgets:
        return _forget()
    found = summary()
    if sheet_file == "-":
        print(sheet(found))
        return 0
    if sheet_file is not None:
        return _save(sheet(found), Path(sheet_file))
    print(*table(found), sep="\n")
    file = kept_in()
    if file is None:
        print("Progress is not kept here: COURSE_PROGRESS is off.")
    else:
        print(f"{_sum(found)}; kept in {file}, and nowhere else.")
        print(f"Delete it: {command('progress', '--forget')}")
    return 0


def _save(text: str, path: Path) -> int:
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        print(f"The sheet was not written: {error}", file=sys.stderr)
        return 1
    print(f"The sheet is in {path}; write your name on it.")
    return 0


def _forget() -> int:
    try:
        gone = forget()
    except OSError as error:
        print(f"Your progress was not deleted: {error}", file=sys.stderr)
        return 1
    for path in gone:
        print(f"deleted {path}")
    if not gone:
        print("There is nothing to forget: no progress is kept here.")
    return 0
