"""Progress: what `check` keeps, where, and what happens when it cannot."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import helpers
from helpers import exercises
from helpers.exercises import progress as kept
from helpers.tools import cli, notebooks, progress
from helpers.tools.kernels import kernel_environment
from helpers.tools.variants import SAVING

TODAY = datetime.date.today()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of progress; exercise 98.1 wants 42."""
    path = tmp_path / "kept" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.setattr(exercises, "_registry", {})
    monkeypatch.setattr(kept, "_said", set())

    @exercises.exercise("98.1")
    def _(given: float) -> str | None:
        return None if given == 42 else "double 21"

    return path


def test_the_first_right_answer_is_kept_with_the_tries_before_it(file: Path) -> None:
    for given in (..., 1, None, 42, 7, 42):
        helpers.check("98.1", given)
    assert kept.records() == {"98.1": kept.Record(tries=3, solved=TODAY)}


def test_the_file_holds_ids_tries_and_days_only(file: Path) -> None:
    helpers.check("98.1", 42)
    content = json.loads(file.read_text("utf-8"))
    assert content == {
        "version": 1,
        "exercises": {"98.1": {"tries": 1, "solved": TODAY.isoformat()}},
    }


def test_off_writes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for off in ("off", "OFF", "0"):
        monkeypatch.setenv("COURSE_PROGRESS", off)
        helpers.check("98.1", 42)
        assert kept.records() == {}
    assert not file.parent.exists()


def test_it_lies_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_PROGRESS")
    found = kept.kept_in()
    assert found is not None
    assert found.name == "progress.json"
    assert not found.is_relative_to(notebooks.ROOT), "that may be shared or read-only"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "exerc',
        b"[]",
        b'{"version": 1, "exercises": {"98.1": {"tries": "two"}}}',
        b'{"version": 1, "exercises": {"98.1": {"tries": 1, "solved": "soon"}}}',
        b'{"version": 1, "exercises": []}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_kept_aside_and_said(
    file: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    helpers.check("98.1", 42)
    shown = capsys.readouterr()
    assert shown.out == "98.1 correct.\n"
    (aside,) = file.parent.glob("progress.json.damaged-*")
    assert aside.read_bytes() == content
    assert "was damaged (" in shown.err
    assert aside.name in shown.err
    assert kept.records()["98.1"].solved == TODAY


def test_a_newer_courses_file_is_left_alone(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    newer = '{"version": 2, "solved": ["98.1"]}'
    file.write_text(newer)
    helpers.check("98.1", 42)
    shown = capsys.readouterr()
    assert shown.out == "98.1 correct.\n"
    assert "a newer version of the course wrote it" in shown.err
    assert file.read_text() == newer


def test_where_nothing_can_be_written_it_is_said_once_and_no_error(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.write_text("a file where the folder should be")
    for given, line in [(1, "98.1 not yet: double 21\n"), (42, "98.1 correct.\n")]:
        helpers.check("98.1", given)
        shown = capsys.readouterr()
        assert shown.out == line
        assert ("COURSE_PROGRESS=FILE" in shown.err) is (given == 1)


def test_a_full_disk_is_said_and_leaves_the_file_as_it_was(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    helpers.check("98.1", 1)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    helpers.check("98.1", 42)
    shown = capsys.readouterr()
    assert shown.out.endswith("98.1 correct.\n")
    assert "No space left on device" in shown.err
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".saving*"))


def test_a_kernel_that_holds_the_file_for_long_is_not_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(kept, "_PATIENCE", 0.1)
    file.parent.mkdir()
    with FileLock(f"{file}.lock"):
        helpers.check("98.1", 42)
    assert capsys.readouterr().out == "98.1 correct.\n"
    assert kept.records() == {}


def test_kernels_that_write_at_once_lose_nothing(file: Path) -> None:
    code = (
        "import sys\nfrom helpers.exercises.progress import note\n"
        "for i in range(10):\n"
        "    note(f'{sys.argv[1]}{i}.1', True)\n    note('50.1', False)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, digit]) for digit in "123"]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    found = kept.records()
    assert found.pop("50.1").tries == 30
    assert len(found) == 30


SOLUTION = """# In another language, or laid out by an editor.
answer = [32/87, 32 / 87, 23/87]
helpers.check('10.4', answer)"""
OWN = 'answer = [32 / 87, 32 / 87, 23 / 87]\nprint(helpers.check("10.4", answer))'


def test_the_courses_own_solution_does_not_count(file: Path) -> None:
    """A learner who runs all cells has solved nothing."""
    solved = {}
    for source in (SOLUTION, OWN):
        cells = [new_code_cell("import helpers"), new_code_cell(source)]
        notebook = new_notebook(cells=cells)
        path = file.parent / "10_copy.ipynb"
        file.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        env = {**os.environ, "COURSE_PROGRESS": str(file)}
        notebooks.execute(notebook, path, env=env)
        assert "10.4 correct" in notebook.cells[1].outputs[0].text
        solved[source] = kept.records()
    assert solved == {SOLUTION: {}, OWN: {"10.4": kept.Record(1, TODAY)}}


def test_a_solution_that_was_edited_does_not_count_in_jupyterlab(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {"metadata": {"cellId": "a", "tags": ["solution"]}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: message))
    monkeypatch.setattr(kept, "_shell", lambda: shell)
    helpers.check("98.1", 42)
    assert kept.records() == {}
    message["metadata"]["tags"] = []
    helpers.check("98.1", 42)
    assert kept.records()["98.1"].solved


def test_kernels_of_tests_and_refresh_keep_no_progress() -> None:
    assert os.environ["COURSE_PROGRESS"] == "off"
    assert kernel_environment(SAVING)["COURSE_PROGRESS"] == "off"


def note(file: Path, *solved: str, tried: str = "") -> None:
    for id in solved:
        kept.note(id, correct=True)
    if tried:
        kept.note(tried, correct=False)


def test_the_summary_has_every_exercise_of_every_notebook(file: Path) -> None:
    note(file, "09.1", "09.3", tried="09.2")
    found = progress.summary()
    assert [each.file for each in found] == [path.name for path in notebooks.find()]
    ninth = found[8]
    assert (ninth.number, ninth.dots, ninth.solved) == ("09", "●◐●○", 2)
    assert ninth.title.startswith("Feature extraction")
    ids = [one.id for each in found for one in each.exercises]
    sources = "".join(path.read_text("utf-8") for path in notebooks.find())
    assert ids == sorted(set(re.findall(r'helpers\.check\(\\"(\d\d\.\d)', sources)))


def test_the_summary_imports_no_framework() -> None:
    code = "import sys; from helpers.tools.progress import summary; summary(); "
    code += "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "tensorflow", "nbformat", "pandas"}
    assert not heavy & set(done.stdout.split())


def test_the_command_prints_a_table(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note(file, "09.1", tried="09.2")
    assert cli.main(["progress"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^09  Feature extraction.* ●◐○○ +1 of 4$", told, re.MULTILINE)
    assert re.search(r"^1 of \d\d exercises solved; kept in ", told, re.MULTILINE)
    assert str(file) in told


def test_the_sheet_counts_what_it_lists(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note(file, "09.1", "10.2", tried="10.2")
    target = tmp_path / "sheet.md"
    assert cli.main(["progress", "--sheet", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    text = target.read_text("utf-8")
    assert "Name: ___" in text
    assert "\n2 of " in text
    assert text.count(f": {TODAY.isoformat()} (1)") == 2
    assert cli.main(["progress", "--sheet"]) == 0
    assert capsys.readouterr().out == text + "\n"


def test_forget_deletes_all_of_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note(file, "09.1")
    file.write_text("damaged")
    note(file, "09.1")
    assert cli.main(["progress", "--forget"]) == 0
    assert capsys.readouterr().out.count("deleted ") == 2
    assert not list(file.parent.iterdir())
    assert cli.main(["progress", "--forget"]) == 0
    assert "nothing to forget" in capsys.readouterr().out


def test_the_command_says_when_it_is_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert cli.main(["progress"]) == 0
    assert "not kept here: COURSE_PROGRESS is off" in capsys.readouterr().out
