"""20 Newsgroups, the split by date. The archive's texts are lower-case letters only.

The header lines (but not the subject) are already gone, and so are the line breaks, by
which quotes and signatures are usually found. What can still be found is the line that
introduces a quote, "in article … someone writes", with names and hosts that give the
topic away; it is cut.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..manifest import Asset
from .splits import split_by_hash, write_splits

_ATTRIBUTION = re.compile(
    r"\bin (?:article|message|posting|news)\b.{0,150}?\b(?:writes|wrote|says|said)\b"
)
_SHORTEST = 10  # words; what is shorter is mostly "test" and "subscribe"


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``{train,valid,test}.csv``; a tenth of the training posts are "valid"."""
    train = _read(source / "20newsgroups-train.tab")
    test = _read(source / "20newsgroups-test.tab")
    for text in test.keys() & train.keys():
        del train[text]
    shares = {"train": 90, "valid": 10}
    splits = split_by_hash(list(train), list(train.values()), shares)
    write_splits(
        target,
        [*train, *test],
        [*train.values(), *test.values()],
        [*splits, *["test"] * len(test)],
    )


def _read(path: Path) -> dict[str, str]:
    """{text: topic} of a tab-separated file whose first three lines are a header."""
    posts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").split("\n")[3:]:
        if line:
            topic, text = line.split("\t", 1)
            words = _ATTRIBUTION.sub(" ", text).split()
            if len(words) >= _SHORTEST:
                posts.setdefault(" ".join(words), topic)
    return posts
