"""A file, or a folder of files, that is used as it is."""

from __future__ import annotations

import os
from pathlib import Path

from ..manifest import Asset


def build(asset: Asset, source: Path, target: Path) -> None:
    """One inner file becomes ``target`` itself; several become a folder."""
    os.rename(source / asset.files[0].path if len(asset.files) == 1 else source, target)
