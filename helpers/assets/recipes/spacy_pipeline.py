"""A trained spaCy pipeline: the folder that ``spacy.load(path)`` reads."""

from __future__ import annotations

import os
from pathlib import Path

from ..manifest import Asset
from .card import write_card


def build(asset: Asset, source: Path, target: Path) -> None:
    """Use the inner files as they are and add a card."""
    os.rename(source, target)
    write_card(asset, target)
