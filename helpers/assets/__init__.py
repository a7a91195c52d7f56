"""Real weights and data: one manifest, one way to fetch, one small recipe a kind.

``python -m helpers fetch`` is the command behind it. This package knows nothing of the
rest of the course, and importing it imports no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    ArchiveError,
    AssetError,
    DownloadError,
    ManifestError,
    MissingAsset,
    NoNetwork,
)
from .paths import cache_root, data_root, manifest_path

if TYPE_CHECKING:
    from .fetch import Report as Report
    from .fetch import fetch as fetch
    from .fetch import require as require
    from .manifest import Asset as Asset
    from .manifest import load_manifest as load_manifest
    from .store import state as state
    from .store import verify as verify

# Loaded when first used, because `import helpers` passes through here.
_HOME = {
    "Asset": "manifest",
    "Report": "fetch",
    "fetch": "fetch",
    "load_manifest": "manifest",
    "require": "fetch",
    "state": "store",
    "verify": "store",
}
__all__ = [
    "ArchiveError",
    "Asset",
    "AssetError",
    "DownloadError",
    "ManifestError",
    "MissingAsset",
    "NoNetwork",
    "Report",
    "cache_root",
    "data_root",
    "fetch",
    "load_manifest",
    "manifest_path",
    "require",
    "state",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"helpers.assets has no {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
