"""The ready data sets: counts, ranges, and splits that are fixed and disjoint."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from helpers import datasets
from helpers.assets import MissingAsset
from helpers.assets.paths import command
from helpers.assets.recipes.ui_translations import nearest
from helpers.datasets import SPLITS, Texts

TEXTS: dict[str, tuple[Callable[[str], Texts], list[int], int, str]] = {
    "newsgroups": (datasets.newsgroups, [10_106, 1_120, 7_489], 20, "89d59227"),
    "rotten tomatoes": (datasets.movie_reviews, [6_000, 530, 2_000], 2, "3244085b"),
    "imdb": (
        partial(datasets.movie_reviews, source="imdb"),
        [17_432, 2_490, 4_980],
        2,
        "c055e098",
    ),
    "sms": (datasets.sms_spam, [2_720, 453, 1_360], 2, "236127d5"),
}


def digest(items: list[bytes]) -> str:
    return hashlib.sha256(b"\0".join(items)).hexdigest()[:8]


def rows(images: Tensor) -> list[bytes]:
    """Each image's 784 bytes."""
    pixels = (images * 255).round().to(torch.uint8).flatten(1).numpy()
    return [row.tobytes() for row in pixels]


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    load, counts, classes, expected = TEXTS[name]
    parts = {split: load(split) for split in SPLITS}
    assert [len(part) for part in parts.values()] == counts
    everything = [text for part in parts.values() for text in part.texts]
    assert len(set(everything)) == len(everything), "splits share a text"
    assert digest([text.encode() for text in everything]) == expected
    assert all(text.strip() == text != "" for text in everything)
    for part in parts.values():
        assert part.labels.dtype == torch.int64
        assert part.labels.unique().tolist() == list(range(classes))
        assert len(part.names) == classes
        assert part.names == sorted(part.names)


def test_texts_are_a_dataset() -> None:
    data = datasets.sms_spam("train", limit=100)
    assert (len(data), data.names) == (100, ["ham", "spam"])
    assert data[3] == (data.texts[3], int(data.labels[3]))
    texts, labels = next(iter(DataLoader(data, batch_size=8)))
    assert list(texts) == data.texts[:8]
    assert torch.equal(labels, data.labels[:8])
    assert dict(data) == dict(zip(data.texts, data.labels.tolist(), strict=True))
    assert repr(data) == "Texts(100 texts, 2 classes)"
    assert datasets.sms_spam("train").texts[:100] == data.texts


def test_interface_texts() -> None:
    parts = {split: datasets.ui_translations(split) for split in SPLITS}
    assert [len(part) for part in parts.values()] == [21_836, 653, 1_696]
    everything = ["\t".join(pair) for part in parts.values() for pair in part]
    assert digest([line.encode() for line in everything]) == "492cc65b"
    seen: dict[str, str] = {}
    for split, part in parts.items():
        assert {seen.setdefault(name, split) for name in part.integrations} == {split}
        assert part[0] == (part.en[0], part.zh[0]) == next(iter(part))
        assert re.fullmatch(r"Pairs\([\d]+ pairs, \d+ integrations\)", repr(part))
    for split in ("valid", "test"):
        held_out = parts[split].en
        assert len(set(held_out)) == len(held_out)
        assert max(nearest(held_out, parts["train"].en)) < 0.9
    assert datasets.ui_translations("test", limit=7).zh == parts["test"].zh[:7]


def test_single_texts_dealt_out_leak() -> None:
    by_text = {s: datasets.ui_translations(s, by="text") for s in SPLITS}
    assert [len(part) for part in by_text.values()] == [21_836, 653, 1_696]
    pairs = [pair for part in by_text.values() for pair in part]
    assert len(set(pairs)) == len(pairs)
    train, test = by_text["train"], by_text["test"]
    shared = set(train.integrations) & set(test.integrations)
    assert len(shared) > 0.9 * len(set(test.integrations))
    near = nearest(test.en[:300], train.en)
    assert sum(cosine > 0.8 for cosine in near) > 60
    with pytest.raises(ValueError, match="by='word': choose 'integration' or 'text'"):
        datasets.ui_translations("test", by="word")


def test_the_first_reviews_are_a_balanced_sample() -> None:
    share = datasets.movie_reviews("train", limit=500).labels.float().mean()
    assert 0.4 < share < 0.6


def test_mnist_splits() -> None:
    parts = {split: datasets.mnist(split).tensors for split in SPLITS}
    assert [len(images) for images, _ in parts.values()] == [55_000, 5_000, 10_000]
    seen: dict[bytes, str] = {}
    for split, (images, labels) in parts.items():
        assert images.shape[1:] == (1, 28, 28)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert (images.min(), images.max()) == (0, 1)
        for row in rows(images):
            assert seen.setdefault(row, split) == split
    assert parts["valid"][1].bincount().tolist() == [500] * 10
    assert digest(rows(parts["valid"][0])) == "d5811670"


def test_mnist_whole_and_limited() -> None:
    images, labels = datasets.mnist("train+valid").tensors
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]  # the official order
    assert len(images) == 60_000
    small, large = (set(rows(datasets.mnist("test", n).tensors[0])) for n in (50, 100))
    assert small < large
    assert len(large) == 100
    assert digest(sorted(large)) == "1b6c965a"
    for split, limit in itertools.product((*SPLITS, "train+valid"), (200, 2_000)):
        _, labels = datasets.mnist(split, limit).tensors
        assert labels.bincount(minlength=10).min() > limit / 20, (split, limit)


def test_openmoji() -> None:
    parts = {split: datasets.openmoji(split) for split in SPLITS}
    assert [len(part) for part in parts.values()] == [599, 99, 300]
    classes = ["activities", "animals", "food", "objects", "smileys", "travel"]
    for split, part in parts.items():
        assert part.classes == classes
        names = datasets.openmoji_names(split)
        paths = [Path(path).as_posix() for path, _ in part.samples]
        assert [path.split("openmoji/")[1] for path in paths] == names["file"].tolist()
    counts = torch.tensor(parts["train"].targets).bincount()
    assert counts.tolist() == [52, 86, 79, 153, 98, 131]
    pixels = set()
    for part in parts.values():
        for image, _ in part:
            assert (image.size, image.mode) == ((96, 96), "RGB")
            assert image.getpixel((0, 0)) == (255, 255, 255)
            pixels.add(image.tobytes())
    assert len(pixels) == 998, "two drawings are the same"
    table = datasets.openmoji_names()
    assert len(table) == table["codepoints"].nunique() == 998
    apple = table.set_index("emoji").loc["🍎"]
    assert (apple["en"], apple["zh"], apple["category"]) == (
        "red apple",
        "红苹果",
        "food",
    )
    assert digest([code.encode() for code in table["file"]]) == "273c343f"


def test_openmoji_takes_a_transform() -> None:
    data = datasets.openmoji("valid", transform=lambda image: image.size)
    assert data[0] == ((96, 96), 0)


def test_photos() -> None:
    photos = datasets.photos()
    assert (len(photos), len(photos.names)) == (20, 1000)
    assert photos.names[int(photos.labels[0])] == "bull mastiff"
    assert {image.mode for image in photos.images} == {"RGB"}
    assert photos.labels.dtype == torch.int64
    small = datasets.photos("cifar10")
    assert (len(small), small.images[0].size) == (20, (32, 32))
    assert small.names[int(small.labels[0])] == "cat"


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (
            lambda: datasets.mnist("validation"),
            "split='validation': choose one of 'train'",
        ),
        (lambda: datasets.sms_spam("all"), "split='all'"),
        (lambda: datasets.openmoji("dev"), "split='dev'"),
        (lambda: datasets.openmoji_names("dev"), "split='dev'"),
        (lambda: datasets.mnist("test", 10_001), "limit=10001: .* from 1 to 10,000"),
        (lambda: datasets.sms_spam("test", 0), "limit=0"),
        (lambda: datasets.movie_reviews("test", "amazon"), "source='amazon': choose"),
        (lambda: datasets.photos("coco"), "collection='coco': choose"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def test_missing_data_name_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    for call, asset in (
        (lambda: datasets.mnist("train"), "mnist"),
        (lambda: datasets.openmoji("train"), "openmoji"),
        (lambda: datasets.newsgroups("train"), "newsgroups"),
        (lambda: datasets.movie_reviews("train"), "movie-reviews"),
        (lambda: datasets.sms_spam("train"), "sms-spam"),
        (lambda: datasets.photos(), "photos"),
    ):
        with pytest.raises(MissingAsset, match=re.escape(command("fetch", asset))):
            call()
