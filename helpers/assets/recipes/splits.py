"""Fixed splits: an item's place is decided by the SHA-256 of its contents alone."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

SPLITS = ("train", "valid", "test")


def split_by_hash(
    keys: Sequence[str], labels: Sequence[str], shares: Mapping[str, int]
) -> list[str]:
    """Name of the split of each item, stratified by label.

    ``keys`` are the contents and must differ. ``shares`` are parts of their sum, for
    example ``{"train": 60, "valid": 10, "test": 30}``; within each label the items are
    sorted by hash and dealt out in the order of ``shares``.
    """
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise ValueError(f"keys must be unique, but {twice[0][:60]!r} occurs twice")
    groups: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        groups[label].append(index)
    total = sum(shares.values())
    result = [""] * len(keys)
    for members in groups.values():
        members.sort(key=lambda index: hashlib.sha256(keys[index].encode()).digest())
        done, begin = 0, 0
        for split, share in shares.items():
            done += share
            end = round(Fraction(done * len(members), total))
            for index in members[begin:end]:
                result[index] = split
            begin = end
    return result


def write_splits(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str],
) -> None:
    """Write ``train.csv``, ``valid.csv`` and ``test.csv`` with columns text, label.

    The rows are in the order of the text's hash, so that any first n are a fair sample.
    """
    folder.mkdir(parents=True)
    order = sorted(
        range(len(texts)), key=lambda i: hashlib.sha256(texts[i].encode()).digest()
    )
    for split in SPLITS:
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["text", "label"])
            rows.writerows((texts[i], labels[i]) for i in order if splits[i] == split)
