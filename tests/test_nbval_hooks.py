"""The strict notebook test finds changed outputs, errors and dead kernels, and fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.tools.kernels import KERNEL_ENVIRONMENT
from helpers.tools.refresh import refresh
from helpers.tools.variants import SAVING

ROOT = Path(__file__).parent.parent


def save(path: Path, *sources: str) -> Path:
    """Write a notebook whose cells showed nothing when they were executed."""
    cells = [new_markdown_cell("# Title\n\n## The section")]
    cells += [new_code_cell(s, execution_count=i) for i, s in enumerate(sources, 1)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def strict(folder: Path, *options: str) -> str:
    """Run the strict test on notebooks outside of the course; return its report."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.nbval_plugin", "--nbval"]
    command += ["-c", "pyproject.toml", "--rootdir", str(folder), "--color=no", "-v"]
    command += ["-p", "no:cacheprovider", *options, str(folder)]
    # On a CI machine pytest's summary repeats every message in full.
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=env,
    )
    return done.stdout


def outcomes(report: str, stem: str) -> list[str]:
    """Return what pytest -v says about each cell of one notebook."""
    cell = rf"\b{stem}(?:\.|::)ipynb::Cell \d+ ([A-Z]+)"
    return re.findall(cell, report)


SETUP_LINE = "Python 3.11.7 · torch 2.14.1 · cpu, 2 threads · offline"
DEATHS = {
    "dies_by_signal": ("os.kill(os.getpid(), 9)", "out of memory"),
    "dies_by_exit": ("os._exit(3)", "exit status 3"),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the strict report on good, changed and deadly notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    names = sorted([*KERNEL_ENVIRONMENT, "MPLBACKEND"])
    good = save(
        folder / "good.ipynb",
        "import os, warnings\nprint('text')",
        "6 * 7",
        "6 * 7;",
        "Out[2]",
        "warnings.warn('a warning has no path of this machine')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);\nplt.show()",
        f"[os.environ.get(name) for name in {names}]",
    )
    assert list(refresh([good], variants=[SAVING])) == [(good, [])]
    code = nbformat.read(good, as_version=4).cells[1:]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6, 7]
    assert not code[2].outputs
    assert code[3].outputs[0].data["text/plain"] == "42"

    path = save(folder / "stripped.ipynb", "print(42)")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = None
    nbformat.write(notebook, path)

    for name, shown in (("changed", ["43\n"]), ("vanished", [])):
        path = save(folder / f"{name}.ipynb", "print(42)")
        notebook = nbformat.read(path, as_version=4)
        outputs = [new_output("stream", name="stdout", text=text) for text in shown]
        notebook.cells[1].update(execution_count=1, outputs=outputs)
        nbformat.write(notebook, path)

    sources = (f"print('{SETUP_LINE}')", "print('accuracy 91 %')")
    path = save(folder / "setup.ipynb", *sources)
    notebook = nbformat.read(path, as_version=4)
    elsewhere = "Python 3.13.1 · torch 2.15.0+cu130 · NVIDIA H100, 16 threads · offline"
    for count, text in enumerate([elsewhere, "accuracy 95 %"], start=1):
        output = new_output("stream", name="stdout", text=f"{text}\n")
        notebook.cells[count].update(execution_count=count, outputs=[output])
    nbformat.write(notebook, path)

    for name, (end, _) in DEATHS.items():
        save(folder / f"{name}.ipynb", "import os", end, "print('never')")
    text = strict(folder, "--nbval-cell-timeout=100")
    assert "Timeout of" not in text, "a dead kernel was waited for"
    return text


def test_refreshed_notebook_passes_whatever_its_cells_show(report: str) -> None:
    assert outcomes(report, "good") == ["PASSED"] * 7, report


@pytest.mark.parametrize("name", ["changed", "vanished"])
def test_changed_or_vanished_output_fails(report: str, name: str) -> None:
    assert outcomes(report, name) == ["FAILED"]
    assert "Cell outputs differ" in report


def test_a_cell_without_a_count_fails(report: str) -> None:
    assert outcomes(report, "stripped") == ["FAILED"]
    assert "the saved cell was never executed" in report


def test_only_versions_and_device_of_the_setup_line_may_differ(report: str) -> None:
    assert outcomes(report, "setup") == ["PASSED", "FAILED"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("name", DEATHS)
def test_dead_kernel_is_named_once(report: str, name: str) -> None:
    assert outcomes(report, name) == ["PASSED", "FAILED", "XFAIL"]
    place = f"The kernel died: {name}.ipynb, code cell 2 (section 'The section')"
    (told,) = [text for text in report.splitlines() if place in text]
    assert DEATHS[name][1] in told


def test_endless_cell_is_stopped(tmp_path: Path) -> None:
    save(tmp_path / "endless.ipynb", "while True: pass")
    report = strict(tmp_path, "--nbval-cell-timeout=2")
    assert outcomes(report, "endless") == ["FAILED"]
    assert "Timeout of 2 seconds" in report
