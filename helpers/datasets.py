"""Ready data sets with fixed splits. Every notebook that needs data starts here.

Each function raises `helpers.assets.MissingAsset`, naming the command that fetches the
data, if they are not there. The splits "train", "valid" and "test" share no item and
are the same everywhere: an item's SHA-256 decides, not chance and not file order.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets import MNIST, ImageFolder

from helpers.assets import data_root, require
from helpers.assets.paths import REPOSITORY, command
from helpers.assets.recipes.splits import SPLITS
from helpers.loop.arguments import check_counts

_MNIST_VALID = 500  # digits of each class
_REVIEWS = ("rotten-tomatoes", "imdb")
_LABELS = REPOSITORY / "data" / "labels"


@dataclass(frozen=True, repr=False)
class Texts(Dataset[tuple[str, int]]):
    """Labelled texts: ``data[i]`` is ``(text, label)``; ``names[label]`` names a label.

    Attributes:
        texts: n strings. The first hundred may lean to one class: draw a random sample.
        labels: (n,) int64.
        names: the classes in alphabetical order.
    """

    texts: list[str]
    labels: Tensor
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], int(self.labels[index])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self.texts, self.labels.tolist(), strict=True)

    def __repr__(self) -> str:
        return f"Texts({len(self)} texts, {len(self.names)} classes)"


@dataclass(frozen=True, repr=False)
class Pairs(Dataset[tuple[str, str]]):
    """Sentences in two languages: ``data[i]`` is ``(English, Chinese)``.

    Attributes:
        en, zh: n strings each; any first k of them are a fair sample.
        integrations: where each comes from.
    """

    en: list[str]
    zh: list[str]
    integrations: list[str]

    def __len__(self) -> int:
        return len(self.en)

    def __getitem__(self, index: int) -> tuple[str, str]:
        return self.en[index], self.zh[index]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.en, self.zh, strict=True)

    def __repr__(self) -> str:
        return f"Pairs({len(self)} pairs, {len(set(self.integrations))} integrations)"


@dataclass(frozen=True, repr=False)
class Photos:
    """Labelled pictures of any size.

    Attributes:
        images: n PIL images in RGB.
        labels: (n,) int64.
        names: all classes of the labels (1,000 for ImageNet); ``names[labels[i]]``.
    """

    images: list[Image.Image]
    labels: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Photos({len(self)} images, {len(self.names)} classes)"


@dataclass(frozen=True)
class LabelledSentence:
    """A sentence with its entities, ``(start, end, label)``: ``text[start:end]``."""

    text: str
    entities: list[tuple[int, int, str]]
    source: str  # "imdb", "rotten-tomatoes" (no capitals) or "sms-spam"


def mnist(split: str, limit: int | None = None) -> TensorDataset:
    """MNIST digits as tensors in memory. Taught in notebook 08.

    Args:
        split: "train" (55,000), "valid" (5,000: 500 of each digit), "train+valid" (the
            official 60,000 in their order) or "test" (the official 10,000).
        limit: keep this many, drawn fairly (the test file's first half is easier than
            its second) and always the same; a larger sample contains the smaller one.

    Returns:
        images (n, 1, 28, 28) float32 in [0, 1], labels (n,) int64.
    """
    _check_split(split, (*SPLITS, "train+valid"))
    require("mnist")
    data = MNIST(data_root(), train=split != "test")
    labels = data.targets.long()
    wanted = list(range(len(labels)))
    if split in ("train", "valid") or limit is not None:
        digests = [hashlib.sha256(row.tobytes()).digest() for row in data.data.numpy()]
        order = sorted(wanted, key=digests.__getitem__)
        if split in ("train", "valid"):
            valid = _first_of_each(order, labels.tolist(), _MNIST_VALID)
            order = [i for i in order if (i in valid) == (split == "valid")]
        if split == "train":
            # From the end: the rare digits near the front all went to "valid".
            order.reverse()
        wanted = sorted(order[: _limited(limit, len(order))])
    chosen = torch.as_tensor(wanted)
    images = data.data[chosen].float().div_(255).unsqueeze_(1)
    return TensorDataset(images, labels[chosen])


def openmoji(
    split: str, transform: Callable[[Image.Image], Any] | None = None
) -> ImageFolder:
    """Emoji drawings (RGB, 96 x 96) in six classes: 599, 99 and 300. See notebook 09.

    Classes: activities, animals, food, objects, smileys, travel; the smallest has 52
    training pictures, the largest 153.
    """
    _check_split(split)
    return ImageFolder(str(require("openmoji") / split), transform=transform)


def openmoji_names(split: str | None = None) -> pd.DataFrame:
    """Names of the drawings: file, split, category, emoji, codepoints, en, zh, de, …

    The rows of one split are in the order of `openmoji`; without ``split``, all rows.
    """
    path = require("openmoji") / "names.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if split is None:
        return table
    _check_split(split)
    return table[table["split"] == split].reset_index(drop=True)


def openmoji_signs(split: str | None = None) -> pd.DataFrame:
    """All 1,849 signs: file, split, category (nine), emoji, en, zh, keywords, path.

    Pictures of 224 x 224 lie at ``path``. `openmoji`'s drawings keep their split; flags
    and people with a sibling of another gender are all in "train". See notebook 18.
    """
    folder = require("openmoji")
    table = pd.read_csv(folder / "signs.csv", dtype=str, keep_default_na=False)
    table["path"] = [str(folder / file) for file in table["file"]]
    if split is None:
        return table
    _check_split(split)
    return table[table["split"] == split].reset_index(drop=True)


def newsgroups(split: str, limit: int | None = None) -> Texts:
    """Posts to 20 newsgroups: 10,106, 1,120 and 7,489; the test posts are later ones.

    The texts are lower-case letters without line breaks, the subject first. Headers are
    gone and the line that introduces a quote is cut; signatures cannot be told apart.
    """
    return _texts("newsgroups", split, limit)


def movie_reviews(
    split: str, source: str = "rotten-tomatoes", limit: int | None = None
) -> Texts:
    """Film reviews, half negative, half positive.

    Args:
        split: "train", "valid" or "test".
        source: "rotten-tomatoes" (one sentence each: 6,000, 530 and 2,000) or "imdb"
            (230 words on average: 17,432, 2,490 and 4,980).
        limit: keep only the first so many.
    """
    if source not in _REVIEWS:
        raise ValueError(f"source={source!r}: choose 'rotten-tomatoes' or 'imdb'.")
    return _texts("movie-reviews", split, limit, source)


def sms_spam(split: str, limit: int | None = None) -> Texts:
    """Text messages, "ham" or "spam" (one in eight): 2,720, 453 and 1,360.

    Messages that occur twice are kept once, so no test message was seen in training.
    """
    return _texts("sms-spam", split, limit)


def ui_translations(
    split: str, limit: int | None = None, by: str = "integration"
) -> Pairs:
    """Interface texts in English and Chinese: 21,836, 653 and 1,696. See notebook 14.

    Args:
        split: "train", "valid" or "test".
        limit: keep only the first so many.
        by: "integration" splits whole integrations (Home Assistant's word for what
            talks to one product) and leaves out of "valid" and "test" what has a
            near-duplicate in "train". "text" deals out single texts, in the same
            numbers: the common slip, because the splits then share their phrases.
    """
    _check_split(split)
    if by not in ("integration", "text"):
        raise ValueError(f"by={by!r}: choose 'integration' or 'text'.")
    table = pd.read_csv(
        require("ui-translations") / "pairs.csv", dtype=str, keep_default_na=False
    )
    rows = table[table["split"] == split]
    if by == "text":
        order = SPLITS[::-1]  # the file is in the order of the pairs' hashes
        before = table["split"].isin(order[: order.index(split)]).sum()
        rows = table.iloc[before : before + len(rows)]
    rows = rows.iloc[: _limited(limit, len(rows))]
    return Pairs(*(rows[name].tolist() for name in ("en", "zh", "integration")))


def photos(collection: str = "imagenet") -> Photos:
    """Twenty labelled photos of ImageNet, or twenty pictures (32 x 32) of "cifar10".

    ``names`` are torchvision's class names, so a model's ``argmax`` indexes them.
    """
    if collection == "imagenet":
        from torchvision.models import MobileNet_V2_Weights

        names = list(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    elif collection == "cifar10":
        names = [
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ]
    else:
        raise ValueError(f"collection={collection!r}: choose 'imagenet' or 'cifar10'.")
    folder = require("photos")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["file"].startswith(collection)]
    images = []
    for row in rows:
        with Image.open(folder / row["file"]) as image:
            images.append(image.convert("RGB"))
    return Photos(images, torch.tensor([int(row["label"]) for row in rows]), names)


def labelled_entities(split: str, labels: str = "agreed") -> list[LabelledSentence]:
    """Sentences with hand-labelled entities: 45 of "valid", 180 of "test".

    The labels are PERSON, ORG, PLACE, DATE and WORK_OF_ART; data/labels/README.md says
    where each begins and ends. Taught in notebook 14.

    Args:
        split: the sentences of "test" come from the test parts of reviews and messages.
        labels: "agreed", or what the "first" or the "second" reading alone said.

    Raises:
        ValueError: an installed text is not the one that was labelled.
    """
    _check_split(split, ("valid", "test"))
    if labels not in ("agreed", "first", "second"):
        raise ValueError(f"labels={labels!r}: choose 'agreed', 'first' or 'second'.")
    lines = (_LABELS / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == split]
    texts = {
        hashlib.sha256(text.encode()).hexdigest(): text
        for data in (sms_spam(split), *(movie_reviews(split, s) for s in _REVIEWS))
        for text in data.texts
    }
    if lost := [row for row in rows if row["sha256"] not in texts]:
        raise ValueError(
            f"{len(lost)} of {len(rows)} labelled sentences are not in the installed "
            f"{lost[0]['source']} ({split}): no text there has the SHA-256 "
            f"{lost[0]['sha256'][:12]}…, so these texts are not the ones that were "
            f"labelled. To look for damage: {command('fetch', '--verify')}"
        )
    return [
        LabelledSentence(
            texts[row["sha256"]][row["start"] : row["end"]],
            [(start, end, label) for start, end, label in row[labels]],
            row["source"],
        )
        for row in rows
    ]


def course_passages(least: int = 40) -> pd.DataFrame:
    """Markdown cells of notebooks 01 to 12: columns notebook, cell, text.

    A copy, so that editing one notebook does not move the results of another.
    Without cells of fewer than ``least`` words and exercises. Taught in notebook 14.
    """
    check_counts(least=least)
    table = pd.read_json(_LABELS / "course.jsonl", lines=True, dtype=False)
    long = table["text"].str.split().map(len) >= least
    exercise = table["text"].str.contains(r"(?m)^(?:\*\*|### )\d\d\.\d · ")
    return table[long & ~exercise].reset_index(drop=True)


def course_questions(split: str) -> pd.DataFrame:
    """Questions about the course and where it answers them: 15 "valid", 82 "test".

    Columns: question; notebook; cells, a list of one to three ids of `course_passages`,
    each of which answers it; evidence, for each cell the words that do; answers, a list
    of accepted wordings, the first one quoted from the first cell. See notebook 14.
    """
    _check_split(split, ("valid", "test"))
    table = pd.read_json(_LABELS / "questions.jsonl", lines=True, dtype=False)
    return table[table.pop("split") == split].reset_index(drop=True)


def _texts(asset: str, split: str, limit: int | None, part: str = ".") -> Texts:
    _check_split(split)
    path = require(asset) / part / f"{split}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    names = sorted({label for _, label in rows})
    number = {name: index for index, name in enumerate(names)}
    rows = rows[: _limited(limit, len(rows))]
    labels = torch.tensor([number[label] for _, label in rows])
    return Texts([text for text, _ in rows], labels, names)


def _first_of_each(order: list[int], labels: list[int], count: int) -> set[int]:
    """The first ``count`` items of each class in ``order``."""
    left = dict.fromkeys(set(labels), count)
    chosen = set()
    for index in order:
        if left[labels[index]]:
            left[labels[index]] -= 1
            chosen.add(index)
    return chosen


def _check_split(split: str, valid: tuple[str, ...] = SPLITS) -> None:
    if split not in valid:
        raise ValueError(
            f"split={split!r}: choose one of {', '.join(map(repr, valid))}."
        )


def _limited(limit: int | None, size: int) -> int:
    if limit is None:
        return size
    check_counts(most=size, limit=limit)
    return limit
