"""What a cell printed, taken apart into words and numbers, and compared.

Words, layout and the count of numbers must be equal. A number that never moved when the
notebook was refreshed must be equal too, a computed one to its last printed digit; a
number that moved must lie within bounds made from the values that were measured
(`ranges`), widened so that another machine misses them about once in 100,000 times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["Bounds", "Field", "Number", "bounds", "differences", "fields"]

Range = tuple[float, float]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# A sign counts only where no value stands before it: "5-3" holds 5 and 3.
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w.)\]%-])[-+\u2212])?"
    r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w]*[a-zA-Z_]\d)"
)
_SPACES = re.compile(r"[ \t]+")
TAG = re.compile(r"<[^>]*>")
# What names the machine in the line of `helpers.setup`.
_SETUP = re.compile(
    r"^Python \d+\.\d+\S* · (torch|tensorflow) \S+ · [^·\n]+ · (?=offline|online)"
)
# Widening, in units of the measured range: for numbers with company in their column,
# and for one that stands alone, whose range says less. For eight normal draws a ninth
# lies outside about once in 3,000 and 40,000 times; pooling makes both rarer.
_IN_COMPANY, _ALONE, _COMPANY = 2.0, 3.0, 3
_COUNTED = 20  # examples from which on a count may differ by one


@dataclass(frozen=True)
class Number:
    """One printed number.

    Attributes:
        text: as printed.
        line: number of its line in the field.
        column: the words between its line's numbers, and its place among them: numbers
            of one column are alike.
        tabular: whether nothing but space and percent signs part its line's numbers, so
            that they are a row of a table.
        unit: one in the last printed digit.
        share_of: n where it is printed as "k of n", else None.
        computed: printed as floating-point results are: with a point, an exponent, a
            percent sign, or as a count "k of n".
    """

    text: str
    line: int
    column: tuple[str, int]
    tabular: bool
    unit: float
    share_of: int | None
    computed: bool

    @property
    def value(self) -> float:
        return float(self.text.replace(",", "").replace("\u2212", "-"))


@dataclass(frozen=True)
class Field:
    """One textual part of an output.

    Attributes:
        kind: "stdout", "stderr", "error" or a MIME type.
        text: its text; of a picture only that it is one.
    """

    kind: str
    text: str

    @cached_property
    def _matches(self) -> list[re.Match[str]]:
        if self.kind != "text/html":
            return list(_NUMBER.finditer(self.text))
        # In a tag a number is layout.
        hidden = TAG.sub(lambda tag: "<" + "x" * (len(tag[0]) - 2) + ">", self.text)
        return list(_NUMBER.finditer(hidden))

    @cached_property
    def words(self) -> list[str]:
        """The text between the numbers: one piece more than there are numbers."""
        ends = [0, *(match.end() for match in self._matches)]
        starts = [*(match.start() for match in self._matches), len(self.text)]
        return [self.text[a:b] for a, b in zip(ends, starts, strict=True)]

    @cached_property
    def numbers(self) -> list[Number]:
        """Every number, in order."""
        places = [self._place(match) for match in self._matches]
        after: dict[int, str] = {}
        for (line, _), piece in zip(places, self.words[1:], strict=True):
            shape = "" if self.kind == "text/html" else piece.partition("\n")[0]
            after[line] = f"{after.get(line, '')}#{_SPACES.sub(' ', shape).rstrip()}"
        found = []
        for match, (line, position) in zip(self._matches, places, strict=True):
            rest = self.text[match.end() :]
            of = re.match(r" of ([\d,]*\d)", rest)
            share = int(of[1].replace(",", "")) if of else None
            digits = match[0].lower().partition("e")[0].partition(".")[2]
            power = int(match[0].lower().partition("e")[2] or 0)
            computed = (
                bool(re.search(r"[.eE]", match[0]))
                or bool(re.match(r" ?%", rest))
                or (share is not None and share >= _COUNTED)
            )
            column = (after[line], position)
            tabular = re.fullmatch(r"[#% ]*", after[line]) is not None
            unit = 10.0 ** (power - len(digits))
            found.append(Number(match[0], line, column, tabular, unit, share, computed))
        return found

    def around(self, index: int) -> str:
        """The line, or row of a table, in which a number stands: for messages."""
        begin, end = ("<tr", "</tr") if self.kind == "text/html" else ("\n", "\n")
        above = self.text[: self._matches[index].start()].rpartition(begin)[2]
        below = self.text[self._matches[index].start() :]
        line = above + below.partition(end)[0]
        return _SPACES.sub(" ", TAG.sub(" ", line).replace("\n", " ")).strip(" >")

    def _place(self, match: re.Match[str]) -> tuple[int, int]:
        """Line (row, in a table) of a number, and its position there."""
        above = self.text[: match.start()]
        breaks = "<tr" if self.kind == "text/html" else "\n"
        row = above.rpartition(breaks)[2]
        if self.kind == "text/html":
            return above.count(breaks), row.count("<td")
        begin = len(above) - len(row)
        position = sum(begin <= m.start() < match.start() for m in self._matches)
        return above.count(breaks), position


def fields(outputs: Iterable[Mapping[str, Any]]) -> list[Field]:
    """The textual parts of a cell's outputs; each stream is one, wherever it stands."""
    streams: dict[str, str] = {}
    found = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
        elif kind == "error":
            found.append(Field("error", f"{output['ename']}: {output['evalue']}"))
        data = output.get("data", {})
        if WIDGET_VIEW in data:  # never saved: it lives only while its kernel does
            continue
        for mime in sorted(data):
            shown = "" if mime.startswith("image/") else str(data[mime])
            found.append(Field(mime, shown))
    spoken = [Field(n, _SETUP.sub("SET-UP · ", t)) for n, t in sorted(streams.items())]
    return spoken + found


@dataclass(frozen=True)
class Bounds:
    """Between which values a number is accepted, both included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        slack = 1e-9 * max(abs(self.low), abs(self.high), 1e-300)
        return self.low - slack <= value <= self.high + slack


def bounds(field: Field, moved: Mapping[int, Range]) -> list[Bounds]:
    """What is accepted for each number of a saved field.

    Args:
        field: as saved.
        moved: lowest and highest value measured, of each number that moved.

    A number is as free as the others of its column, and in a table of its row, in
    absolute or in relative terms, whichever is less; a floating-point result also moves
    in proportion with the rest of the field; and a count "k of n" has at least its
    binomial deviation.
    """
    numbers = field.numbers
    kin: dict[object, list[int]] = {}
    for index in moved:
        kin.setdefault(numbers[index].column, []).append(index)
        if numbers[index].tabular:
            kin.setdefault(numbers[index].line, []).append(index)
    relative = sorted(_relative(numbers[i], moved[i]) for i in moved)
    typical = relative[len(relative) // 2] if relative else 0.0
    accepted = []
    for index, number in enumerate(numbers):
        low, high = moved.get(index, (number.value, number.value))
        low, high = min(low, number.value), max(high, number.value)
        size = max(abs(low), abs(high))
        lines = [kin.get(number.column, [])]
        lines += [kin.get(number.line, [])] if number.tabular else []
        free = high - low
        for peers in filter(None, lines):
            widest = max(moved[i][1] - moved[i][0] for i in peers)
            share = max(_relative(numbers[i], moved[i]) for i in peers)
            free = max(free, min(widest, share * size))
        if moved and number.computed:
            free = max(free, min(typical, 1.0) * size)
        if free and number.share_of and 0 <= number.value <= number.share_of:
            p = number.value / number.share_of
            free = max(free, math.sqrt(number.share_of * p * (1 - p)))
        company = max(map(len, lines)) >= _COMPANY
        # Half a unit is what a whole number has to move by before it is seen to.
        slack = number.unit if number.computed or free >= number.unit / 2 else 0.0
        margin = max((_IN_COMPANY if company else _ALONE) * free, slack) if slack else 0
        accepted.append(Bounds(low - margin, high + margin))
    return accepted


def _relative(number: Number, moved: Range) -> float:
    low, high = moved
    return (high - low) / max(abs(low), abs(high), number.unit)


def differences(
    saved: Sequence[Field],
    found: Sequence[Field],
    moved: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> list[str]:
    """How two outputs of one cell differ beyond what was measured; [] if they agree.

    Args:
        saved, found: fields of the committed and of the new output.
        moved: of each field and number that moved, both counted from 0, the range.
    """
    kinds = [field.kind for field in saved], [field.kind for field in found]
    if kinds[0] != kinds[1]:
        shown = [", ".join(kind) or "nothing" for kind in kinds]
        return [f"the saved output holds {shown[0]}; this one {shown[1]}"]
    told = []
    for position, (before, now) in enumerate(zip(saved, found, strict=True)):
        ranges = (moved or {}).get(str(position), {})
        measured = {int(i): (low, high) for i, (low, high) in ranges.items()}
        told += _field_differences(before, now, measured)
    return told


def _field_differences(
    saved: Field, found: Field, moved: Mapping[int, Range]
) -> list[str]:
    if not same_words(saved, found):
        return [_line_difference(saved, found)]
    told = []
    for index, (before, now, allowed) in enumerate(
        zip(saved.numbers, found.numbers, bounds(saved, moved), strict=True)
    ):
        if now.value not in allowed and before.text != now.text:
            told.append(
                f"{saved.kind}: {now.text} is not within {allowed.low:.6g} to "
                f"{allowed.high:.6g}; saved is {saved.around(index)!r}"
            )
    return told


def same_words(saved: Field, found: Field) -> bool:
    """Whether two fields differ in nothing but the values of their numbers.

    Where a number has become wider or narrower, spaces may follow it.
    """
    if len(saved.numbers) != len(found.numbers):
        return False
    if saved.words == found.words:
        return True
    widths = [[len(n.text) for n in field.numbers] for field in (saved, found)]
    if widths[0] == widths[1]:
        return False
    loose = [
        [_SPACES.sub(" ", piece).strip(" ") for piece in field.words]
        for field in (saved, found)
    ]
    return loose[0] == loose[1]


def _line_difference(saved: Field, found: Field) -> str:
    before, now = saved.text.splitlines(), found.text.splitlines()
    for number, (a, b) in enumerate(zip(before, now, strict=False), start=1):
        if not same_words(Field(saved.kind, a), Field(found.kind, b)):
            return f"{saved.kind}, line {number}: saved is {a!r}; this one is {b!r}"
    counts = f"{len(before)} lines; this one has {len(now)}"
    return f"{saved.kind}: the words differ; the saved output has {counts}"
