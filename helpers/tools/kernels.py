"""Kernels of notebooks that are refreshed or tested: environment, memory, death.

`refresh` and the strict notebook test (`tests/nbval_plugin.py`) start their kernels
here, so that what is committed and what is tested cannot drift apart.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import Any, Self

import psutil
from filelock import FileLock
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type

from helpers.tools.variants import Variant

__all__ = [
    "KERNEL_ARGUMENTS",
    "KERNEL_ENVIRONMENT",
    "MEMORY_NEEDED",
    "NotEnoughMemory",
    "PatientClient",
    "Reservation",
    "dead_kernel_report",
    "kernel_arguments",
    "kernel_environment",
    "kernel_exitcode",
    "tree_bytes",
    "use_socket_files",
]

# The one environment in which outputs are saved and compared; a variant adds its own.
KERNEL_ENVIRONMENT: Mapping[str, str] = {
    "COURSE_ONLINE": "0",
    "COURSE_INTERACTIVE": "0",
    # These kernels solve every exercise; nobody's progress shall show it.
    "COURSE_PROGRESS": "off",
    # Committed outputs come from a CPU: a GPU's last digits differ.
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    # Without a fixed name a warning prints a random path of a temporary file.
    "IPYKERNEL_CELL_NAME": "<cell>",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# Variables of the caller's shell that would change what is printed or tested.
_FOREIGN = (
    *("MPLBACKEND", "OMP_NUM_THREADS", "PYTHONWARNINGS", "COLUMNS", "LINES"),
    *("COURSE_ASSERTIONS", "COURSE_JITTER", "COURSE_SABOTAGE"),
    *("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"),
    *("DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "TF_ENABLE_ONEDNN_OPTS"),
)

# In-memory history: executing a notebook leaves nothing in the user's IPython history.
KERNEL_ARGUMENTS = ["--HistoryManager.hist_file=:memory:"]
_STARTUP = Path(__file__).with_name("kernel_startup.py")

MEMORY_NEEDED = 3 * 2**30  # bytes; no notebook uses more
_SETTLED = 60  # seconds after which memory that is missing will not come back by itself
_LONGEST_WAIT = 1800  # seconds for other kernels to end


class NotEnoughMemory(RuntimeError):
    """A kernel was not started: too little memory is free."""


class _PatientChannel(AsyncZMQSocketChannel):
    """A channel that looks for messages itself, and does not only wait to be woken.

    jupyter_client sends past the asyncio socket that waits for replies; a reply that
    comes while an Output widget's message leaves wakes nobody (its pull request 1059).
    """

    async def get_msg(  # type: ignore[override]  # as in jupyter_client
        self, timeout: float | None = None
    ) -> dict[str, Any]:
        """The next message; raises `queue.Empty` after ``timeout`` seconds."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                message: dict[str, Any] = await super().get_msg(max(0, min(1, left)))
                return message
            except Empty:
                if left <= 1:
                    raise


class PatientClient(AsyncKernelClient):
    """The client of a kernel; a reply that woke nobody is found a second later."""

    shell_channel_class = Type(_PatientChannel)


def kernel_environment(variant: Variant) -> dict[str, str]:
    """The whole environment of a kernel whose outputs are saved or compared."""
    inherited = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    return {**inherited, **KERNEL_ENVIRONMENT, **variant.variables()}


def kernel_arguments(variant: Variant) -> list[str]:
    """The arguments of such a kernel; it reads its variant when it starts."""
    programs = [_STARTUP, *([variant.startup] if variant.startup else [])]
    run = "__import__('runpy').run_path({!r})"
    lines = [run.format(str(program)) for program in programs]
    return [*KERNEL_ARGUMENTS, *(f"--IPKernelApp.exec_lines={line}" for line in lines)]


def tree_bytes(pid: int) -> int:
    """Resident memory of process ``pid`` and its descendants, in bytes."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:
        pass  # the process ended while it was being measured
    return total


class Reservation:
    """Memory for one kernel, waited for: all processes of this user share the queue.

    A kernel grows slowly, so what the others have not yet taken of their share counts
    as taken. Use it in a ``with`` block around the kernel's life, or call ``release``.

    Raises:
        NotEnoughMemory: too little is free, and no other kernel is there to end, or
            none ended in half an hour.
    """

    def __init__(self, folder: Path | None = None, needed: int = MEMORY_NEEDED) -> None:
        self._folder = folder or Path(tempfile.gettempdir(), f"course-{_user()}")
        self._needed = needed
        self._folder.mkdir(parents=True, exist_ok=True)
        owner, born = os.getpid(), int(psutil.Process().create_time())
        self._file = self._folder / f"{owner}-{born}-{uuid.uuid4().hex}"
        begin = time.monotonic()
        while not self._taken():
            waited = time.monotonic() - begin
            alone = not list(self._folder.glob("*-*-*"))
            if waited > _LONGEST_WAIT or (alone and waited > _SETTLED):
                free = psutil.virtual_memory().available / 2**30
                raise NotEnoughMemory(
                    f"A notebook needs {needed / 2**30:.1f} GiB of memory and "
                    f"{free:.1f} GiB are free: close other programs and try again."
                )
            time.sleep(0.5)

    def _taken(self) -> bool:
        with FileLock(self._folder / "lock"):
            promised = 0
            for other in self._folder.glob("*-*-*"):
                with contextlib.suppress(FileNotFoundError):  # released meanwhile
                    if _owner_lives(other):
                        pid = other.read_text("utf-8")
                        used = tree_bytes(int(pid)) if pid else 0
                        promised += max(0, self._needed - used)
                    else:
                        other.unlink()
            if psutil.virtual_memory().available - promised < self._needed:
                return False
            self._file.touch()
            return True

    def used_by(self, pid: int) -> None:
        """Say which process the memory went to."""
        self._file.write_text(str(pid), "utf-8")

    def release(self) -> None:
        """Give the place in the queue back; may be called twice."""
        self._file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _owner_lives(reservation: Path) -> bool:
    owner, born, _ = reservation.name.split("-")
    try:
        return int(psutil.Process(int(owner)).create_time()) == int(born)
    except psutil.NoSuchProcess:
        return False


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ["USERNAME"]


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
