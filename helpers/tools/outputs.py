"""What a cell printed, taken apart into words and numbers, and compared.

Words, layout and the count of numbers must be equal. A number that never moved when the
notebook was refreshed must be equal too, a computed one to its last printed digit; a
number that moved must lie within bounds made from the values that were measured
(`ranges`), widened so that another machine misses them about once in 100,000 times.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = [
    "TAG",
    "WIDGET_VIEW",
    "Bounds",
    "Field",
    "Number",
    "bounds",
    "differences",
    "fields",
    "line_difference",
    "same_words",
]

Range = tuple[float, float]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# A sign counts only where no value stands before it: "5-3" holds 5 and 3.
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w.)\]%-])[-+\u2212])?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
    r"(?!\w*[a-zA-Z_][0-9]|\.[0-9])"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SPACES = re.compile(r"[ \t]+")
TAG = re.compile(r"<[^>]*>|&#?\w+;")
# What names the machine in the line of `helpers.setup`.
_SETUP = re.compile(
    r"^Python \d+\.\d+\S* · (torch|tensorflow) \S+ · [^·\n]+ · (?=offline|online)"
)
# Widening, in units of the measured range: for numbers with company in their column,
# and for one that stands alone, whose range says less. For eight normal draws a ninth
# lies outside about once in 3,000 and 40,000 times; pooling makes both rarer.
_IN_COMPANY, _ALONE, _COMPANY = 2.0, 3.0, 3
_COUNTED = 20  # examples from which on a count may differ by one
_ROUNDING = 1e-4  # what is smaller may be the difference of two equal numbers
_MOST = 0.3  # by which share of itself a number may move because others do


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
        share_of: n where it is printed as "k of n", or under "… of n", else None.
        computed: printed as floating-point results are: with a point, an exponent, or a
            percent sign, which may stand in the title of its column.
        percent: whether it has a percent sign.
    """

    text: str
    line: int
    column: tuple[str, int]
    tabular: bool
    unit: float
    share_of: int | None
    computed: bool
    percent: bool

    @property
    def value(self) -> float:
        return float(self.text.replace(",", "").replace("\u2212", "-"))

    @property
    def decimals(self) -> int:
        """How many digits stand behind the point."""
        return len(self.text.lower().partition("e")[0].partition(".")[2])

    @property
    def rounded(self) -> bool:
        """Whether its last digit may differ although it never did.

        Not that of 1e-03, a setting; but that of 2e-16, a rounding error.
        """
        setting = "e" in self.text.lower() and not self.decimals
        return self.computed and not (setting and abs(self.value) >= 1e-6)

    @property
    def limits(self) -> tuple[float, float]:
        """Between which values it must lie, unless it was seen to leave them."""
        most = 100.0 if self.percent else math.inf
        return 0.0, float(self.share_of) if self.share_of is not None else most


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

    def title(self, index: int) -> str:
        """What stands above a number in a table, "" if nothing does."""
        match = self._matches[index]
        above = self.text[: match.start()]
        if self.kind == "text/html":
            titles = re.findall(
                r"<th\b.*?</th>", self.text.partition("</tr>")[0], re.DOTALL
            )
            # Row labels are headers, too, and come first.
            row = self.text.partition("<tbody>")[2].partition("</tr>")[0]
            place = row.count("<th") + above.rpartition("<tr")[2].count("<td") - 1
            return TAG.sub("", titles[place]).strip() if place < len(titles) else ""
        *before, line = above.split("\n")
        begin, end = len(line), len(line) + len(match[0])
        for text in reversed(before):
            chunks = re.finditer(r"\S+(?: \S+)*", text)
            here = [c[0] for c in chunks if c.start() < end and begin < c.end()]
            if not here or not re.fullmatch(r"[\d\s.,%+\u2212-]+", here[0]):
                return here[0] if here else ""
        return ""

    @cached_property
    def numbers(self) -> list[Number]:
        """Every number, in order."""
        places = [self._place(match) for match in self._matches]
        after: dict[int, str] = {}
        for (line, _), piece in zip(places, self.words[1:], strict=True):
            shape = "" if self.kind == "text/html" else piece.partition("\n")[0]
            after[line] = f"{after.get(line, '')}#{_SPACES.sub(' ', shape).rstrip()}"
        found = []
        for index, (match, (line, position)) in enumerate(
            zip(self._matches, places, strict=True)
        ):
            rest = self.text[match.end() :]
            tabular = re.fullmatch(r"[#% ]*", after[line]) is not None
            title = self.title(index) if tabular else ""
            of = re.match(r" of ([\d,]*\d)", rest) or re.search(r" of (\d+)$", title)
            share = int(of[1].replace(",", "")) if of else None
            percent = re.match(r" ?%", rest) is not None or title.endswith("%")
            computed = percent or re.search(r"[.eE]", match[0]) is not None
            column = (after[line], position)
            mantissa, _, power = match[0].lower().partition("e")
            unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
            number = Number(
                match[0], line, column, tabular, unit, share, computed, percent
            )
            found.append(number)
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
    """The textual parts of a cell's outputs.

    Each stream is one, wherever it stands among the others.
    """
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
    found = [Field(field.kind, _ANSI.sub("", field.text)) for field in found]
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
    absolute or in relative terms, whichever is less; a column of whole numbers in which
    nothing moved is a constant, unless most of the row moved. A floating-point result
    also moves in proportion with the rest of the field, and a count "k of n" that may
    move has at least its binomial deviation. Nothing leaves the interval in which it
    can lie.
    """
    numbers = field.numbers
    kin: dict[object, list[int]] = {}
    for index in moved:
        kin.setdefault(numbers[index].column, []).append(index)
        if numbers[index].tabular:
            kin.setdefault(numbers[index].line, []).append(index)
    lengths = Counter(number.column for number in numbers)
    widths = Counter(number.line for number in numbers)
    typical = _typical(numbers, moved)
    accepted = []
    for index, number in enumerate(numbers):
        low, high = moved.get(index, (number.value, number.value))
        low, high = min(low, number.value), max(high, number.value)
        size = max(abs(low), abs(high))
        constant = (
            not number.computed
            and number.column not in kin
            and lengths[number.column] >= _COMPANY
            and 2 * len(kin.get(number.line, [])) <= widths[number.line]
        )
        companies = [kin.get(number.column, [])]
        if number.tabular and not constant:
            companies.append(kin.get(number.line, []))
        free = high - low
        for company in filter(None, companies):
            widest = max(moved[i][1] - moved[i][0] for i in company)
            share = max(_relative(numbers[i], moved[i]) for i in company)
            free = max(free, min(widest, share * size))
        if number.computed:
            free = max(free, typical * size)
        of = number.share_of
        if of and free and 0 <= number.value <= of:
            p = number.value / of
            free = max(free, math.sqrt(of * p * (1 - p)))
        in_company = max(map(len, companies)) >= _COMPANY
        # Half a unit is what a whole number has to move by before it is seen to.
        may_move = free >= number.unit / 2 or number.rounded
        may_move = may_move or bool(moved and of and _COUNTED <= of != number.value)
        margin = max((_IN_COMPANY if in_company else _ALONE) * free, number.unit)
        margin = margin if may_move else 0.0
        least, most = number.limits
        least = least if least <= low else -math.inf
        most = most if high <= most else math.inf
        accepted.append(Bounds(max(low - margin, least), min(high + margin, most)))
    return accepted


def _typical(numbers: Sequence[Number], moved: Mapping[int, Range]) -> float:
    """By which share of themselves the numbers of a field move: the lower median."""
    # Rounding errors, and what crosses 0, have no relative size to share.
    shares = sorted(
        _relative(numbers[index], (low, high))
        for index, (low, high) in moved.items()
        if low * high > 0 and max(abs(low), abs(high)) > _ROUNDING
    )
    return min(shares[(len(shares) - 1) // 2], _MOST) if len(shares) > 1 else 0.0


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
        return [line_difference(saved, found)]
    told = []
    for index, (before, now, allowed) in enumerate(
        zip(saved.numbers, found.numbers, bounds(saved, moved), strict=True)
    ):
        same_form = index in moved or before.decimals == now.decimals
        if before.text != now.text and not (same_form and now.value in allowed):
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


def line_difference(saved: Field, found: Field) -> str:
    """The first line in which the words of two fields differ."""
    before, now = saved.text.splitlines(), found.text.splitlines()
    for number, (a, b) in enumerate(zip(before, now, strict=False), start=1):
        if not same_words(Field(saved.kind, a), Field(found.kind, b)):
            what = f"saved is {a.strip()!r}; this one is {b.strip()!r}"
            return f"{saved.kind}, line {number}: {what}"
    counts = f"{len(before)} lines, this one {len(now)}"
    return f"{saved.kind}: lines or their ends differ; the saved output has {counts}"
