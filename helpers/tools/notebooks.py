"""Execute the course's notebooks: `python -m helpers run 09` and `refresh 09`.

The strict notebook tests (`tests/nbval_plugin.py`) start their kernels with the same
environment as `refresh`, so what is committed and what is tested cannot drift apart.
"""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from IPython.utils.path import compress_user
from nbformat import NotebookNode

from helpers.files import replacing

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"

# Seconds a single cell may take before it is stopped, when refreshing and when testing.
CELL_TIMEOUT = 300

# The one environment in which outputs are saved and compared.
KERNEL_ENVIRONMENT: Mapping[str, str] = {
    "COURSE_ONLINE": "0",
    "COURSE_INTERACTIVE": "0",
    "COURSE_THREADS": "2",
    # Committed outputs come from a CPU: a GPU's last digits differ.
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    # Without a fixed name a warning prints a random path of a temporary file.
    "IPYKERNEL_CELL_NAME": "<cell>",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# Variables of the caller's shell that would change what a cell prints.
_FOREIGN = ("MPLBACKEND", "OMP_NUM_THREADS", "PYTHONWARNINGS", "COLUMNS", "LINES")

# In-memory history: executing a notebook leaves nothing in the user's IPython history.
KERNEL_ARGUMENTS = ["--HistoryManager.hist_file=:memory:"]

KERNELSPEC = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


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


def kernel_environment() -> dict[str, str]:
    """Return the whole environment of a kernel whose outputs are saved or compared."""
    inherited = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    return {**inherited, **KERNEL_ENVIRONMENT}


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


def dead_kernel_report(notebook: str, cell: int, heading: str, exitcode: object) -> str:
    """Say where a kernel died and what probably killed it."""
    place = f"code cell {cell}" + (f" (section {heading!r})" if heading else "")
    if exitcode in (-9, 137):
        cause = "killed by signal 9: out of memory is the usual reason"
    elif isinstance(exitcode, int) and exitcode < 0:
        cause = f"killed by signal {-exitcode}: a crash inside a compiled library"
    elif exitcode is None:
        cause = "its exit status is unknown; out of memory is the usual reason"
    else:
        cause = f"it left with exit status {exitcode}"
    free = psutil.virtual_memory().available / 2**30
    return (
        f"The kernel died: {notebook}, {place}. Probable cause: {cause} "
        f"({free:.1f} GiB are free now). Close other programs and try again."
    )


def kernel_exitcode(manager: Any) -> object:
    """Return the exit status of a dead kernel's process, None when it is unknown."""
    process = getattr(getattr(manager, "provisioner", None), "process", None)
    return None if process is None else process.poll()


def use_socket_files(manager: Any) -> str | None:
    """Let a kernel talk through socket files, which no other program can take or read.

    Returns the temporary folder to delete when the kernel has stopped, or None on
    Windows, which has TCP ports only.
    """
    if os.name != "posix":
        return None
    folder = tempfile.mkdtemp(prefix="nb")  # a socket's path must stay short
    manager.transport = "ipc"
    manager.connection_file = str(Path(folder, "k.json"))
    return folder


def shorten_paths(text: str) -> str:
    """Remove this machine's folders from a traceback, keeping `helpers/training.py`."""
    for folder in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), ROOT):
        for shown in (str(folder), compress_user(str(folder))):
            text = text.replace(shown + os.sep, "")
    return text


def _tree_bytes(pid: int) -> int:
    """Return the resident memory of process `pid` and its descendants, in bytes."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:
        pass  # the process ended while it was being measured
    return total


def execute(
    notebook: NotebookNode,
    path: Path,
    *,
    env: dict[str, str],
    timeout: float | None = CELL_TIMEOUT,
    on_start: Callable[[int, NotebookNode], None] | None = None,
    on_done: Callable[[int, NotebookNode], None] | None = None,
) -> Measurement:
    """Execute `notebook` in place, in a fresh kernel working in the folder of `path`.

    `on_start` and `on_done` receive each code cell's position among all cells, and the
    cell. Raises `NotebookError` naming the cell when one fails, takes longer than
    `timeout` seconds (None: no limit), or kills the kernel.
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
        extra_arguments=list(KERNEL_ARGUMENTS),
        store_widget_state=True,  # its Output widgets need it; refresh drops it
        coalesce_streams=True,
        on_cell_start=started,
        on_cell_executed=executed,
    )
    client.km = manager = client.create_kernel_manager()
    folder = use_socket_files(manager)
    stop, peak = threading.Event(), 0
    exitcode: object = None

    def watch() -> None:
        nonlocal peak, exitcode
        while not stop.wait(0.2):
            pid = getattr(manager.provisioner, "pid", None)
            if pid is not None:
                peak = max(peak, _tree_bytes(pid))
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


def refresh(path: Path) -> Measurement:
    """Execute the notebook at `path` in the test environment and save its outputs.

    Raises `NotebookError`, leaving the file as it was, when a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    measurement = execute(notebook, path, env=kernel_environment())
    strip_noise(notebook)
    nbformat.validate(notebook)
    write(notebook, path)
    return measurement
