"""The system's Chromium, for tests that look at what a reader sees."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["browser"]

_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a headless Chromium; skip the test where the system has none."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this system: what a browser shows is not checked")
    # As root, in a container, Chromium starts only without its own one.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as playing:
        started = playing.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if root else []
        )
        try:
            yield started
        finally:
            started.close()
