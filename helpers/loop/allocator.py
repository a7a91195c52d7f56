"""Keep freed memory while a model computes on the CPU.

PyTorch caches a GPU's memory between steps, but on a CPU it asks the C library for
every activation. glibc gives large blocks back to Linux at once, which clears and maps
the same pages again a moment later: thousands of page faults in every step of a CNN.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["keep_freed_memory"]

# Parameters of mallopt, from <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER_TRIM = -1
# Where glibc's own adjustment ends, and its default number of mapped blocks.
_USUAL = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20, _MMAP_MAX: 65_536}

_users = 0


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc; others, and other systems, are left alone."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """While active, freed memory stays with the process; at the end it is given back.

    May be nested. Without glibc it does nothing.
    """
    global _users
    library = _glibc()
    if library is None:
        yield
        return
    _users += 1
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            for parameter, value in _USUAL.items():
                library.mallopt(parameter, value)
            library.malloc_trim(0)
