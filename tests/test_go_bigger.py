"""Every cell that only runs online runs here, by itself, against stand-ins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers.assets.paths import cache_root
from helpers.tools.notebooks import NOTEBOOKS, ROOT
from tests.online_cells import build, run_alone, run_cell, uses_tensorflow

GUARD = "if helpers.online:"


def code_cells(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


CELLS = [
    pytest.param(source, id=f"{path.stem}-cell{number}")
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    for number, source in enumerate(code_cells(path), start=1)
    if GUARD in source
]


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the cells, whose cache holds links and stand-ins."""
    folder = tmp_path_factory.mktemp("online")
    cache = folder / "cache"
    shutil.copytree(cache_root(), cache, copy_function=link, symlinks=True)
    env = {
        "COURSE_ONLINE": "1",
        "COURSE_INTERACTIVE": "0",
        "COURSE_CACHE": str(cache),
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        # A process whose torch has started threads cannot be forked.
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
    }
    status, printed = run_alone(build, cache, log=folder / "log", env=env, warm=True)
    assert status == 0, printed
    return env


def link(source: Any, target: Any) -> None:
    Path(target).hardlink_to(source)


@pytest.mark.parametrize("source", CELLS)
def test_cell_runs_by_itself_against_stand_ins(
    source: str, env: dict[str, str], tmp_path: Path
) -> None:
    cell = tmp_path / "cell.py"
    cell.write_text(source, encoding="utf-8")
    status, printed = run_alone(
        run_cell,
        cell,
        NOTEBOOKS,
        log=tmp_path / "log",
        env=env,
        warm=not uses_tensorflow(cell),
    )
    assert status == 0, f"{source}\n\n{printed[-4000:]}"
    assert "offline: start" not in printed


def test_every_notebook_has_such_a_cell() -> None:
    found = {str(param.id).partition("-")[0] for param in CELLS}
    assert found == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
