"""Every exercise accepts its solution and names typical mistakes."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
import types
from pathlib import Path

import pytest

import helpers
from helpers import exercises
from tests import exercise_cases
from tests.exercise_cases import Case, answer

# Words enough to tell one hint from another.
SHORTEST_HINT = 15

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def all_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for module in pkgutil.iter_modules(exercise_cases.__path__):
        full_name = f"{exercise_cases.__name__}.{module.name}"
        cases.update(importlib.import_module(full_name).CASES)
    return cases


CASES = all_cases()


def line(capsys: pytest.CaptureFixture[str], id: str, given: object) -> str:
    """Return the one line that `helpers.check` prints."""
    assert helpers.check(id, given) is None
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.endswith("\n")
    return printed.strip()


@pytest.mark.parametrize("id", CASES)
def test_solution_is_accepted(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line(capsys, id, answer(CASES[id].solution)).startswith(f"{id} correct.")


@pytest.mark.parametrize("id", CASES)
def test_each_mistake_gets_its_hint(
    id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = []
    for given, hint in CASES[id].mistakes:
        messages.append(line(capsys, id, answer(given)))
        assert messages[-1].startswith(f"{id} not yet: ")
        assert exercises.UNREADABLE not in messages[-1], "the grader stumbled over it"
        assert len(hint) >= SHORTEST_HINT
        assert hint in messages[-1], f"another hint than '{hint}' for {given!r}"
    assert len(set(messages)) >= 2, "at least two mistakes with different messages"


@pytest.mark.parametrize("id", CASES)
def test_untouched_stub_survives(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = f"{id} not attempted yet: replace the ... in the cell above"
    assert line(capsys, id, ...) == expected


@pytest.mark.parametrize("id", CASES)
@pytest.mark.parametrize("odd", ["text", 3.5, [], {}, object(), float("nan"), abs])
def test_odd_answers_get_an_answer(
    id: str, odd: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.match(rf"{re.escape(id)} (correct\.|not yet: )", line(capsys, id, odd))


def test_every_exercise_has_a_case() -> None:
    assert set(exercises.exercise_ids()) == set(CASES)


@pytest.mark.parametrize("id", CASES)
def test_exercise_appears_in_its_notebook(id: str) -> None:
    (path,) = NOTEBOOKS.glob(f"{id.partition('.')[0]}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = "\n".join("".join(cell["source"]) for cell in cells)
    assert sources.count(f'helpers.check("{id}"') >= 2, (
        "once below the stub, once solved"
    )


# The framework itself, with made-up exercises.


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "_registry", {})

    @exercises.exercise("98.1", praise="Twice 21.")
    def double(given: float) -> str | None:
        if given == 21:
            return "that is the number itself;\n what is its double?"
        return None if abs(given - 42) < 1e-9 else "double 21"

    @exercises.exercise("98.2")
    def calls(given: object) -> str | None:
        return None if given(2) == 4 else "square it"  # type: ignore[operator]

    @exercises.exercise("98.3")
    def buggy(given: object) -> str | None:
        return undefined_name  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("id", "given", "expected"),
    [
        ("98.1", 42, "98.1 correct. Twice 21."),
        ("98.1", 21, "98.1 not yet: that is the number itself; what is its double?"),
        ("98.1", 1, "98.1 not yet: double 21"),
        ("98.1", ..., "98.1 not attempted yet: replace the ... in the cell above"),
        ("98.2", lambda x: x * x, "98.2 correct."),
        ("98.2", lambda x: x, "98.2 not yet: square it"),
    ],
)
def test_check_prints_one_line(
    id: str, given: object, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line(capsys, id, given) == expected


@pytest.mark.usefixtures("made_up")
def test_wrong_type_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "an answer of type str " in line(capsys, "98.1", "42")
    assert "the answer is None" in line(capsys, "98.1", None)


@pytest.mark.usefixtures("made_up")
def test_failing_function_answer_shows_its_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(x: float) -> float:
        return x / 0

    assert "ZeroDivisionError" in line(capsys, "98.2", failing)


@pytest.mark.usefixtures("made_up")
def test_bug_in_a_grader_is_not_hidden() -> None:
    with pytest.raises(NameError, match="undefined_name"):
        helpers.check("98.3", 1)


@pytest.mark.usefixtures("made_up")
def test_unknown_id_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no exercise '98\.9'.*98\.1, 98\.2, 98\.3"):
        helpers.check("98.9", 1)


@pytest.mark.usefixtures("made_up")
def test_bad_or_taken_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="must look like"):
        exercises.exercise("9.1")
    stranger = types.FunctionType((lambda given: None).__code__, {"__name__": "other"})
    with pytest.raises(ValueError, match="exists already"):
        exercises.exercise("98.1")(stranger)


def test_modules_are_imported_only_when_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exercises, "_registry", {})
    monkeypatch.setattr(exercises, "__path__", [str(tmp_path)])
    source = (
        "from helpers.exercises import exercise\n\n"
        "@exercise('{}.1')\ndef grade(given):\n    return None\n"
    )
    for number in ("96", "97"):
        (tmp_path / f"nb{number}.py").write_text(source.format(number))
    helpers.check("97.1", 1)
    assert "helpers.exercises.nb97" in sys.modules
    assert "helpers.exercises.nb96" not in sys.modules
    assert exercises.exercise_ids() == ["96.1", "97.1"]
    for number in ("96", "97"):
        monkeypatch.delitem(sys.modules, f"helpers.exercises.nb{number}")
