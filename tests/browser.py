"""The system's Chromium, for tests that look at what a reader sees."""

from __future__ import annotations

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
    with playwright.sync_playwright() as playing:
        started = playing.chromium.launch(executable_path=program)
        try:
            yield started
        finally:
            started.close()
