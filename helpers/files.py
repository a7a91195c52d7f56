"""Replace a file in one go, and clear away what killed processes left half-done."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["remove_leftovers", "replacing", "temporary_prefix"]

_SAVING = ".saving"
_OWNED = re.compile(r"[^@]+@(?P<host>[^@]*)@(?P<pid>\d+)@.*")
_DAY = 24 * 60 * 60.0
# Seconds by which a file server's clock may differ from this machine's.
_CLOCKS = 60.0


def temporary_prefix(kind: str) -> str:
    """How names of this process's temporary files begin: kind, host, process."""
    return f"{kind}@{_host()}@{os.getpid()}@"


def _host() -> str:
    return socket.gethostname().replace("@", "_")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what was written there replaces it.

    The folder is made if need be. After an error the temporary file is deleted, and
    ``path`` is as it was: after a crash there is the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_prefix(_SAVING) + path.name)
    try:
        yield temporary
        # Windows can sync only what is open for writing.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, kind: str = _SAVING) -> None:
    """Delete what killed processes left in ``folder`` under a temporary name.

    What a living process of this machine works on stays, and so does what cannot be
    deleted, as on a read-only disk. Other machines' processes cannot be seen: theirs
    stays for a day after the last change.

    Args:
        kind: as given to :func:`temporary_prefix`; "*" for every kind.
    """
    for path in folder.glob(f"{kind}@*"):
        owner = _OWNED.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if owner and _is_leftover(path, owner["host"], int(owner["pid"])):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _is_leftover(path: Path, host: str, pid: int) -> bool:
    changed = path.stat().st_mtime
    if host != _host():
        return changed < time.time() - _DAY
    try:
        process = psutil.Process(pid)
        # In a container, today's process may well have yesterday's number.
        reused = changed < process.create_time() - _CLOCKS
        return reused or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
