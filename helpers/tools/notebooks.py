"""Find, execute, clean and write the course's notebooks; `python -m helpers run 09`."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from IPython.utils.path import compress_user
from nbformat import NotebookNode

from helpers.files import replacing
from helpers.tools.kernels import (
    KERNEL_ARGUMENTS,
    PatientClient,
    Reservation,
    dead_kernel_report,
    kernel_exitcode,
    tree_bytes,
    use_socket_files,
)
from helpers.tools.outputs import WIDGET_VIEW

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"

# Seconds a single cell may take before it is stopped, when refreshing and when testing.
CELL_TIMEOUT = 300

KERNELSPEC = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}


class NotebookError(RuntimeError):
    """A notebook could not be executed to its end; the message says where and why."""


@dataclass(frozen=True)
class Measurement:
    """What one execution cost: wall time in seconds, peak memory in bytes.

    Peak memory is the largest sum of resident memory over the kernel's process tree.
    """

    path: Path
    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        peak = self.peak_bytes / 2**30
        return f"{self.path.name}: {self.seconds:.1f} s, peak memory {peak:.2f} GiB"


def find(names: Iterable[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks called `names`: a number (`9`, `09`), a stem or a path.

    Without names: every notebook, in order. Raises `ValueError` for a name that matches
    none or several, listing what there is.
    """
    everything = sorted(folder.glob("*.ipynb"))
    found = []
    for name in names:
        if name.endswith(".ipynb") and Path(name).is_file():
            found.append(Path(name).resolve())
            continue
        prefix = f"{int(name):02d}_" if name.isdecimal() else Path(name).stem
        matches = [path for path in everything if path.name.startswith(prefix)]
        if len(matches) != 1:
            known = ", ".join(path.stem for path in everything) or "none yet"
            count = "no notebook" if not matches else f"{len(matches)} notebooks"
            raise ValueError(f"{name!r} matches {count}; there are: {known}")
        found.append(matches[0])
    return found or everything


def heading_above(notebook: NotebookNode, index: int) -> str:
    """Return the nearest Markdown heading above cell `index`, "" when there is none."""
    for cell in reversed(notebook.cells[: index + 1]):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,6}\s+(.+)$", cell.source, re.MULTILINE)
            if headings:
                return str(headings[-1]).strip()
    return ""


def shorten_paths(text: str) -> str:
    """Remove this machine's folders from a traceback, keeping `helpers/training.py`."""
    for folder in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), ROOT):
        for shown in (str(folder), compress_user(str(folder))):
            text = text.replace(shown + os.sep, "")
    return text


def execute(
    notebook: NotebookNode,
    path: Path,
    *,
    env: dict[str, str],
    arguments: Sequence[str] = KERNEL_ARGUMENTS,
    timeout: float | None = CELL_TIMEOUT,
    reservation: Reservation | None = None,
    on_start: Callable[[int, NotebookNode], None] | None = None,
    on_done: Callable[[int, NotebookNode], None] | None = None,
) -> Measurement:
    """Execute `notebook` in place, in a fresh kernel working in the folder of `path`.

    `reservation` is told which process its memory went to. `on_start` and `on_done`
    receive each code cell's position among all cells, and the cell. Raises
    `NotebookError` naming the cell when one fails, takes longer than `timeout` seconds
    (None: no limit), or kills the kernel.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    position = 0
    code_cells = [i for i, c in enumerate(notebook.cells) if c.cell_type == "code"]

    def started(cell: NotebookNode, cell_index: int) -> None:
        nonlocal position
        position = cell_index
        if on_start and cell.cell_type == "code":
            on_start(cell_index, cell)

    def executed(cell: NotebookNode, cell_index: int, execute_reply: Any) -> None:
        if on_done:
            on_done(cell_index, cell)

    client = NotebookClient(
        notebook,
        timeout=None if timeout is None else int(timeout),
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=list(arguments),
        store_widget_state=True,  # its Output widgets need it; refresh drops it
        coalesce_streams=True,
        on_cell_start=started,
        on_cell_executed=executed,
    )
    client.km = manager = client.create_kernel_manager()
    manager.client_factory = PatientClient
    folder = use_socket_files(manager)
    stop, peak = threading.Event(), 0
    exitcode: object = None

    def watch() -> None:
        nonlocal peak, exitcode
        while not stop.wait(0.2):
            pid = getattr(manager.provisioner, "pid", None)
            if pid is not None:
                if reservation is not None and not peak:
                    reservation.used_by(pid)
                peak = max(peak, tree_bytes(pid))
            status = kernel_exitcode(manager)
            exitcode = exitcode if status is None else status

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begin = time.perf_counter()
    try:
        client.execute(env=env, cleanup_kc=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        heading = heading_above(notebook, position)
        number = code_cells.index(position) + 1 if position in code_cells else 0
        if isinstance(error, DeadKernelError):
            message = dead_kernel_report(path.name, number, heading, exitcode)
        elif isinstance(error, CellTimeoutError):
            message = f"code cell {number} ({heading!r}) took longer than {timeout} s"
        else:
            message = f"code cell {number} ({heading!r}) failed.\n\n"
            for output in notebook.cells[position].outputs:
                if output.output_type == "error":
                    message += shorten_paths("\n".join(output.traceback))
        raise NotebookError(message) from error
    finally:
        stop.set()
        watcher.join()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    return Measurement(path, time.perf_counter() - begin, peak)


def printed(cell: NotebookNode) -> str:
    """Return what a code cell shows, as plain text; a picture becomes `[picture]`."""
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output.output_type == "stream":
            parts.append(output.text)
        elif any(kind.startswith("image/") for kind in data):
            parts.append("[picture]\n")
        elif WIDGET_VIEW in data:
            parts.append("[widget]\n")
        elif "text/plain" in data:
            parts.append(data["text/plain"] + "\n")
    return "".join(parts).rstrip()


def run(path: Path) -> Measurement:
    """Execute a copy of the notebook at `path` and print each cell's results.

    The file stays as it is. The caller's environment counts: `COURSE_ONLINE=1` works.
    """
    notebook = nbformat.read(path, as_version=4)
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    number, last = 0, ""

    def show_start(index: int, cell: NotebookNode) -> None:
        nonlocal number, last
        number += 1
        heading = heading_above(notebook, index)
        title = heading if heading != last else "…"
        last = heading
        print(f"[{number}/{total}] {title}", flush=True)

    def show_result(index: int, cell: NotebookNode) -> None:
        text = printed(cell)
        if text:
            print("    " + text.replace("\n", "\n    "), flush=True)

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    env = {**os.environ, "COURSE_INTERACTIVE": "0", "IPYKERNEL_CELL_NAME": "<cell>"}
    env.pop("MPLBACKEND", None)
    return execute(
        notebook, path, env=env, timeout=None, on_start=show_start, on_done=show_result
    )


def strip_noise(notebook: NotebookNode) -> None:
    """Remove what differs between runs and teaches nothing; keep outputs and counts."""
    from nbstripout import strip_output

    keys = ["metadata.widgets", "metadata.language_info.version"]
    keys += ["cell.metadata.execution"]
    strip_output(
        notebook, keep_output=True, keep_count=True, keep_id=True, extra_keys=keys
    )
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # A widget lives only while its kernel does; saved, it is an error message.
            cell.outputs = [
                output
                for output in cell.outputs
                if WIDGET_VIEW not in output.get("data", {})
            ]
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = [shorten_paths(t) for t in output.traceback]


def write(notebook: NotebookNode, path: Path) -> None:
    """Write canonical notebook JSON to `path` in one step (temporary file, rename)."""
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    with replacing(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", "utf-8", newline="\n")
        temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
