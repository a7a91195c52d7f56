"""How far printed numbers move from machine to machine: measured, kept, and shown.

`measure` compares runs of one notebook under several variants and writes into each code
cell's metadata which numbers moved, and between which values. From the same data come
the small line below such an output, and the findings on prose and assertions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from helpers.tools.outputs import (
    TAG,
    Field,
    Number,
    differences,
    fields,
    line_difference,
    same_words,
)

__all__ = [
    "RANGE_TAG",
    "Assertion",
    "Played",
    "assertion_findings",
    "leave_one_out",
    "measure",
    "moved_of",
    "outdated",
    "print_of",
    "prose_findings",
    "write_notes",
]

KEY = "course"
RANGE_TAG = "expected-range"
_FEW = 4  # runs
_NEAR = 12  # cells between a number and the prose that speaks of it
_SHOWN = 5  # numbers named in the line below an output
_LEAD = "On other machines:"
_VAGUE = re.compile(
    r"\b(about|around|roughly|nearly|almost|some|over|under|below|above|than|least|most|"
    r"within|between) ?\**$|[~≈] ?$",
    re.IGNORECASE,
)

Ranges = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Assertion:
    """One comparison of an ``assert``, as it turned out in one run.

    Attributes:
        cell: execution count of its cell.
        text: the comparison.
        left, right: its sides, None where they are no numbers.
    """

    cell: int
    text: str
    left: float | None
    right: float | None
    sign: str
    holds: bool


@dataclass
class Played:
    """A notebook as one variant of the machine executed it.

    Attributes:
        variant: its name.
        cells: the fields of every code cell, by cell id.
        assertions: in the order in which they were met.
    """

    variant: str
    cells: dict[str, list[Field]]
    assertions: list[Assertion] = field(default_factory=list)

    @classmethod
    def of(
        cls, notebook: NotebookNode, variant: str, assertions: Sequence[Assertion] = ()
    ) -> Played:
        """What an executed notebook shows."""
        code = (cell for cell in notebook.cells if cell.cell_type == "code")
        shown = {cell.id: fields(cell.outputs) for cell in code}
        return cls(variant, shown, list(assertions))


def moved_of(cell: NotebookNode) -> Ranges:
    """The ranges kept in a cell: {field: {number: [low, high]}}, counted from 0.

    Those of another output, before the cell was executed again, count for nothing.
    """
    return {} if outdated(cell) else cell.metadata.get(KEY, {}).get("moved", {})


def measure(notebook: NotebookNode, runs: Sequence[Played], merge: bool) -> list[str]:
    """Keep in each code cell which numbers moved over its output and all ``runs``.

    Args:
        notebook: executed; its outputs are the ones to be compared with.
        runs: of the same cells, on this machine's variants.
        merge: widen the ranges that are there, made on another machine, too.

    Returns what cannot be kept, one sentence a finding: outputs whose words differ.
    """
    findings = []
    for number, cell in _code(notebook):
        before = moved_of(cell) if merge else {}
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            _keep(cell, {})
            continue
        saved, ranges = fields(cell.outputs), {}
        others = []
        for run in runs:
            told = _words_differ(saved, run.cells.get(cell.id, []))
            if told:
                findings.append(
                    f"code cell {number}, under {run.variant}: {told}. Print numbers, "
                    "not words that depend on them"
                )
            else:
                others.append(run.cells[cell.id])
        for position, shown in enumerate(saved):
            kept = before.get(str(position), {})
            if moved := _ranges(shown, [run[position] for run in others], kept):
                ranges[str(position)] = moved
        _keep(cell, ranges)
    return findings


def _words_differ(saved: Sequence[Field], found: Sequence[Field]) -> str:
    """How two outputs differ in more than numbers, "" if they do not."""
    kinds = [[part.kind for part in parts] for parts in (saved, found)]
    if kinds[0] != kinds[1]:
        shown = [", ".join(kind) or "nothing" for kind in kinds]
        return f"it shows {shown[1]}; saved is {shown[0]}"
    pairs = zip(saved, found, strict=True)
    told = (line_difference(a, b) for a, b in pairs if not same_words(a, b))
    return next(told, "")


def leave_one_out(notebook: NotebookNode, runs: Sequence[Played]) -> list[str]:
    """Which runs would be refused by bounds made from all the others.

    The nearest thing to the question that matters, whether a machine that nobody has
    tried will pass. Returns one sentence for each cell and run.
    """
    if len(runs) < _FEW:
        return []  # bounds of two or three runs say little
    findings = []
    for left_out in runs:
        first, *rest = (run for run in runs if run is not left_out)
        for number, cell in _code(notebook):
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                continue
            saved = first.cells[cell.id]
            others = [run.cells[cell.id] for run in rest]
            others = [other for other in others if not _words_differ(saved, other)]
            moved = {
                str(position): _ranges(shown, [o[position] for o in others], {})
                for position, shown in enumerate(saved)
            }
            for told in differences(saved, left_out.cells[cell.id], moved):
                findings.append(
                    f"code cell {number}: without {left_out.variant}, the others' "
                    f"bounds would refuse it ({told})"
                )
    return findings


def _ranges(
    shown: Field, others: Iterable[Field], kept: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    columns = [[number.value] for number in shown.numbers]
    for other in others:
        for values, number in zip(columns, other.numbers, strict=True):
            values.append(number.value)
    for index, (low, high) in kept.items():
        columns[int(index)] += [low, high]
    return {
        str(index): [min(values), max(values)]
        for index, values in enumerate(columns)
        if min(values) < max(values)
    }


def _keep(cell: NotebookNode, ranges: Ranges) -> None:
    cell.metadata.pop(KEY, None)
    if ranges:
        cell.metadata[KEY] = {"moved": ranges, "of": print_of(cell)}


def print_of(cell: NotebookNode) -> str:
    """A short hash of what a cell shows, to know whose ranges these are."""
    text = "\0".join(part.text for part in fields(cell.outputs))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def outdated(cell: NotebookNode) -> bool:
    """Whether a cell's ranges were measured for another output than it shows now."""
    return KEY in cell.metadata and cell.metadata[KEY].get("of") != print_of(cell)


def _code(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return enumerate(code, start=1)


# The line below an output ---------------------------------------------------------


def write_notes(notebook: NotebookNode) -> None:
    """Make the line below each output that moves anew; the others disappear."""
    cells = []
    for cell in notebook.cells:
        if RANGE_TAG in cell.metadata.get("tags", []):
            continue
        cells.append(cell)
        # Below an exercise it would give the answer away.
        hidden = {"solution", "exercise"} & set(cell.metadata.get("tags", []))
        if cell.cell_type != "code" or hidden:
            continue
        if text := note(fields(cell.outputs), moved_of(cell)):
            below = new_markdown_cell(text)
            below.id = f"{cell.id[:58]}-range"
            below.metadata = NotebookNode(tags=[RANGE_TAG], editable=False)
            cells.append(below)
    notebook.cells = cells


def note(shown: Sequence[Field], moved: Ranges) -> str:
    """The line below an output, "" where nothing in it moves."""
    said = []
    # A table comes as HTML and again as plain text: one of them is enough.
    kinds = [field.kind for field in shown]
    for position, part in enumerate(shown):
        if part.kind == "text/plain" and "text/html" in kinds:
            continue
        ranges = {int(i): (r[0], r[1]) for i, r in moved.get(str(position), {}).items()}
        said += list(_phrases(part, ranges))
    said = list(dict.fromkeys(said))
    if not said:
        return ""
    more = len(said) - _SHOWN
    if more > 0:
        said = [*said[:_SHOWN], f"and {more} more"]
    return f"<small>{_LEAD} {'; '.join(said)}.</small>"


def _phrases(part: Field, ranges: Mapping[int, tuple[float, float]]) -> Iterator[str]:
    numbers = part.numbers
    columns: dict[tuple[str, int], list[int]] = {}
    for index in ranges:
        columns.setdefault(numbers[index].column, []).append(index)
    for members in columns.values():
        first = numbers[members[0]]
        if len(members) > 2:
            far = max(
                max(ranges[i][1] - numbers[i].value, numbers[i].value - ranges[i][0])
                for i in members
            )
            unit = " points" if first.percent else _unit(part, members[0])
            title = part.title(members[0]) or "each"
            yield f"{title} by up to {_printed(far, first)}{unit}"
            continue
        for index in members:
            low, high = (_printed(value, numbers[index]) for value in ranges[index])
            if low == high:
                continue
            named = _before(part, index)
            if not named and not TAG.sub("", part.words[index]).strip():
                titles = [_row(part, index), part.title(index).rstrip(" =")]
                titles = [title for title in titles if title]
                named = f"{', '.join(titles)}:".removeprefix(":")
            yield _joined(named, f"{low} to {high}{_unit(part, index)}")


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _printed(value: float, like: Number) -> str:
    if "e" in like.text.lower():
        return f"{value:.{like.decimals}e}"
    decimals = like.decimals
    return f"{value:,.{decimals}f}" if "," in like.text else f"{value:.{decimals}f}"


def _unit(part: Field, index: int) -> str:
    after = part.words[index + 1]
    found = re.match(r" of $| ?%| points?\b| ?(?:nats|bits)\b|x\b|-fold\b", after)
    if not found:
        return ""
    if found[0] == " of ":
        return f" of {part.numbers[index + 1].text}"
    return found[0]


def _before(part: Field, index: int) -> str:
    """The words right before a number on its line, the last few of them."""
    new_line = "<tr" if part.kind == "text/html" else "\n"
    before = part.words[index].rpartition(new_line)[2]
    phrase = re.split(r"[,;:()=|·→]\s*", TAG.sub(" ", before).rstrip(" :=(|·→≈"))[-1]
    return " ".join(re.findall(r"[^\W\d][\w'-]*", phrase)[-4:]).strip("'")


def _row(part: Field, index: int) -> str:
    """What a line of a table begins with."""
    while index and part.numbers[index - 1].line == part.numbers[index].line:
        index -= 1
    return _before(part, index)


# Findings -------------------------------------------------------------------------


def prose_findings(notebook: NotebookNode) -> list[str]:
    """Numbers in the prose that repeat one that moves, without an "about"."""
    cells = notebook.cells
    code_of_all = "\n".join(c.source for c in cells if c.cell_type == "code")
    findings = []
    for index, cell in enumerate(cells):
        if cell.cell_type != "markdown" or RANGE_TAG in cell.metadata.get("tags", []):
            continue
        moving = list(_moving_near(cells, index))
        prose = Field("text/markdown", _plain(cell.source))
        for place, number in enumerate(prose.numbers):
            lead = prose.words[place][-24:].rstrip("*_ ")
            unit = _unit(prose, place).strip()
            if re.search(r"\w-$", lead) or re.match(r"0\d", number.text):
                continue  # a model's name, or an exercise's
            if place and re.fullmatch(r"\s*(to|and|-|–)\s*", prose.words[place]):
                continue  # the far end of a stated range
            if _VAGUE.search(lead):
                continue
            setting = re.search(rf"\b{re.escape(number.text)}\b", code_of_all)
            whole = number.value >= 10 and not setting
            telling = bool(unit) or number.unit < 1 or whole
            for code, other, (low, high), other_unit in moving:
                alike = unit == other_unit and number.unit == other.unit
                if alike and telling and low <= number.value <= high:
                    findings.append(
                        f"the prose of cell {index} says "
                        f"{number.text}{' ' if unit else ''}{unit}, which code cell "
                        f"{code} prints and which moves from machine to machine: say "
                        "'about', or leave it to the output"
                    )
                    break
    return findings


def _plain(markdown: str) -> str:
    """Prose without code, formulas, links' targets and list numbers."""
    for pattern in (
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"\$[^$\n]+\$",
        r"`[^`\n]*`",
        r"\]\([^)]*\)",
        r"^#[^\n]*$",
        r"^\s*\d+\. ",
    ):
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL | re.MULTILINE)
    return markdown


def _moving_near(
    cells: Sequence[NotebookNode], place: int
) -> Iterator[tuple[int, Number, tuple[float, float], str]]:
    """(code cell, number, range, unit) of what moves near a cell; all for the last."""
    closing = "What we have seen" in cells[place].source
    count = 0
    for index, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        count += 1
        moved = moved_of(cell)
        if not moved or not (closing or abs(index - place) <= _NEAR):
            continue
        shown = fields(cell.outputs)
        for position, ranges in moved.items():
            part = shown[int(position)]
            for number, (low, high) in ranges.items():
                unit = _unit(part, int(number)).strip()
                yield count, part.numbers[int(number)], (low, high), unit


def assertion_findings(runs: Sequence[Played]) -> tuple[list[str], list[str]]:
    """Assertions that fail in a run, and inequalities that hold by less than they move.

    Returns the two lists, one sentence a finding.
    """
    margins: dict[tuple[int, str, int], list[float]] = {}
    failed, thin = [], []
    for run in runs:
        seen: dict[tuple[int, str], int] = {}
        for a in run.assertions:
            if not a.holds:
                failed.append(f"code cell {a.cell}: `{a.text}` fails in {run.variant}")
            key = a.cell, a.text
            seen[key] = seen.get(key, -1) + 1
            if (
                a.left is None
                or a.right is None
                or a.sign not in ("<", "<=", ">", ">=")
            ):
                continue
            margin = a.left - a.right if a.sign in (">", ">=") else a.right - a.left
            margins.setdefault((*key, seen[key]), []).append(margin)
    for (cell, text, _), values in margins.items():
        spread = max(values) - min(values)
        if 0 <= min(values) < spread:
            thin.append(
                f"code cell {cell}: `{text}` holds by {min(values):.3g} only, and that "
                f"moves by {spread:.3g}: give it room"
            )
    return list(dict.fromkeys(failed)), list(dict.fromkeys(thin))
