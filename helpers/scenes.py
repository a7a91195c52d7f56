"""Scenes with known boxes and masks: drawings pasted on photos. Taught in notebook 13.

Each split has its own drawings AND photos: training saw nothing of a test scene.
Scene i follows from (split, seed, i) in integers: every machine composes the same one.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_fill_holes
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.ops import masks_to_boxes
from torchvision.transforms.functional import pil_to_tensor

from helpers.datasets import openmoji, photos
from helpers.loop.arguments import check_counts

__all__ = ["CATEGORIES", "Scene", "Scenes", "cut_out"]

CATEGORIES = ["activities", "animals", "food", "objects", "smileys", "travel"]
_PHOTOS = {"train": (0, 1, 2), "valid": (3,), "test": (4,)}  # of every five
_SIDES = (40, 112)  # pixels: the longer side of a drawing in a scene of 192
_VISIBLE = 7  # tenths of a drawing that later ones leave visible


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it, the nearest drawing last.

    Attributes:
        image: (3, size, size) uint8.
        boxes: (k, 4) float32, x1 y1 x2 y2 in pixels, around what is visible.
        labels: (k,) int64, indices of ``CATEGORIES``.
        masks: (k, size, size) bool, the visible pixels of each drawing.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor


class Scenes(Dataset[Scene]):
    """Scenes of one to four drawings each, composed when they are asked for.

    Args:
        split: "train", "valid" or "test", as in `helpers.datasets.openmoji`.
        count: how many scenes.
        seed: another seed, other scenes.
        size: pixels a side; drawings grow with it.
        vary: mirror photos and drawings, and change brightness and tint a little.
    """

    def __init__(
        self, split: str, count: int, seed: int = 0, size: int = 192, vary: bool = False
    ) -> None:
        check_counts(count=count, size=size)
        _material(split)
        self.split, self.count, self.seed = split, count, seed
        self.size, self.vary = size, vary

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        backgrounds, drawings = _material(self.split)
        draw = random.Random(f"{self.split} {self.seed} {index}")
        vary = _varied if self.vary else lambda image, draw: image
        scene = vary(_crop(draw.choice(backgrounds), self.size, draw), draw)
        masks, areas, labels = list[np.ndarray](), list[int](), list[int]()
        for _ in range(draw.randint(1, 4)):
            cut, label = draw.choice(drawings)
            longer = draw.randint(*_SIDES) * self.size // 192
            width, height = (max(1, s * longer // max(cut.size)) for s in cut.size)
            cut = vary(cut, draw).resize((width, height), Image.Resampling.BILINEAR)
            for _ in range(20):  # places, until enough of the others stays visible
                x, y = (draw.randint(0, self.size - s) for s in (width, height))
                mask = np.zeros((self.size, self.size), dtype=bool)
                mask[y : y + height, x : x + width] = np.asarray(cut)[..., 3] >= 128
                rest = [earlier & ~mask for earlier in masks]
                left = zip(rest, areas, strict=True)
                if all(10 * part.sum() >= _VISIBLE * area for part, area in left):
                    scene.paste(cut, (x, y), cut)
                    masks = [*rest, mask]
                    areas.append(int(mask.sum()))
                    labels.append(label)
                    break
        stack = torch.from_numpy(np.stack(masks))
        boxes = masks_to_boxes(stack) + torch.tensor([0, 0, 1, 1])
        return Scene(pil_to_tensor(scene), boxes, torch.tensor(labels), stack)


def cut_out(drawing: Image.Image) -> Image.Image:
    """A drawing on white as RGBA, cropped: white stays where an outline encloses it."""
    pixels = np.asarray(drawing.convert("RGB"))
    solid = binary_fill_holes(pixels.min(axis=2) < 250)
    cut = Image.fromarray(np.dstack([pixels, np.uint8(255) * solid]))
    return cut.crop(Image.fromarray(solid).getbbox())


@functools.cache
def _material(split: str) -> tuple[list[Image.Image], list[tuple[Image.Image, int]]]:
    drawings = [(cut_out(image), label) for image, label in openmoji(split)]
    album = enumerate(photos().images)
    return [photo for i, photo in album if i % 5 in _PHOTOS[split]], drawings


def _crop(photo: Image.Image, size: int, draw: random.Random) -> Image.Image:
    side = draw.randint(min(photo.size) // 3, min(photo.size))
    x, y = (draw.randint(0, length - side) for length in photo.size)
    place = (x, y, x + side, y + side)
    return photo.resize((size, size), Image.Resampling.BILINEAR, place)


def _varied(image: Image.Image, draw: random.Random) -> Image.Image:
    if draw.randint(0, 1):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    light = draw.randint(70, 115)  # hundredths, and each colour a little its own way
    gains = [light + draw.randint(-15, 15) for _ in range(3)]
    table = [min(255, value * gain // 100) for gain in gains for value in range(256)]
    return image.point(table + list(range(256)) * (len(image.getbands()) - 3))
