"""The student's and the teacher's edition: folders and zip files, from one source.

`python -m helpers student` writes `build/student` and its zip file: the course without
solutions, discussions and tests. `teacher` opens the solutions, adds notes below the
sections, and the guide. Both run as they are; nothing in them is written by hand.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from helpers.files import remove_leftovers, replacing, temporary_prefix
from helpers.tools import guide
from helpers.tools.notebooks import ROOT
from helpers.tools.ranges import KEY, RANGE_TAG
from helpers.tools.sections import heading_of, split_at_headings, tags

__all__ = ["EDITIONS", "Built", "EditionError", "build", "checked_id", "main"]
__all__ += ["student_notebook", "teacher_notebook"]

EDITIONS = ("student", "teacher")
BUILD = ROOT / "build"

# What an edition is made of; of each, the files that git tracks.
_PARTS = ["LICENSE", "LICENSE-PROSE.md", "Makefile", "README.md", "environment.yml"]
_PARTS += ["pyproject.toml", "requirements.txt", ".gitignore", "data", "helpers"]
# Notebook 08 shows a table of benchmarks/README.md.
_PARTS += ["notebooks", "benchmarks/README.md"]
# The guide's own words would tell a student what to skip and what trips others.
_LEFT_OUT = {"student": ("data/guide.toml",), "teacher": ()}
# Targets of `make` that an edition keeps; the others need tests or the full course.
_TARGETS = ("help", "lab", "run", "progress", "fetch", "doctor", "clean")
_NOTE = ".edition.json"
# What Python and Jupyter leave in a folder that was only looked at.
_TRACES = ("__pycache__", ".ipynb_checkpoints")
_ZIP_DATE = (2020, 1, 1, 0, 0, 0)

_CHECK = re.compile(r"""helpers\.check\(\s*["'](\d\d\.\d)["']""")
_POINTER = re.compile(r"A solution (?:of \d\d\.\d )?is folded below\b[^\n]*")
_DISCUSSION = re.compile(
    r"\s*<details><summary>Discussion</summary>.*?</details>\s*", re.DOTALL
)
_ONLY_FULL = re.compile(r"<!-- full course -->\n.*?<!-- /full course -->\n+", re.DOTALL)
_ONLY_TEACHER = re.compile(r"<!-- teachers -->\n.*?<!-- /teachers -->\n+", re.DOTALL)
_MARK = re.compile(r"<!-- /?(?:full course|teachers) -->\n")


class EditionError(RuntimeError):
    """An edition cannot be built; the message says what to mend, and where."""


class Built(NamedTuple):
    """An edition's folder and zip file; ``renewed`` is False when both were there."""

    folder: Path
    archive: Path
    renewed: bool


def student_notebook(notebook: NotebookNode, name: str) -> NotebookNode:
    """A copy of ``notebook`` without solutions and what gives them away.

    Stubs and checks stay, their outputs go. Raises `EditionError` naming ``name`` and
    the cell when solutions and exercises do not pair.
    """
    _pair(notebook, name)
    result = copy.deepcopy(notebook)
    kept: list[NotebookNode] = []
    after = False  # below a solution, where its discussion and its ranges stand
    for cell in result.cells:
        if "solution" in tags(cell):
            if kept and _POINTER.fullmatch(kept[-1].source.strip()):
                kept.pop()
            after = True
            continue
        if after and RANGE_TAG in tags(cell):
            continue
        if after and cell.cell_type == "markdown":
            cell.source = _DISCUSSION.sub("", cell.source, count=1)
            if not cell.source:
                continue
        after = False
        if "exercise" in tags(cell):
            cell.outputs = []
            cell.metadata.pop(KEY, None)  # the ranges of what it printed
        kept.append(cell)
    result.cells = kept
    _renumber(result)
    return result


def teacher_notebook(
    notebook: NotebookNode, name: str, notes: Mapping[str, str]
) -> NotebookNode:
    """A copy of ``notebook`` with open solutions and a note below each section.

    ``notes`` maps a section's heading to Markdown. Raises `EditionError` as
    `student_notebook` does, and for a note whose heading does not exist.
    """
    _pair(notebook, name)
    result = split_at_headings(notebook)
    open_notes, cells, below = dict(notes), [], ""

    def add_note() -> None:
        if text := open_notes.pop(below, ""):
            id = "note-" + hashlib.sha256(f"{name} {below}".encode()).hexdigest()[:8]
            new = nbformat.v4.new_markdown_cell(text, metadata={"tags": ["teacher"]})
            new.id = id
            cells.append(new)

    for cell in result.cells:
        heading = heading_of(cell)
        if heading is not None:
            add_note()
            below = heading
        if "solution" in tags(cell):
            cell.metadata.pop("jupyter", None)
        elif cell.cell_type == "markdown":
            cell.source = _opened(cell.source)
        cells.append(cell)
    add_note()
    if open_notes:
        raise EditionError(f"{name}: notes for no section: {', '.join(open_notes)}")
    result.cells = cells
    return result


def _opened(source: str) -> str:
    """Markdown of a teacher: what is folded for a learner stands open."""
    source = source.replace(
        "<details><summary>Discussion", "<details open><summary>Discussion"
    )
    return _POINTER.sub(lambda m: m[0].replace("is folded below", "is below"), source)


def checked_id(cell: NotebookNode) -> str | None:
    """The exercise that a code cell checks first, None when it checks none."""
    found = _CHECK.search(cell.source)
    return found[1] if found else None


def _pair(notebook: NotebookNode, name: str) -> None:
    """Raise `EditionError` unless each exercise is followed by its own solution."""
    open_id = None
    for place, cell in enumerate(notebook.cells, start=1):
        kinds = {"exercise", "solution"} & tags(cell)
        if not kinds:
            # A check may stand in a cell of its own below the stub.
            continue
        where = f"{name}: cell {place}"
        if kinds == {"exercise", "solution"}:
            raise EditionError(f"{where} is tagged exercise and solution: keep one")
        id = checked_id(cell) or _next_check(notebook, place)
        if id is None:
            raise EditionError(
                f"{where} ({kinds.pop()}) calls no helpers.check: which exercise is it?"
            )
        if kinds == {"exercise"}:
            if open_id is not None:
                raise EditionError(f"{where}: exercise {open_id} above has no solution")
            open_id = id
        elif id != open_id:
            raise EditionError(
                f"{where} is a solution of {id}, with no exercise {id} before it"
            )
        else:
            open_id = None
    if open_id is not None:
        raise EditionError(f"{name}: exercise {open_id} has no solution")


def _next_check(notebook: NotebookNode, place: int) -> str | None:
    """The exercise checked in the code cell below the ``place``-th cell."""
    if "solution" in tags(notebook.cells[place - 1]):
        return None
    for cell in notebook.cells[place:]:
        if cell.cell_type == "code":
            return None if "solution" in tags(cell) else checked_id(cell)
    return None


def _renumber(notebook: NotebookNode) -> None:
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = None if "exercise" in tags(cell) else count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count


def build(edition: str, target: Path = BUILD) -> Built:
    """Write an edition's folder and zip file into ``target``, unless they are there.

    Both are written aside and then renamed, so an interruption leaves the old ones or
    the new ones. Raises `EditionError` when a notebook is not fit for it, or when
    somebody worked in the folder.
    """
    if edition not in EDITIONS:
        raise ValueError(f"edition={edition!r}: use one of {', '.join(EDITIONS)}.")
    if (ROOT / _NOTE).is_file():
        raise EditionError(
            "this folder is itself an edition; editions are built from the full course"
        )
    sources = _sources(edition)
    digest = _digest(edition, sources)
    name = f"pretrained-models-{edition}"
    built = Built(target / edition, target / f"{name}.zip", True)
    if built.archive.is_file() and _note(built.folder).get("digest") == digest:
        return built._replace(renewed=False)
    if found := _worked_in(built.folder):
        raise EditionError(
            f"somebody worked in {built.folder}: {', '.join(found[:3])}"
            f"{' and more' if len(found) > 3 else ''}. Move it elsewhere or delete it."
        )
    target.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target, "edition")
    aside = target / f"{temporary_prefix('edition')}{edition}"
    try:
        _write(edition, sources, aside, digest)
        with replacing(built.archive) as temporary:
            _zip(aside, temporary, name)
        old = target / f"{temporary_prefix('edition')}old-{edition}"
        if built.folder.exists():
            os.rename(built.folder, old)
        os.rename(aside, built.folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return built


def _sources(edition: str) -> list[str]:
    """Paths of the course's files that an edition is made of, sorted, with slashes."""
    try:
        command = ["git", "ls-files", "-z", "--", *_PARTS]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        found = done.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        # A copy that git does not know, such as a downloaded archive.
        found = [path.as_posix() for path in _walk()]
    left_out = _LEFT_OUT[edition]
    return sorted(p for p in found if p and p not in left_out and (ROOT / p).is_file())


def _walk() -> Iterator[Path]:
    for part in _PARTS:
        inside = [ROOT / part, *(ROOT / part).rglob("*")]
        for path in (each.relative_to(ROOT) for each in inside if each.is_file()):
            cached = path.is_relative_to("data/cache")
            if not cached and not set(_TRACES) & set(path.parts):
                yield path


def _digest(edition: str, sources: list[str]) -> str:
    """A hash of everything that decides what an edition holds."""
    digest = hashlib.sha256(edition.encode())
    for path in sources:
        content = (ROOT / path).read_bytes()
        digest.update(f"\n{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _write(edition: str, sources: list[str], folder: Path, digest: str) -> None:
    files: dict[str, str] = {}
    for path in sources:
        content = _content(edition, path)
        files[path] = _put(folder / path, content)
    if edition == "teacher":
        text = "\n\n".join(page.strip() for page in guide.pages().values()) + "\n"
        files["GUIDE.md"] = _put(folder / "GUIDE.md", text.encode())
    note = {"edition": edition, "digest": digest, "files": files}
    _put(folder / _NOTE, (json.dumps(note, indent=1) + "\n").encode())


def _put(path: Path, content: bytes) -> str:
    """Write ``content``; return its hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _content(edition: str, path: str) -> bytes:
    """What the course's file ``path`` becomes in an edition."""
    if path.startswith("notebooks/") and path.endswith(".ipynb"):
        return _notebook(edition, ROOT / path).encode()
    if path == "README.md":
        return _readme(edition, (ROOT / path).read_text("utf-8")).encode()
    if path == "Makefile":
        return _makefile((ROOT / path).read_text("utf-8")).encode()
    return (ROOT / path).read_bytes()


def _notebook(edition: str, path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    if edition == "student":
        made = student_notebook(notebook, path.name)
    else:
        made = teacher_notebook(notebook, path.name, guide.notes(path.name[:2]))
    return str(nbformat.writes(made, version=nbformat.NO_CONVERT)).rstrip("\n") + "\n"


_FOR = {
    "student": "**Student edition:** exercises without solutions. `helpers.check` says "
    "what is right and names mistakes; `make progress` shows what you solved.",
    "teacher": "**Teacher's edition:** solutions open, notes below the sections, and "
    "[the guide](GUIDE.md) with minutes, questions, mistakes and two workshops.",
}


def _readme(edition: str, text: str) -> str:
    """README without what belongs to the full course, or to teachers."""
    text = _ONLY_FULL.sub("", text)
    if edition == "student":
        text = _ONLY_TEACHER.sub("", text)
    text = _MARK.sub("", text)
    title, _, rest = text.partition("\n")
    lines = [title, "", _FOR[edition]]
    for line in rest.split("\n"):
        row = re.match(r"\| *`make (\w+)", line)
        if row is None or row[1] in _TARGETS:
            lines.append(line)
    return "\n".join(lines)


def _makefile(text: str) -> str:
    """The Makefile with the targets of an edition."""
    kept = []
    for paragraph in text.split("\n\n"):
        target = re.search(r"^([a-z]\w*):", paragraph, re.MULTILINE)
        if target is None or target[1] in _TARGETS:
            kept.append(paragraph)
    joined = "\n\n".join(kept).replace(", make test proves it", "")
    phony = f".PHONY: {' '.join(_TARGETS)}"
    text = re.sub(r"^\.PHONY: help .*$", phony, joined, flags=re.MULTILINE)
    return text.rstrip("\n") + "\n"


def _note(folder: Path) -> dict[str, object]:
    """What `_write` noted of an edition's folder; empty where there is none."""
    try:
        return dict(json.loads((folder / _NOTE).read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _worked_in(folder: Path) -> list[str]:
    """Files of an edition's folder that are not as they were written."""
    known = _note(folder).get("files", {})
    assert isinstance(known, dict)
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or set(_TRACES) & set(name.parts) or str(name) == _NOTE:
            continue
        if len(found) > 3:
            break
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        if known.get(name.as_posix()) != content:
            found.append(name.as_posix())
    return found


def _zip(folder: Path, archive: Path, name: str) -> None:
    """Pack ``folder`` so that equal contents give equal files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                inside = f"{name}/{path.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(inside, _ZIP_DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                file.writestr(entry, path.read_bytes())


def main(edition: str) -> int:
    """Build an edition and say where it is; return an exit status."""
    try:
        built = build(edition)
    except (EditionError, guide.GuideError, OSError) as error:
        print(f"The {edition} edition was not built: {error}", file=sys.stderr)
        return 1
    state = "" if built.renewed else ", as it was"
    size = built.archive.stat().st_size / 2**20
    folder, archive = (os.path.relpath(each) for each in built[:2])
    print(f"{folder} and {archive} ({size:.0f} MiB){state}")
    return 0
