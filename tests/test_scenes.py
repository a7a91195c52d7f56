"""Composed scenes: the same everywhere, and what they say of themselves is true."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torchvision.ops import masks_to_boxes

from helpers.scenes import _PHOTOS, CATEGORIES, Scenes, cut_out


def test_every_machine_composes_the_same_pixels() -> None:
    content = hashlib.sha256()
    for split, vary in (("train", True), ("valid", False), ("test", False)):
        scene = Scenes(split, 3, vary=vary)[2]
        for part in (scene.image, scene.boxes, scene.labels, scene.masks):
            content.update(part.numpy().tobytes())
    assert content.hexdigest()[:16] == "c035ace5ec78460c"


@pytest.mark.parametrize("size", [96, 192])
def test_boxes_labels_and_masks_fit_each_other(size: int) -> None:
    scenes = Scenes("valid", 30, size=size)
    counts = set()
    for i in range(len(scenes)):
        scene = scenes[i]
        k = len(scene.labels)
        counts.add(k)
        assert scene.image.shape == (3, size, size)
        assert scene.masks.shape == (k, size, size)
        assert scene.masks.sum(dim=0).max() == 1, "a pixel belongs to one drawing"
        inner = masks_to_boxes(scene.masks)
        assert torch.equal(scene.boxes[:, :2], inner[:, :2])
        assert torch.equal(scene.boxes[:, 2:], inner[:, 2:] + 1)
        assert scene.labels.max() < len(CATEGORIES)
    assert counts == {1, 2, 3, 4}


def test_a_scene_follows_from_its_number() -> None:
    few, many = Scenes("test", 4), Scenes("test", 40)
    assert torch.equal(few[3].image, many[3].image)
    assert not torch.equal(few[3].image, few[2].image)
    assert not torch.equal(few[3].image, Scenes("test", 4, seed=1)[3].image)
    assert not torch.equal(few[3].image, Scenes("test", 4, vary=True)[3].image)


def test_no_photo_is_in_two_splits() -> None:
    rests = [rest for part in _PHOTOS.values() for rest in part]
    assert sorted(rests) == [0, 1, 2, 3, 4]


def test_white_inside_an_outline_stays() -> None:
    drawing = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(drawing).ellipse((20, 30, 79, 69), outline="black", width=3)
    cut = cut_out(drawing)
    assert cut.size == (60, 40)
    opaque = np.asarray(cut)[..., 3]
    assert opaque[20, 30] == 255, "the middle, white as it is"
    assert opaque[0, 0] == 0, "the corner"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Scenes("dev", 3), "split='dev'"),
        (lambda: Scenes("test", 0), "count=0"),
        (lambda: Scenes("test", 3, size=-1), "size=-1"),
    ],
)
def test_bad_input_is_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_there_is_no_scene_beyond_the_last() -> None:
    with pytest.raises(IndexError, match="scene 3 of 3"):
        Scenes("test", 3)[3]
