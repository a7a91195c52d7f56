"""The editions: what a student gets, what a teacher gets, and how they are written."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import subprocess
import symtable
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.assets.paths import cache_root
from helpers.tools import cli, editions, notebooks, tasks
from helpers.tools.editions import EditionError, student_notebook, teacher_notebook
from helpers.tools.kernels import (
    Reservation,
    kernel_arguments,
    kernel_environment,
)
from helpers.tools.sections import heading_of, tags
from helpers.tools.variants import TESTED
from tests.course_links import broken, links

COURSE = {path.name: path for path in notebooks.find()}
# A shorter line, such as `return result`, is anybody's.
SHORTEST = 16


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, editions.Built]:
    target = tmp_path_factory.mktemp("build")
    return {name: editions.build(name, target) for name in editions.EDITIONS}


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode, *but: str) -> list[str]:
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and not set(but) & set(tags(cell))
    ]


def hashes(text: str) -> set[str]:
    lines = {line.strip() for line in text.splitlines()}
    return {
        hashlib.sha256(line.encode()).hexdigest()
        for line in lines
        if len(line) >= SHORTEST
    }


# The student's edition


@pytest.mark.parametrize("name", COURSE)
def test_stubs_and_checks_stay_and_solutions_inside_make_the_course(
    built: dict[str, editions.Built], name: str
) -> None:
    """So the strict run of the course is the run of a student who solved everything."""
    course = read(COURSE[name])
    student = read(built["student"].folder / "notebooks" / name)
    nbformat.validate(student)
    assert code(student) == code(course, "solution")
    solutions = [c for c in course.cells if "solution" in tags(c)]
    stubs = [c for c in student.cells if "exercise" in tags(c)]
    assert len(stubs) == len(solutions) >= 2
    assert not any(stub.outputs for stub in stubs)
    injected = []
    for cell in student.cells:
        if cell.cell_type == "code":
            injected.append(cell.source)
        if "exercise" in tags(cell):
            injected.append(solutions.pop(0).source)
    assert injected == code(course)


@pytest.mark.parametrize("name", COURSE)
def test_nothing_speaks_of_a_solution_that_is_not_there(
    built: dict[str, editions.Built], name: str
) -> None:
    student = read(built["student"].folder / "notebooks" / name)
    prose = "\n".join(c.source for c in student.cells if c.cell_type == "markdown")
    assert not re.search(r"is folded below", prose)
    assert "<summary>Discussion" not in prose
    assert prose.count("<details>") == prose.count("</details>")
    assert all(cell.source.strip() for cell in student.cells)
    counts = [c.execution_count for c in student.cells if c.cell_type == "code"]
    assert all(count in (None, place) for place, count in enumerate(counts, start=1))


def test_no_line_of_a_solution_is_anywhere_in_the_students_folder(
    built: dict[str, editions.Built],
) -> None:
    cells = [cell for path in COURSE.values() for cell in read(path).cells]
    solved = "\n".join(c.source for c in cells if "solution" in tags(c))
    others = "\n".join(c.source for c in cells if "solution" not in tags(c))
    secret = hashes(solved) - hashes(others)
    assert len(secret) > 200
    leaks = []
    for path in built["student"].folder.rglob("*"):
        if path.is_file() and (
            found := secret & set().union(*map(hashes, texts(path)))
        ):
            leaks.append((path.name, len(found)))
    assert leaks == []
    teacher = texts(
        built["teacher"].folder / "notebooks" / "09_practice_feature_extraction.ipynb"
    )
    assert secret & set().union(*map(hashes, teacher)), "the test would find a leak"


def texts(path: Path) -> Iterator[str]:
    """What can be read in a file: a notebook's cells and outputs, or all of it."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return
    yield text
    if path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            yield "".join(cell["source"])
            for output in cell.get("outputs", []):
                yield "".join(output.get("text", ""))


def test_the_students_folder_has_no_tests_and_no_guide(
    built: dict[str, editions.Built],
) -> None:
    folder = built["student"].folder
    top = {path.name for path in folder.iterdir()}
    assert {"notebooks", "helpers", "data", "Makefile", "README.md"} <= top
    assert not {"tests", ".ci", "GUIDE.md"} & top
    assert [path.name for path in (folder / "benchmarks").iterdir()] == ["README.md"]
    assert not (folder / "data" / "guide.toml").exists()
    assert not (folder / "data" / "cache").exists()


def names(source: str) -> tuple[set[str], set[str], set[str]]:
    """Names that a cell defines, global ones that it reads, and those of functions."""
    plain = TransformerManager().transform_cell(source)
    table = symtable.symtable(plain, "cell", "exec")
    symbols = table.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    now = {s.get_name() for s in symbols if s.is_referenced()}
    later, inner = set(), table.get_children()
    while inner:
        each = inner.pop()
        inner += each.get_children()
        later |= {s.get_name() for s in each.get_symbols() if s.is_global()}
    return bound, now, later


@pytest.mark.parametrize("name", COURSE)
def test_no_cell_needs_what_only_a_solution_defines(
    built: dict[str, editions.Built], name: str
) -> None:
    solved: set[str] = set()
    for cell in read(COURSE[name]).cells:
        if "solution" in tags(cell):
            solved |= names(cell.source)[0]
    student = read(built["student"].folder / "notebooks" / name)
    found = [names(source) for source in code(student)]
    everything = set().union(*(bound for bound, _, _ in found))
    known: set[str] = set()
    for source, (bound, now, later) in zip(code(student), found, strict=True):
        known |= bound
        # A function's names may be defined below it, the others only above.
        missing = (now & solved) - known | (later & solved) - everything
        assert not missing, f"{missing} in:\n{source}"


@pytest.mark.parametrize("name", COURSE)
def test_no_cell_reads_what_a_solution_changed(name: str) -> None:
    """So later sections are the same for who solves, who skips and who is wrong."""
    solved: set[str] = set()
    for cell in read(COURSE[name]).cells:
        if cell.cell_type != "code":
            continue
        bound, now, later = names(cell.source)
        if "solution" in tags(cell):
            # The next stub sets `answer` anew.
            solved |= bound - {"answer"}
        else:
            # What a cell sets and reads, it sets first, as in a loop.
            read_here = (now | later) - bound
            assert not read_here & solved, f"{read_here & solved} in:\n{cell.source}"
            solved -= bound


def test_a_name_that_only_a_solution_defines_is_found() -> None:
    assert names("import a as b\nc = d") == ({"b", "c"}, {"d"}, set())
    bound, _, later = names("def f(x):\n    y = x\n    return y + z")
    assert bound == {"f"}
    assert later == {"z"}


def whose_turn() -> list[Path]:
    """One notebook, another every hour; COURSE_UNTOUCHED="05 07" or "all" chooses."""
    chosen = os.environ.get("COURSE_UNTOUCHED", "")
    if chosen:
        return notebooks.find([] if chosen == "all" else chosen.split())
    everything = notebooks.find()
    turn = zlib.crc32(str(int(time.time() // 3600)).encode())
    return [everything[turn % len(everything)]]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_student_notebook_runs_untouched_to_its_end(
    built: dict[str, editions.Built],
) -> None:
    env = kernel_environment(TESTED)
    env["COURSE_CACHE"] = str(cache_root())
    # The folder's own helpers, as a student has them.
    env["PYTHONPATH"] = str(built["student"].folder)
    for course in whose_turn():
        path = built["student"].folder / "notebooks" / course.name
        notebook = read(path)
        with Reservation() as memory:
            told = notebooks.execute(
                notebook,
                path,
                env=env,
                arguments=kernel_arguments(TESTED),
                timeout=notebooks.CELL_TIMEOUT * 4,
                reservation=memory,
            )
        print(f"untouched: {told}")
        said = "".join(notebooks.printed(cell) for cell in notebook.cells)
        stubs = sum("exercise" in tags(cell) for cell in notebook.cells)
        assert said.count("not attempted yet") == stubs


def test_every_notebook_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_UNTOUCHED", raising=False)
    seen = set()
    for hour in range(300):
        monkeypatch.setattr(time, "time", lambda hour=hour: 3600.0 * hour)
        seen |= {path.name for path in whose_turn()}
    assert seen == set(COURSE)
    monkeypatch.setenv("COURSE_UNTOUCHED", "05 07")
    assert [path.name[:2] for path in whose_turn()] == ["05", "07"]


# The teacher's edition


@pytest.mark.parametrize("name", COURSE)
def test_the_teacher_sees_everything_and_a_note_below_the_sections(
    built: dict[str, editions.Built], name: str
) -> None:
    course = read(COURSE[name])
    teacher = read(built["teacher"].folder / "notebooks" / name)
    nbformat.validate(teacher)
    assert code(teacher) == code(course)
    ids = [cell.id for cell in teacher.cells]
    assert len(set(ids)) == len(ids)
    assert not any("jupyter" in c.metadata for c in teacher.cells)
    prose = "\n".join(c.source for c in teacher.cells if c.cell_type == "markdown")
    assert "<details><summary>Discussion" not in prose
    assert not re.search(r"is folded below", prose)
    notes = [place for place, c in enumerate(teacher.cells) if "teacher" in tags(c)]
    headings = [p for p, c in enumerate(teacher.cells) if heading_of(c) is not None]
    assert len(notes) >= 5
    below = {max(h for h in headings if h < note) for note in notes}
    assert len(below) == len(notes), "one note a section"
    ends = {*headings, len(teacher.cells)}
    assert all(note + 1 in ends for note in notes), "at the section's end"


def test_the_teachers_folder_has_the_guide(built: dict[str, editions.Built]) -> None:
    text = (built["teacher"].folder / "GUIDE.md").read_text("utf-8")
    assert text.startswith("# ")
    assert "Half a day" in text
    readme = (built["teacher"].folder / "README.md").read_text("utf-8")
    assert "(GUIDE.md)" in readme
    assert "## Teach it" in readme


# Both


@pytest.mark.parametrize("edition", editions.EDITIONS)
def test_the_readme_speaks_of_what_is_there(
    built: dict[str, editions.Built], edition: str
) -> None:
    folder = built[edition].folder
    readme = (folder / "README.md").read_text("utf-8")
    assert "<!--" not in readme
    assert "make test" not in readme
    assert "## Changing the course" not in readme
    assert ("## Teach it" in readme) is (edition == "teacher")
    told = set(re.findall(r"^\| `make (\w+)", readme, re.MULTILINE))
    makefile = (folder / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert told <= targets
    assert {"lab", "run", "progress", "fetch", "doctor"} <= targets
    assert not {"test", "check", "refresh", "student", "teacher", "pins"} & targets
    phony = re.search(r"^\.PHONY: help (.*)$", makefile, re.MULTILINE)
    assert phony
    assert {"help", *phony[1].split()} == targets
    for target in links(readme):
        if not target.startswith("http"):
            assert (folder / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("edition", editions.EDITIONS)
def test_files_that_its_cells_read_are_there(
    built: dict[str, editions.Built], edition: str
) -> None:
    found = 0
    for path in (built[edition].folder / "notebooks").glob("*.ipynb"):
        for source in code(read(path)):
            for name in re.findall(r"""["']\.\./([\w./-]+)["']""", source):
                found += 1
                where = built[edition].folder / name
                assert where.exists(), f"{path.name} reads ../{name}"
    assert found >= 2


@pytest.mark.parametrize("edition", editions.EDITIONS)
def test_links_of_its_notebooks_lead_somewhere(
    built: dict[str, editions.Built], edition: str
) -> None:
    folder = built[edition].folder / "notebooks"
    for path in folder.glob("*.ipynb"):
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                for target in links(cell.source):
                    name = target.partition("#")[0]
                    if name and not re.match(r"[a-z]+:", target):
                        assert (folder / name).exists(), f"{path.name}: {target}"
                    if "teacher" in tags(cell):
                        assert broken(target) is None, f"{path.name}: {target}"


@pytest.mark.parametrize("edition", editions.EDITIONS)
def test_it_runs_where_it_lies(built: dict[str, editions.Built], edition: str) -> None:
    folder = built[edition].folder
    env = {**os.environ, "PYTHONPATH": str(folder)}
    code = "import helpers, helpers.exercises as e; print(helpers.__file__)\n"
    code += "from helpers.tools import cli; cli.main(['progress'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(folder) in done.stdout
    assert "0 of " in done.stdout
    command = [sys.executable, "-m", "helpers"]
    for words, said in [
        (["test"], "comes without its tests"),
        (["student"], "itself an edition"),
    ]:
        failed = subprocess.run(
            [*command, *words],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert failed.returncode != 0
        assert said in failed.stderr
        assert "Traceback" not in failed.stderr


def test_the_zip_holds_the_folder_and_is_reproducible(
    built: dict[str, editions.Built], tmp_path: Path
) -> None:
    folder, archive, _ = built["student"]
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        assert names == sorted(names)
        assert {info.date_time for info in file.infolist()} == {(2020, 1, 1, 0, 0, 0)}
        packed = {name.partition("/")[2] for name in names}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    assert packed == there
    for path in folder.rglob("*"):
        os.utime(path)
    editions._zip(folder, tmp_path / "again.zip", "pretrained-models-student")
    if not list(folder.rglob("__pycache__")):
        assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


# How it is written


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of one notebook, which git does not know."""
    root = tmp_path / "course"
    for name in ("notebooks", "helpers", "data"):
        (root / name).mkdir(parents=True)
    nbformat.write(lesson(), root / "notebooks" / "60_lesson.ipynb")
    (root / "README.md").write_text("# Course\n\nText.\n")
    (root / "Makefile").write_text("lab: ## open\n\t@true\n\ntest:\n\t@true\n")
    (root / "data" / "cache").mkdir()
    (root / "data" / "cache" / "large").write_text("downloaded")
    monkeypatch.setattr(editions, "ROOT", root)
    return root


def lesson() -> NotebookNode:
    exercise = new_code_cell('answer = ...\nhelpers.check("60.1", answer)')
    solution = new_code_cell('answer = 42\nhelpers.check("60.1", answer)')
    exercise.metadata.tags, solution.metadata.tags = ["exercise"], ["solution"]
    cells = [new_markdown_cell("# 60 · Lesson"), exercise]
    cells += [new_markdown_cell("A solution is folded below."), solution]
    discussion = "<details><summary>Discussion</summary>\n\nIt is 42.\n\n</details>"
    cells += [new_markdown_cell(f"{discussion}\n\n## 2 · Next"), new_code_cell("1")]
    return new_notebook(cells=cells)


def test_a_second_build_changes_nothing_and_a_change_is_seen(small: Path) -> None:
    target = small / "build"
    first = editions.build("student", target)
    assert first.renewed
    marks = [path.stat().st_mtime_ns for path in (first.archive, first.folder)]
    assert not editions.build("student", target).renewed
    assert marks == [path.stat().st_mtime_ns for path in (first.archive, first.folder)]
    (small / "data" / "new.txt").write_text("new")
    assert editions.build("student", target).renewed
    assert (first.folder / "data" / "new.txt").read_text() == "new"
    assert not (first.folder / "data" / "cache").exists()
    first.archive.unlink()
    assert editions.build("student", target).renewed


def test_an_interruption_leaves_the_old_edition_and_no_rubbish(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = small / "build"
    first = editions.build("student", target)
    (small / "data" / "new.txt").write_text("new")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("_zip", "_content"):
        with monkeypatch.context() as patch:
            patch.setattr(editions, step, stopped)
            with pytest.raises(KeyboardInterrupt):
                editions.build("student", target)
        names = sorted(path.name for path in target.iterdir())
        assert names == ["pretrained-models-student.zip", "student"]
        assert not (first.folder / "data" / "new.txt").exists()
    assert editions.build("student", target).renewed


def test_a_folder_that_somebody_worked_in_is_not_replaced(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = small / "build"
    folder = editions.build("student", target).folder
    (folder / "helpers" / "__pycache__").mkdir(parents=True)
    (folder / "helpers" / "__pycache__" / "x.pyc").write_text("no work")
    (small / "data" / "new.txt").write_text("new")
    assert editions.build("student", target).renewed
    notebook = folder / "notebooks" / "60_lesson.ipynb"
    notebook.write_text(notebook.read_text().replace("answer = ...", "answer = 6 * 7"))
    (small / "data" / "newer.txt").write_text("newer")
    with pytest.raises(EditionError, match="somebody worked.*notebooks/60_lesson"):
        editions.build("student", target)
    assert "6 * 7" in notebook.read_text()


def changed(places: dict[int, dict[str, object]]) -> NotebookNode:
    notebook = copy.deepcopy(lesson())
    for place, change in places.items():
        for name, value in change.items():
            if name == "tags":
                notebook.cells[place].metadata.tags = value
            else:
                notebook.cells[place][name] = value
    return notebook


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        (changed({1: {"tags": []}}), "cell 4 is a solution of 60.1, with no exercise"),
        (changed({3: {"tags": []}}), "exercise 60.1 has no solution"),
        (
            changed({3: {"source": 'helpers.check("60.2", 1)'}}),
            "cell 4 is a solution of 60.2, with no exercise 60.2 before it",
        ),
        (
            changed({3: {"source": "answer = 42"}}),
            r"cell 4 \(solution\) calls no helpers.check",
        ),
        (changed({1: {"tags": ["exercise", "solution"]}}), "cell 2 is tagged exercise"),
    ],
)
def test_what_does_not_pair_is_named(notebook: NotebookNode, message: str) -> None:
    for make in (student_notebook, lambda *given: teacher_notebook(*given, {})):
        with pytest.raises(EditionError, match=f"60_lesson.ipynb: .*{message}"):
            make(notebook, "60_lesson.ipynb")


def test_a_discussion_goes_and_the_section_in_its_cell_stays() -> None:
    student = student_notebook(lesson(), "60_lesson.ipynb")
    sources = [cell.source for cell in student.cells]
    assert sources[-2:] == ["## 2 · Next", "1"]
    assert "42" not in "".join(sources)


def test_a_note_without_its_section_is_refused() -> None:
    with pytest.raises(EditionError, match="notes for no section: 3 · Gone"):
        teacher_notebook(lesson(), "60_lesson.ipynb", {"3 · Gone": "text"})


def test_the_command_names_what_it_wrote_or_why_not(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(editions.build, "__defaults__", (small / "build",))
    assert cli.main(["student"]) == 0
    assert "pretrained-models-student.zip (0 MiB)\n" in capsys.readouterr().out
    assert cli.main(["student"]) == 0
    assert capsys.readouterr().out.endswith(", as it was\n")
    nbformat.write(changed({1: {"tags": []}}), small / "notebooks" / "60_lesson.ipynb")
    assert cli.main(["student"]) == 1
    assert "student edition was not built: 60_lesson" in capsys.readouterr().err


def test_an_edition_has_no_tests_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    assert tasks.tests(with_notebooks=True) == 2
    assert "comes without its tests" in capsys.readouterr().err
