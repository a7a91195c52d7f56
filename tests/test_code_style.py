"""The code, notebooks included, passes the checkers; helpers keeps its rooms apart."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.tools.notebooks import NOTEBOOKS

ROOT = Path(__file__).parent.parent
ROOMS = ROOT / "helpers"
MAP = (ROOMS / "README.md").read_text(encoding="utf-8")
LINT_IMPORTS = ["-c", "from importlinter.cli import lint_imports_command as run; run()"]
LEARNERS = ["environment", "datasets", "tokens", "training", "features", "layers"]
LEARNERS += ["objectives", "plotting", "scenes", "speech", "widgets"]


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "ruff", "check"],
        ["-m", "ruff", "format", "--check"],
        ["-m", "mypy"],
        [*LINT_IMPORTS, "--no-cache"],
    ],
    ids=["ruff check", "ruff format", "mypy", "import-linter"],
)
def test_code_is_clean(command: list[str]) -> None:
    done = python(*command)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("training.py", "from helpers.tools import doctor"),
        ("loop/seeding.py", "from helpers import training"),
        ("loop/history.py", "from helpers.assets import require"),
        ("environment.py", "from helpers.loop import modes"),
        ("assets/paths.py", "from helpers import environment"),
        ("files.py", "from helpers.assets import paths"),
        ("homeless.py", "import json"),
    ],
)
def test_an_import_against_the_drawing_is_found(
    module: str, forbidden: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOMS, tmp_path / "helpers", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "helpers" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{forbidden}\n")
    done = python(*LINT_IMPORTS, "--no-cache", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    assert module.removesuffix(".py").replace("/", ".") in done.stdout


def test_notebooks_import_only_from_the_learners_rooms() -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        sources = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
        found = re.findall(r"helpers\.(?:loop|tools|files)\b.*", sources)
        assert not found, f"{path.name}: {found}"


def test_what_learners_read_stays_short() -> None:
    lines = {
        name: len((ROOMS / f"{name}.py").read_text(encoding="utf-8").splitlines())
        for name in LEARNERS
    }
    assert sum(lines.values()) <= 1_900, lines


def test_the_map_names_every_module_once() -> None:
    assert len(MAP.splitlines()) <= 72
    tree = re.search(r"```text\n(.*?)```", MAP, re.DOTALL)
    assert tree is not None
    named, room = [], ""
    for line in tree[1].splitlines():
        name = line.split()[0]
        inside = line.startswith(" ")
        named.append(f"{room}/{name}" if inside else name)
        room = room if inside else name
    assert len(set(named)) == len(named)
    # Folders of many alike (an exercise a notebook, a recipe an asset) are one line.
    listed = ("loop", "tools")
    there = {
        path.relative_to(ROOMS).as_posix()
        for folder in (ROOMS, *(ROOMS / name for name in listed))
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    there -= {f"{name}/__init__.py" for name in listed}
    assert set(named) == there
