"""Labelled photos: 20 of ImageNet, 20 of CIFAR-10. The file name ends in the label."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from ..manifest import Asset


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``imagenet/``, ``cifar10/`` and ``labels.csv`` (file, label)."""
    target.mkdir()
    with (target / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "label"])
        for item in sorted(asset.files, key=lambda item: item.path):
            collection, number, label = Path(item.path).stem.split("_")
            name = f"{collection}/{number}{Path(item.path).suffix}"
            (target / collection).mkdir(exist_ok=True)
            os.rename(source / item.path, target / name)
            rows.writerow([name, label])
