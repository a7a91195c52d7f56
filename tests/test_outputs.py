"""A falsified output is refused; an output of another machine is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from nbformat.v4 import new_output

from helpers.tools.outputs import Field, bounds, differences, fields

TEXT = (
    "Python 3.11.7 · torch 2.14.1 · cpu, 2 threads · offline\n"
    "epochs 3, batches of 32\n"
    "loss 0.53, accuracy 91 %, margin -0.40\n"
    "48 of 99 drawings\n"
    "frozen        0.210   17\n"
    "everything    0.150   30\n"
    "seen by heart 0.190   25\n"
    "rate 1e-03, version 1.5.2, 52 of 52 layers\n"
)
TABLE = (
    '<table border="1"><thead><tr><th></th><th>loss</th><th>right</th></tr></thead>'
    "<tbody>\n<tr><th>frozen</th><td>0.21</td><td>17</td></tr>\n"
    "<tr><th>all</th><td>0.15</td><td>30</td></tr>\n</tbody></table>"
)


def printed(text: str = TEXT, table: str | None = TABLE) -> list[Field]:
    """A cell's output: a stream, and a table with its plain text."""
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    if table is not None:
        data = {"text/html": table, "text/plain": "   loss right"}
        outputs.append(new_output("display_data", data=data))
    return fields(outputs)


def moved() -> dict[str, dict[str, list[float]]]:
    """What was measured: the loss, the drawings, and one row of the table."""
    numbers = [number.text for number in printed()[0].numbers]
    place = {text: str(index) for index, text in enumerate(numbers)}
    in_text = {
        place["0.53"]: [0.50, 0.55],
        place["48"]: [44, 52],
        place["0.210"]: [0.200, 0.212],
    }
    kinds = [field.kind for field in printed()]
    html = str(kinds.index("text/html"))
    return {"0": in_text, html: {"0": [0.20, 0.22]}}


def test_the_same_output_agrees() -> None:
    assert differences(printed(), printed(), moved()) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("loss 0.53", "loss 0.54"),
        ("loss 0.53", "loss 0.44"),
        ("48 of 99", "37 of 99"),
        ("0.150", "0.151"),
        ("0.210   17", "0.199   17"),
        ("91 %", "92 %"),
        ("3.11.7 · torch 2.14.1 · cpu, 2", "3.13.0 · torch 2.15.0 · Apple GPU, 8"),
    ],
)
def test_another_machine_is_accepted(before: str, after: str) -> None:
    found = printed(TEXT.replace(before, after))
    assert differences(printed(), found, moved()) == []


FALSIFIED = {
    "just outside its bounds": ("loss 0.53", "loss 0.30"),
    "a count outside its bounds": ("48 of 99", "12 of 99"),
    "a number where none moved": ("epochs 3", "epochs 4"),
    "of how many": ("of 99", "of 98"),
    "a changed word": ("frozen", "thawed"),
    "a missing line": ("48 of 99 drawings\n", ""),
    "an added line": ("epochs 3", "a warning\nepochs 3"),
    "two lines exchanged": (
        "frozen        0.210   17\neverything    0.150   30",
        "everything    0.150   30\nfrozen        0.210   17",
    ),
    "swapped columns": ("0.210   17", "17   0.210"),
    "a lost minus sign": ("margin -0.40", "margin 0.40"),
    "a changed unit": ("91 %", "91 s"),
    "a share for a percentage": ("91 %", "0.91"),
    "NaN for a number": ("loss 0.53", "loss nan"),
    "infinity for a number": ("loss 0.53", "loss inf"),
    "a number turned into text": ("48 of", "many of"),
    "one more number": ("loss 0.53", "loss 0.53 0.53"),
    "other precision": ("margin -0.40", "margin -0.4"),
    "another setting": ("rate 1e-03", "rate 1e-04"),
    "another version": ("version 1.5.2", "version 1.6.2"),
    "an impossible count": ("48 of 99", "100 of 99"),
    "not all of them": ("52 of 52", "51 of 52"),
    "a setting in a table": ("0.210   17", "0.210   18"),
    "lost indentation": ("epochs 3", "    epochs 3"),
    "another layout": ("frozen        0.210", "frozen 0.210"),
    "offline or online": ("offline", "online"),
    "an empty output": (TEXT, ""),
}


@pytest.mark.parametrize("what", FALSIFIED)
def test_a_falsified_text_is_refused(what: str) -> None:
    before, after = FALSIFIED[what]
    assert before in TEXT
    found = printed(TEXT.replace(before, after))
    assert differences(printed(), found, moved()), what


TABLES: dict[str, str | None] = {
    "a lost row": TABLE.replace("<tr><th>all</th><td>0.15</td><td>30</td></tr>\n", ""),
    "a lost column": TABLE.replace("<td>17</td>", ""),
    "a number outside its bounds": TABLE.replace("0.21", "0.29"),
    "a renamed row": TABLE.replace("all", "some"),
    "another tag": TABLE.replace('border="1"', 'border="0"'),
    "no table": None,
}


@pytest.mark.parametrize("what", TABLES)
def test_a_falsified_table_is_refused(what: str) -> None:
    assert differences(printed(), printed(table=TABLES[what]), moved()), what


@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", name="stderr", text="UserWarning: 3 of 4"),
        new_output("display_data", data={"image/png": "iVBOR"}),
        new_output("display_data", data={"text/markdown": "**3**"}),
        new_output("error", ename="ValueError", evalue="3", traceback=[]),
    ],
    ids=["stderr", "picture", "markdown", "error"],
)
def test_an_output_that_comes_or_goes_is_refused(output: Any) -> None:
    more = [*printed(), *fields([output])]
    assert differences(printed(), more) and differences(more, printed())


def test_pictures_may_differ_but_not_in_number() -> None:
    first, other = (
        fields([new_output("display_data", data={"image/png": data})])
        for data in ("iVBORw0", "iVBORw1")
    )
    assert differences(first, other) == []
    assert differences(first, [*other, *other])


def test_streams_arrive_in_pieces() -> None:
    pieces = [new_output("stream", name="stdout", text=text) for text in ("a ", "b")]
    assert fields(pieces) == [Field("stdout", "a b")]


def test_a_message_names_line_value_and_bounds() -> None:
    found = printed(TEXT.replace("48 of 99", "12 of 99"))
    (told,) = differences(printed(), found, moved())
    assert "12 is not within" in told and "48 of 99 drawings" in told


def test_signs_units_and_thousands_are_read_as_people_do() -> None:
    text = "-0.5 x=-5 (5-3) 2019-03 1,280 3x3 int8 bf16 96px 1e-07 \u22123.5 9.5x"
    values = [number.value for number in Field("stdout", text).numbers]
    assert values == [-0.5, -5, 5, 3, 2019, 3, 1280, 96, 1e-7, -3.5, 9.5]


def test_a_neighbour_that_stood_still_by_luck_is_as_free_as_its_column() -> None:
    rows = Field("stdout", "a 50 %\nb 52 %\nc 49 %\n")
    stood_still = bounds(rows, {0: (47, 53), 2: (48, 51)})[1]
    assert 47 in stood_still and 30 not in stood_still


def test_in_a_table_a_row_moves_together_and_counts_stand() -> None:
    rows = Field(
        "stdout", "epoch  right  loss\n    3     61  0.50\n    4     60  0.48\n"
    )
    number = {
        n.text: b
        for n, b in zip(rows.numbers, bounds(rows, {1: (59, 62)}), strict=True)
    }
    assert 62 in number["60"] and 3.4 not in number["3"] and 0.49 in number["0.50"]


def test_the_title_of_a_column_says_what_its_numbers_are() -> None:
    text = "           valid %  photos of 20\nfrozen          59            17\n"
    first, second = Field("stdout", text).numbers[-2:]
    assert first.percent and first.computed and second.share_of == 20


def test_a_number_whose_width_changed_may_shift_its_line() -> None:
    saved = Field("stdout", "frozen     9\nall       12\n")
    wider = Field("stdout", "frozen    10\nall       12\n")
    ranges = {"0": {"0": [8, 10]}}
    assert differences([saved], [wider], ranges) == []
    assert differences([saved], [Field("stdout", "frozen 9\nall 12\n")], ranges)
