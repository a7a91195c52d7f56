"""The teacher's guide: it counts right, and what is written by hand is still true."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import helpers
from helpers.tools import guide, notebooks, sections
from helpers.tools.guide import GuideError
from helpers.tools.sections import of_course
from tests.course_links import broken, links
from tests.exercise_cases import answer

NUMBERS = [path.name[:2] for path in notebooks.find()]


def test_every_notebook_has_a_page_with_its_promise_minutes_and_words() -> None:
    pages = guide.pages()
    assert list(pages) == ["guide", "workshops", *NUMBERS]
    for number in NUMBERS:
        page = pages[number]
        assert page.startswith(f"# {number} · ")
        for part in ("**Goal.** ", "**Before it.** ", "**Time.** Run ", "| section |"):
            assert part in page
        asked = page.partition("**Learners ask**")[2].partition("**Common")[0]
        assert 2 <= asked.count("\n- *") <= 4
        skipped = page.partition("**Short of time?**")[2].partition("**Learners")[0]
        assert skipped.count("\n- *") >= 1
        for section in of_course()[number]:
            for exercise in section.exercises:
                assert f"- **{exercise.id} {exercise.title}**" in page


def test_links_of_the_guide_lead_somewhere() -> None:
    text = "\n".join(guide.pages().values())
    found = links(text)
    assert len(found) > 40
    assert [bad for each in found if (bad := broken(each, notebooks.ROOT))] == []


def test_every_section_was_measured_under_its_present_heading() -> None:
    for number, parts in of_course().items():
        missing = [part.heading for part in parts if part.seconds is None]
        assert not missing, f"python -m benchmarks.notebooks {number}: {missing}"
        assert sections.measured()[number, sections.WHOLE] > 0


def test_the_front_page_names_the_notebooks_of_the_workshops() -> None:
    site = tomllib.loads((notebooks.ROOT / "data" / "site.toml").read_text("utf-8"))
    named = {start["name"]: start["notebooks"] for start in site["start"]}
    for workshop in guide.workshops():
        rows = [row for day in workshop.days for row in day]
        taught = sorted({row.notebook for row in rows if row.notebook})
        assert named[workshop.name.partition(":")[0]] == taught


# What is written by hand


def handwritten(kind: str) -> list[dict[str, str]]:
    return list(guide._authored()[kind])


@pytest.mark.parametrize("kind", ["skip", "question"])
def test_every_section_that_is_named_exists(kind: str) -> None:
    for number in NUMBERS:
        guide._of(kind, number)
    assert {each["notebook"] for each in handwritten(kind)} == set(NUMBERS)


def test_a_renamed_section_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = copy.deepcopy(dict(guide._authored()))
    changed["question"][0]["section"] = "5 · How many labels?"
    monkeypatch.setattr(guide, "_authored", lambda: changed)
    with pytest.raises(GuideError, match="01 has no section '5 · How many labels"):
        guide.pages()


def test_answers_are_one_line_and_questions_are_questions() -> None:
    for each in handwritten("question"):
        assert "?" in each["ask"] or each["ask"].endswith("?")
        assert len(each["answer"]) <= 160
        assert "\n" not in each["answer"]


# Time-tables


def test_the_workshops_add_up() -> None:
    half, two = guide.workshops()
    assert (len(half.days), len(two.days)) == (1, 2)
    for day in (*half.days, *two.days):
        now = day[0].begin
        for row in day:
            assert row.begin == now, row
            assert row.minutes > 0
            now = row.end
        assert sum(row.minutes for row in day) == now - day[0].begin
        # A reserve, but no empty hour.
        assert 0 < day[-1].minutes <= 60
        assert day[-1].title.startswith("Reserve")
        longest, since = 0, 0
        for row in day:
            since = 0 if re.match("Break|Lunch", row.title) else since + row.minutes
            longest = max(longest, since)
        assert longest <= 120, "two hours without a break"
    assert sum(row.minutes for row in half.days[0]) == 210


def test_a_slot_counts_sections_runs_and_exercises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exercise = sections.Exercise("60.1", "E", "●○○", 7)
    section = sections.Section("60", 2, "1 · A", 400, 60, (exercise,), 90.0)
    monkeypatch.setattr(guide, "of_course", lambda: {"60": (section, section)})
    slot = {"notebook": "60", "sections": ["1 · A"], "exercises": ["60.1"]}
    # Twice (400 / 200 + 60 / 20) minutes, 90 seconds, 7 minutes: 18.5.
    assert guide._row(540, slot).minutes == 20
    assert guide._row(540, {**slot, "exercises": []}).minutes == 15
    with pytest.raises(GuideError, match=r"60\.2 stands in none"):
        guide._row(540, {**slot, "exercises": ["60.2"]})
    day = {"starts": "09:00", "ends": "09:15", "slot": [slot]}
    with pytest.raises(GuideError, match="ends at 09:20, not by 09:15"):
        list(guide._day("Short", day))


def test_the_page_of_the_workshops_shows_the_sums() -> None:
    page = guide.pages()["workshops"]
    for table in re.findall(r"\| from \|.*?in all", page, re.DOTALL):
        minutes = re.findall(
            r"^\| \d\d:\d\d \| \d\d:\d\d \| (\d+) ", table, re.MULTILINE
        )
        (total,) = re.findall(r"\| (\d+) \| in all", table)
        assert sum(map(int, minutes)) == int(total)
    assert page.count("in all") == 3


# Common mistakes


def told() -> Iterator[tuple[str, str]]:
    """What the graders really say to the mistakes that the tests make."""
    for number in NUMBERS:
        module = importlib.import_module(f"tests.exercise_cases.nb{number}")
        for id, case in module.CASES.items():
            for given, _ in case.mistakes:
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    helpers.check(id, answer(given))
                yield id, printed.getvalue().strip().removeprefix(f"{id} not yet: ")


def test_every_mistake_that_the_tests_make_is_in_the_guide() -> None:
    lost = []
    for id, message in told():
        patterns = [
            ".*".join(map(re.escape, text.split("…"))) for text in guide.mistakes(id)
        ]
        of_check = "did a `return`" in message or "the answer is a function" in message
        if not of_check and not any(re.fullmatch(p, message) for p in patterns):
            lost.append((id, message))
    assert lost == []


def test_a_hint_is_shown_as_it_is_printed() -> None:
    shown = guide._plain("2 ** (bits - 1), _BatchNorm, `a_b`, a < b, $x$")
    assert shown == r"2 \*\* (bits - 1), \_BatchNorm, `a_b`, a \< b, \$x\$"


# Sections


def test_sections_are_counted_by_what_is_read() -> None:
    stub = new_code_cell("answer = ...\n\nhelpers.check('60.1', answer)")
    solution = new_code_cell("a = 1\n" * 30)
    stub.metadata.tags, solution.metadata.tags = ["exercise"], ["solution"]
    ranges = new_markdown_cell("<small>On other machines: 1 to 2.</small>")
    ranges.metadata.tags = ["expected-range"]
    fence = "```python\n# no heading\n```"
    cells = [
        new_markdown_cell(f"# 60 · Title\n\none two three\n\n{fence}"),
        new_code_cell("import os\n\nprint(os)"),
        new_markdown_cell("four ![five](six.png) [six](7.html)\n\n## 1 · A\n\nnine"),
        ranges,
        new_markdown_cell("**60.1 · Try** · ●●○ · 10 min. Do it."),
        stub,
        solution,
        new_markdown_cell("<details>not counted</details>\n\n## Read more\n\nten"),
    ]
    first, second, last = sections.sections(new_notebook(cells=cells), "60")
    assert (first.level, first.heading, first.number) == (1, "60 · Title", "")
    assert (second.heading, second.number, second.level) == ("1 · A", "1", 2)
    assert first.words == len(["#", "60", "·", "Title", "one", "two", "three"]) + 7
    assert first.code_lines == 2
    assert second.code_lines == 2, "a solution belongs to the exercise's minutes"
    assert [e.minutes for e in second.exercises] == [10]
    assert second.study == second.reading + 10
    assert last.words == 4


def test_the_measured_seconds_are_of_sections_that_exist() -> None:
    if not sections.RECORD.is_file():
        pytest.skip("nobody has measured yet: python -m benchmarks notebooks")
    known = {(s.notebook, s.heading) for all_of in of_course().values() for s in all_of}
    known |= {(number, "whole") for number in NUMBERS}
    assert set(sections.measured()) <= known


def test_every_exercise_of_the_course_is_in_a_section() -> None:
    stated = {
        e.id for all_of in of_course().values() for s in all_of for e in s.exercises
    }
    stubs = 0
    for path in notebooks.find():
        cells = nbformat.read(path, as_version=4).cells
        stubs += sum("exercise" in sections.tags(cell) for cell in cells)
    assert len(stated) == stubs


def test_minutes_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    assert of_course(tmp_path) == {}
