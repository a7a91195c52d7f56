"""Text messages, ham or spam; messages that occur twice are kept once."""

from __future__ import annotations

import html
from pathlib import Path

from ..manifest import Asset
from .splits import split_by_hash, write_splits


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``{train,valid,test}.csv`` in the shares 60, 10 and 30."""
    unique: dict[str, tuple[str, str]] = {}
    lines = (source / asset.files[0].path).read_text(encoding="utf-8").splitlines()
    for line in lines:
        label, text = line.split("\t", 1)
        text = html.unescape(text).strip()
        # Two messages that differ only in case or spacing count as one.
        unique.setdefault(" ".join(text.casefold().split()), (text, label))
    texts = [text for text, _ in unique.values()]
    labels = [label for _, label in unique.values()]
    shares = {"train": 60, "valid": 10, "test": 30}
    write_splits(target, texts, labels, split_by_hash(texts, labels, shares))
