"""A file, or a folder of files, that is used as it is."""

from __future__ import annotations

import os
from pathlib import Path

from ..manifest import Asset


def build(asset: Asset, source: Path, target: Path) -> None:
    """One inner file becomes ``target`` itself; several become a folder."""
    first, *others = asset.files
    several = others or first.count is not None
    os.rename(source if several else source / first.path, target)
