"""User-interface texts in English and simplified Chinese, split by whole integrations.

An integration is the part of Home Assistant that talks to one product; its texts repeat
each other, and those of others less so. Every text that has a near-duplicate in the
training part is therefore left out of the other two.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..manifest import Asset
from .splits import SPLITS, split_by_hash

SHARES = {"train": 84, "valid": 5, "test": 11}  # of the integrations
NEAR = 0.9  # cosine from which two English texts count as the same
LONGEST = 160  # characters of the English text

_PLACEHOLDER = re.compile(r"\{\w+\}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_MARKUP = re.compile(r"\*\*|`|_(?=\W)|(?<=\W)_")
_REFUSED = re.compile(r"[{}<>\[\]\n\\]|://|\*|%\w")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_NAMES = "XYZ"


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``pairs.csv``: split, integration, en, zh; a pair occurs once.

    ``split`` is empty for what was left out as a near-duplicate. The rows are in the
    order of the pair's hash, so that any first n of a split are a fair sample.
    """
    found: dict[str, dict[tuple[str, str], None]] = {}
    for path in sorted(source.glob("*/translations/en.json")):
        english = dict(_texts(json.loads(path.read_text(encoding="utf-8"))))
        other = path.with_name("zh-Hans.json").read_text(encoding="utf-8")
        chinese = dict(_texts(json.loads(other)))
        pairs = (
            plain(text, chinese[key]) for key, text in english.items() if key in chinese
        )
        found[path.parts[-3]] = dict.fromkeys(pair for pair in pairs if pair)
    names = sorted(found)
    dealt = split_by_hash(names, [""] * len(names), SHARES)
    rows: dict[tuple[str, str], tuple[str, str]] = {}
    for split in SPLITS:  # a pair that also occurs in training belongs there
        for name in (n for n, own in zip(names, dealt, strict=True) if own == split):
            for pair in found[name]:
                rows.setdefault(pair, (split, name))
    _leave_out_near_duplicates(rows)
    target.mkdir(parents=True)
    with (target / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "integration", "en", "zh"])
        table.writerows((*rows[pair], *pair) for pair in sorted(rows, key=_digest))


def plain(english: str, chinese: str) -> tuple[str, str] | None:
    """The pair without markup, or None for what is no sentence to translate.

    Placeholders become X, Y, Z: "Open {name}" is "Open X". Both sides must have the
    same ones.
    """
    names = list(dict.fromkeys(_PLACEHOLDER.findall(english)))
    if set(names) != set(_PLACEHOLDER.findall(chinese)) or len(names) > len(_NAMES):
        return None
    sides = []
    for text in (english, chinese):
        for name, letter in zip(names, _NAMES, strict=False):
            text = text.replace(name, letter)
        text = _MARKUP.sub("", _LINK.sub(r"\1", text))
        sides.append(" ".join(text.split(" ")).strip())
    en, zh = sides
    if not re.search("[A-Za-z]{2}", en) or not _CHINESE.search(zh) or en == zh:
        return None
    if len(en) > LONGEST or _REFUSED.search(en) or _REFUSED.search(zh):
        return None
    return en, zh


def _texts(tree: dict[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{place}/{key}")
        else:
            yield f"{place}/{key}", str(value)


def _leave_out_near_duplicates(rows: dict[tuple[str, str], tuple[str, str]]) -> None:
    """Empty the split of each held-out pair whose English is nearly one in training."""
    train = [en for (en, _), (split, _) in rows.items() if split == "train"]
    for split in SPLITS[1:]:
        mine = sorted((p for p in rows if rows[p][0] == split), key=_digest)
        near = nearest([en for en, _ in mine], train)
        seen: set[str] = set()
        for pair, cosine in zip(mine, near, strict=True):
            if cosine >= NEAR or pair[0] in seen:
                rows[pair] = ("", rows[pair][1])
            seen.add(pair[0])


def nearest(texts: Sequence[str], others: Sequence[str]) -> list[float]:
    """Largest cosine of each text to one of ``others``: TF-IDF of letters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))
    matrix = letters.fit_transform(others).T.tocsr()
    vectors = letters.transform(texts)
    result: list[float] = []
    for start in range(0, len(texts), 500):
        cosines = vectors[start : start + 500] @ matrix
        result += cosines.max(axis=1).toarray().ravel().tolist()
    return result


def _digest(pair: tuple[str, str]) -> bytes:
    return hashlib.sha256("\n".join(pair).encode()).digest()
