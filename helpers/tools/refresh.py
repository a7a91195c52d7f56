"""`python -m helpers refresh 09`: execute under every variant, save outputs and ranges.

One variant's outputs are saved; the others tell which printed numbers move from machine
to machine, and between which values. With ``--merge`` the saved outputs stay, and what
this machine measures widens the ranges: that is how bounds of an ARM machine come in.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.tools import alt_texts, drawings, ranges
from helpers.tools.doctor import usable_cores
from helpers.tools.kernels import (
    NotEnoughMemory,
    Reservation,
    kernel_arguments,
    kernel_environment,
)
from helpers.tools.notebooks import (
    CELL_TIMEOUT,
    Measurement,
    NotebookError,
    execute,
    strip_noise,
    write,
)
from helpers.tools.ranges import KEY, Assertion, Played
from helpers.tools.variants import SAVING, VARIANTS, Variant

__all__ = ["machine", "play", "processor", "refresh", "saved_by"]

# A variant without fast instructions takes several times as long.
_PATIENCE = 4


@dataclass(frozen=True)
class Execution:
    """One execution: the notebook with its outputs, what it cost, its assertions."""

    notebook: NotebookNode
    measurement: Measurement
    played: Played


def processor() -> str:
    """The processor's name, as far as the system tells: "AMD EPYC"."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """This machine in the notebooks and the log: "x86_64 AMD EPYC"."""
    return " ".join(dict.fromkeys([platform.machine(), *processor().split()]))


def play(path: Path, variant: Variant) -> Execution:
    """Execute a copy of the notebook at ``path`` under ``variant``; the file stays.

    An assertion that fails is noted, and the notebook goes on. Raises `NotebookError`
    when a cell fails in another way, or when there is no memory for a kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        with tempfile.TemporaryDirectory() as folder, Reservation() as reservation:
            noted = Path(folder, "assertions")
            noted.touch()
            measurement = execute(
                notebook,
                path,
                env={**kernel_environment(variant), "COURSE_ASSERTIONS": str(noted)},
                arguments=kernel_arguments(variant),
                timeout=CELL_TIMEOUT * _PATIENCE,
                reservation=reservation,
            )
            lines = noted.read_text("utf-8").splitlines()
    except (NotebookError, NotEnoughMemory) as error:
        raise NotebookError(f"played as {variant.name}: {error}") from error
    assertions = [Assertion(*json.loads(line)) for line in lines]
    print(f"{measurement}, {variant.name}", file=sys.stderr, flush=True)
    return Execution(
        notebook, measurement, Played.of(notebook, variant.name, assertions)
    )


def refresh(
    paths: Sequence[Path],
    *,
    variants: Sequence[Variant] = tuple(VARIANTS.values()),
    merge: bool = False,
) -> Iterator[tuple[Path, list[str] | NotebookError]]:
    """Execute notebooks under variants and save outputs and ranges, or the ranges only.

    As many kernels run side by side as there are cores and memory. A notebook in which
    a cell fails, an assertion does not hold, or words change with the machine keeps its
    file.

    Args:
        paths: of the notebooks.
        variants: to play, beside the one that saves the outputs (``variants.SAVING``).
        merge: keep outputs and ranges that are there, and widen the ranges.

    Yields each notebook with what is weak in it, one sentence a finding, or with the
    error that kept its file as it was.
    """
    played = list(variants)
    if not merge and SAVING not in played:
        played.insert(0, SAVING)
    pool = ThreadPoolExecutor(max_workers=usable_cores())
    try:
        jobs = {path: [pool.submit(play, path, v) for v in played] for path in paths}
        for path, futures in jobs.items():
            try:
                yield path, _keep(path, [f.result() for f in futures], merge)
            except NotebookError as error:
                for future in futures:
                    future.cancel()
                yield path, error
    finally:
        # After Ctrl-C, too, nothing more is started.
        pool.shutdown(cancel_futures=True)


def _keep(path: Path, runs: Sequence[Execution], merge: bool) -> list[str]:
    """Write outputs and ranges into the notebook's file; returns what is weak.

    Raises `NotebookError`, with the file as it was, for what cannot be saved.
    """
    played = [run.played for run in runs]
    committed = nbformat.read(path, as_version=4)
    before = committed.metadata.get(KEY, {})
    if merge:
        notebook, about = committed, dict(before)
    else:
        (saved,) = [run for run in runs if run.played.variant == SAVING.name]
        notebook, about = saved.notebook, {}
        about["seconds"] = round(saved.measurement.seconds)
        about["saved_by"] = [SAVING.name, machine()]
        strip_noise(notebook)
    wrong = ranges.measure(notebook, played, merge)
    failed, thin = ranges.assertion_findings(played)
    if wrong or failed:
        raise NotebookError("\n  ".join([*wrong, *failed, "The file is as it was."]))
    if not merge:
        thin += ranges.leave_one_out(notebook, played)
    machines = [*about.get("machines", []), machine()]
    names = [*about.get("variants", []), *(run.variant for run in played)]
    about["machines"] = list(dict.fromkeys(machines))
    about["variants"] = list(dict.fromkeys(names))
    dropped = [name for name in before.get("machines", []) if name not in machines]
    if dropped:
        thin.append(
            f"the ranges that {', '.join(dropped)} had measured are gone: run `python "
            "-m helpers refresh --merge` there again"
        )
    notebook.metadata[KEY] = about
    ranges.write_notes(notebook)
    drawings.embed(notebook)
    alt_texts.embed(notebook)
    nbformat.validate(notebook)
    write(notebook, path)
    return thin


def saved_by(path: Path) -> str:
    """Variant and machine that saved a notebook's outputs, for the log."""
    about = json.loads(path.read_text("utf-8"))["metadata"].get(KEY, {})
    return " on ".join(about.get("saved_by", ["unknown"]))
