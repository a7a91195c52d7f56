"""Every cell that only runs online runs here, against stand-ins, without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.assets.paths import cache_root
from helpers.tools.notebooks import NOTEBOOKS, ROOT
from tests import stand_ins
from tests.notebook_slices import guarded_cells, program

CELLS = [
    pytest.param(path, cell, id=f"{path.stem}-cell{cell + 1}")
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    for cell in guarded_cells(path)
]
# Offline again, once helpers believes to be online: nothing may be looked for outside.
START = """
import helpers, os
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
"""
SHRINK = "from tests import stand_ins; stand_ins.shrink()"
USES_TORCH = re.compile(r"^\s*(import|from) (torch|transformers)", re.MULTILINE)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Beside the real one: links do not cross from one disk to another.
    folder = tmp_path_factory.mktemp("online") / "cache"
    stand_ins.make_cache(cache_root(), folder)
    make = "from tests import stand_ins; from pathlib import Path; import sys;"
    make += "stand_ins.make_use_4(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize(("path", "cell"), CELLS)
def test_cell_runs_against_stand_ins(
    path: Path, cell: int, cache: Path, tmp_path: Path
) -> None:
    before, own = program(path, cell)
    script = tmp_path / "cell.py"
    # A notebook on TensorFlow has nothing to shrink, and does not load torch.
    small = SHRINK if USES_TORCH.search(f"{before}\n{own}") else ""
    script.write_text(f"{START}\n{small}\n{before}\n{own}\nprint('it ran')")
    env = {
        **os.environ,
        "COURSE_ONLINE": "1",
        "COURSE_INTERACTIVE": "0",
        "COURSE_CACHE": str(cache),
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=path.parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script.read_text()}\n\n{done.stderr[-4000:]}"
    assert done.stdout.endswith("it ran\n")
    assert "offline: start" not in done.stdout


def test_every_notebook_has_such_a_cell() -> None:
    found = {param.values[0] for param in CELLS}
    assert found == set(NOTEBOOKS.glob("*.ipynb"))
