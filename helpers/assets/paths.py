"""Where the course keeps what it downloads: the single definition of these folders."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """Folder of everything downloaded: ``$COURSE_CACHE``, or ``data/cache``.

    A relative ``$COURSE_CACHE`` starts at the repository, because notebooks and
    commands run in different folders.
    """
    chosen = os.environ.get("COURSE_CACHE") or "data/cache"
    return (REPOSITORY / Path(chosen).expanduser()).resolve()


def data_root() -> Path:
    """Folder of the data sets; torchvision calls it ``root``."""
    return cache_root() / "datasets"


def manifest_path() -> Path:
    """The list of assets, ``data/assets.toml``."""
    return REPOSITORY / "data" / "assets.toml"
