"""Film reviews: IMDB (long) and Rotten Tomatoes (a sentence), with fixed splits."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from ..manifest import Asset
from .splits import split_by_hash, write_splits

_SHARES = {
    "rotten-tomatoes": {"train": 6000, "valid": 530, "test": 2000},
    "imdb": {"train": 70, "valid": 10, "test": 20},
}
_LABELS = {"0": "negative", "1": "positive"}
_BREAK = re.compile(r"\s*(<br\s*/?>\s*)+")


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``SOURCE/{train,valid,test}.csv``; equal texts are kept once."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reviews: dict[str, dict[str, str]] = {name: {} for name in _SHARES}
    path = source / asset.files[0].path
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # IMDB's line breaks arrive as HTML.
            text = _BREAK.sub("\n", row["text"]).strip()
            reviews[row["source"].replace("_", "-")][text] = _LABELS[row["label"]]
    for name, shares in _SHARES.items():
        texts, labels = list(reviews[name]), list(reviews[name].values())
        splits = split_by_hash(texts, labels, shares)
        write_splits(target / name, texts, labels, splits)
