"""`make check` leaves out what is slow, says so, and forgets no changed conversion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUITE = """
import pytest

def test_quick(): pass

@pytest.mark.slow
def test_long(): pass

@pytest.mark.converted("whisper-tiny-en")
def test_reference(): pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n  converted")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    return tmp_path


def check(suite: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "not slow", *options],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_conversion_is_compared_again_when_it_changed(suite: Path) -> None:
    first, again = check(suite), check(suite, "-n2")
    assert "left to `make test`: all notebooks, 1 slow tests (suite)\n" in first
    assert "2 passed" in first
    assert "left to `make test`: all notebooks, 2 slow tests (suite)\n" in again
    assert "1 passed" in again
    (note,) = (suite / ".pytest_cache" / "v" / "converted").iterdir()
    note.write_text('"of another recipe"')
    assert "2 passed" in check(suite)
