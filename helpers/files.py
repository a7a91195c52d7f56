"""Replace a file in one go: after a crash there is the old one or the new one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["replacing", "tidy"]

_TEMPORARY = ".saving-{pid}-{name}"
_LEFTOVER = re.compile(r"\.saving-(\d+)-.+")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what was written there replaces it.

    The folder is made if need be. After an error the temporary file is deleted, and
    ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = _TEMPORARY.format(pid=os.getpid(), name=path.name)
    temporary = path.with_name(name)
    try:
        yield temporary
        # Windows can sync only what is open for writing.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Delete what processes that were killed while writing left in ``folder``."""
    for file in folder.glob(".saving-*"):
        named = _LEFTOVER.fullmatch(file.name)
        # In a container, today's process may well have yesterday's number.
        pid = int(named[1]) if named else os.getpid()
        if pid == os.getpid() or not psutil.pid_exists(pid):
            file.unlink(missing_ok=True)
