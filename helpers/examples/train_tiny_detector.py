"""Train the course's own small detector. Taught in notebook 13.

    python -m helpers.examples.train_tiny_detector

Scenes in, boxes, categories and a mask out: data/tiny-detector. The backbone is
torchvision's MobileNetV2 and stays as it is, so its feature maps are computed once and
kept; what learns is a head of a few convolutions, and one matrix that names what the
head has cut out. The same is done on a backbone of random weights, for comparison.
It takes about half an hour. Interrupt it when you like; the same command continues,
and ends in the same weights. Choices were made on the validation scenes, none on the
test scenes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader, Dataset
from torchvision.models import MobileNetV2, mobilenet_v2
from torchvision.ops import box_iou, generalized_box_iou_loss, nms, roi_align
from torchvision.transforms.functional import normalize

import helpers
from helpers.files import replacing
from helpers.scenes import CATEGORIES, Scene, Scenes

__all__ = ["Detector", "FeatureMaps", "average_precision", "backbone", "bootstrap"]
__all__ += ["compute_maps", "cut_outs", "describe", "detect", "feature_maps", "load"]
__all__ += ["every", "foreground", "heat_targets", "look_again", "to_boxes"]
__all__ += ["main", "matches", "outputs", "rename", "step"]

TARGET = Path(__file__).parents[2] / "data" / "tiny-detector"
RUNS = Path("runs/tiny-detector")
SEED = 0
SIZE = 192  # pixels a side
SCENES = {"train": 5000, "valid": 300, "test": 300}
EPOCHS = 15
BATCH = 32
MAX_LR = 2e-3
FILES = {"pretrained": "model.safetensors", "random": "random.safetensors"}
BLOCKS = (3, 6, 13, 18)  # of MobileNetV2: the last of strides 4, 8, 16 and 32
CHANNELS = (24, 32, 96, 1280)
WIDTH = 96 + 96 + 1280  # of a cut-out's vector
STRIDE = 8  # pixels a cell of the heat map
NAMED = 2000  # scenes whose drawings teach the names
STRENGTHS = (1e-4, 3e-4, 1e-3)
FIRST_LOOK = 0.5  # weight of the head's opinion on a category beside the second look
MOST = 4  # drawings in a scene
CROP = 96  # pixels a side of a cut-out, as the drawings are

# Backbone ------------------------------------------------------------------------


def backbone(kind: str = "pretrained") -> MobileNetV2:
    """A frozen MobileNetV2, "pretrained" or "random".

    The random one gets its batch norms' statistics from training scenes: without them
    its signal would shrink to nothing, and the comparison would be unfair.
    """
    if kind not in ("pretrained", "random"):
        raise ValueError(f"kind={kind!r}: choose 'pretrained' or 'random'.")
    if kind == "pretrained":
        network = mobilenet_v2(weights="IMAGENET1K_V1")
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = mobilenet_v2(weights=None)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over what it sees
        scenes = Scenes("train", 64, seed=SEED, vary=True)
        with torch.no_grad():
            feature_maps(
                network.train(), torch.stack([scene.image for scene in every(scenes)])
            )
    helpers.freeze(network)
    return network.eval().to(memory_format=torch.channels_last)


def feature_maps(network: MobileNetV2, images: Tensor) -> list[Tensor]:
    """Maps of strides 4, 8, 16 and 32 of pictures (n, 3, h, w) uint8."""
    x = normalize(images.float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x = x.contiguous(memory_format=torch.channels_last)
    maps = []
    for number, block in enumerate(network.features):
        x = block(x)
        if number in BLOCKS:
            maps.append(x)
    return maps


def every(scenes: Scenes) -> list[Scene]:
    """All scenes, composed."""
    return [scenes[i] for i in range(len(scenes))]


@dataclass(frozen=True)
class FeatureMaps(Dataset[tuple[Tensor, ...]]):
    """The maps of many scenes, and what is in them; item i is all seven, of scene i.

    Attributes:
        maps: four arrays (n, c, h, w) float16, memory-mapped.
        boxes, labels: (n, 4, 4) and (n, 4), filled with -1 where there are fewer.
        foreground: (n, size/2, size/2) uint8, the share of drawing in 255ths.
    """

    maps: Sequence[np.ndarray]
    boxes: Tensor
    labels: Tensor
    foreground: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        maps = [torch.from_numpy(np.array(m[i])) for m in self.maps]
        return *maps, self.boxes[i], self.labels[i], self.foreground[i]


def compute_maps(
    network: MobileNetV2, scenes: Scenes, folder: Path | None = None
) -> FeatureMaps:
    """Run the backbone once over the scenes, unless the maps are in the folder.

    A scene of 192 pixels takes 266 KB as float16. Without a folder they stay in memory.
    """
    n, half = len(scenes), scenes.size // 2
    boxes, labels = torch.full((n, MOST, 4), -1.0), torch.full((n, MOST), -1)
    share = torch.zeros(n, half, half, dtype=torch.uint8)
    sides = [scenes.size // (4 << i) for i in range(len(BLOCKS))]
    shapes = [(n, c, side, side) for c, side in zip(CHANNELS, sides, strict=True)]
    paths = (
        [folder / f"stride-{4 << i}.npy" for i in range(len(sides))] if folder else []
    )
    missing = not paths or not all(path.exists() for path in paths)
    with ExitStack() as stack:
        files: list[Any] = []
        if missing and folder is None:
            files = [np.empty(shape, "<f2") for shape in shapes]
        elif missing:
            for path, shape in zip(paths, shapes, strict=True):
                temporary = stack.enter_context(replacing(path))
                files.append(np.lib.format.open_memmap(temporary, "w+", "<f2", shape))
        for start in range(0, n, 16):
            some = range(start, min(start + 16, n))
            part = [scenes[i] for i in some]
            for i, scene in zip(some, part, strict=True):
                boxes[i, : len(scene.boxes)] = scene.boxes
                labels[i, : len(scene.labels)] = scene.labels
                mask = scene.masks.any(dim=0, keepdim=True)
                share[i] = F.avg_pool2d(255 * mask.float(), 2)[0].byte()
            if missing:
                images = torch.stack([scene.image for scene in part])
                with torch.inference_mode():
                    maps = feature_maps(network, images)
                for i, m in enumerate(maps):
                    files[i][start : start + len(part)] = m.numpy()
        if folder is None:
            return FeatureMaps(files, boxes, labels, share)
        while files:  # closed before they are renamed, as Windows asks
            files.pop().flush()
    kept = [np.load(path, mmap_mode="r") for path in paths]
    return FeatureMaps(kept, boxes, labels, share)


# Head ----------------------------------------------------------------------------


def _conv(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Detector(nn.Module):
    """The head: maps of a frozen backbone in, four maps out.

    forward(maps of strides 4, 8, 16, 32) returns heat (n, 1, g, g), the logit of "here
    is a drawing's middle"; distances (n, 4, g, g) from the cell's middle to left, top,
    right, bottom in cells (Tian et al. 2019); categories (n, 6, g, g), logits; mask (n,
    4g, 4g), the logit of "here is a drawing". A cell is 8 pixels wide. The maps are
    brought to one width and one size, and added (Lin et al. 2017).
    """

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.fine = nn.Conv2d(CHANNELS[0], width, 2, stride=2)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in CHANNELS[1:])
        self.mix = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), _conv(width, width), _conv(width, width)
        )
        last = nn.Conv2d(width, 1 + 4 + len(CATEGORIES), 1)
        self.boxes = nn.Sequential(_conv(width, width), last)
        self.coarse = nn.Conv2d(width, 48, 1)
        self.edge = nn.Conv2d(CHANNELS[0], 48, 1)
        self.mask = nn.Sequential(
            nn.BatchNorm2d(48), nn.ReLU(), _conv(48, 24),
            nn.Conv2d(24, 4, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        # Almost every cell is empty, so begin there (Lin et al. 2017, focal loss).
        with torch.no_grad():
            last.get_parameter("bias").zero_()[0] = -4.0

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        finest, *others = [m.float() for m in maps]
        x = self.fine(finest)
        for lateral, m in zip(self.lateral, others, strict=True):
            x = x + _as_large_as(x, lateral(m))
        x = self.mix(x)
        y = self.boxes(x)
        edge = self.edge(finest)
        mask = self.mask(_as_large_as(edge, self.coarse(x)) + edge)
        return y[:, :1], y[:, 1:5].clamp(max=4).exp(), y[:, 5:], mask[:, 0]


def _as_large_as(like: Tensor, x: Tensor) -> Tensor:
    size = like.shape[2:]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


# Loss ----------------------------------------------------------------------------


def _middles(cells: int) -> Tensor:
    """Pixel coordinates (g, g, 2) of the middles of a map's cells: x, y."""
    line = (torch.arange(cells) + 0.5) * STRIDE
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=2)


def heat_targets(boxes: Tensor, cells: int) -> Tensor:
    """Heat (n, 4, g, g) of each box (n, 4, 4): 1 at its middle, a Gaussian around."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    width = ((boxes[..., 2:] - boxes[..., :2]) / 8).clamp(min=4)
    away = (_middles(cells) - middle[:, :, None, None]) / width[:, :, None, None]
    heat = torch.exp(-away.square().sum(dim=4) / 2)
    column, row = (middle / STRIDE).long().clamp(0, cells - 1).unbind(dim=2)
    at = F.one_hot(row * cells + column, cells * cells).view_as(heat)
    there = boxes[..., 2] > 0
    return torch.where(at > 0, 1.0, heat) * there[:, :, None, None]


def to_boxes(distances: Tensor) -> Tensor:
    """Distances (n, 4, g, g) in cells to boxes (n, g, g, 4) in pixels, x1 y1 x2 y2."""
    middles = _middles(distances.shape[2])
    d = STRIDE * distances.permute(0, 2, 3, 1)
    return torch.cat([middles - d[..., :2], middles + d[..., 2:]], dim=3)


def step(model: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, Any]:
    """A step for ``fit``: the sum of four losses.

    Heat: the focal loss of CenterNet (Zhou et al. 2019, equation 1). Boxes: generalised
    IoU near the middles. Categories: cross-entropy there. Mask: cross-entropy and Dice.
    """
    *maps, boxes, labels, foreground = batch
    result = model(*maps)
    heat, distances, categories, mask = (x.float() for x in result)
    wanted, owner = heat_targets(boxes, heat.shape[2]).max(
        dim=1
    )  # (n, g, g): the heat, and whose it is
    p = heat[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = (1 - p) ** 2 * p.log()
    empty = (1 - wanted) ** 4 * p**2 * (1 - p).log()
    focal = -torch.where(wanted == 1, hit, empty).sum() / (wanted == 1).sum()

    n, row, column = (wanted > 0.4).nonzero(as_tuple=True)
    mine = owner[n, row, column]
    weight = wanted[n, row, column] / wanted[n, row, column].sum()
    found = to_boxes(distances)[n, row, column]
    place = (weight * generalized_box_iou_loss(found, boxes[n, mine])).sum()
    scores = categories[n, :, row, column]
    name = F.cross_entropy(
        scores, labels[n, mine], reduction="none", label_smoothing=0.1
    )
    share = foreground.float() / 255
    pixel = F.binary_cross_entropy_with_logits(mask, share)
    guess = mask.sigmoid()
    both = 2 * (guess * share).sum(dim=(1, 2)) + 1
    dice = both / (guess.sum(dim=(1, 2)) + share.sum(dim=(1, 2)) + 1)
    loss = focal + 2 * place + (weight * name).sum() + pixel + (1 - dice).mean()
    return loss, result


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Up for a seventh of the steps, then down to nothing."""
    lr = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)


# From maps to detections ---------------------------------------------------------


def outputs(model: nn.Module, data: FeatureMaps) -> list[Tensor]:
    """The head's four maps for every scene, float32."""
    parts = []
    with torch.inference_mode():
        for batch in DataLoader(data, 64):
            parts.append(model.eval()(*batch[: len(BLOCKS)]))
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def detect(
    result: Sequence[Tensor], size: int = SIZE, most: int = 8
) -> list[dict[str, Tensor]]:
    """Boxes (m, 4), scores (m,) and categories (m, 6) of each scene, best first.

    A box for each of the highest peaks of the heat; of two that overlap by half, the
    better stays. categories are logits; nobody has voted yet.
    """
    heat, distances, categories, _ = result
    heat = heat.sigmoid()
    peaks = (heat * (heat == F.max_pool2d(heat, 3, stride=1, padding=1))).flatten(1)
    boxes = to_boxes(distances).clamp(0, size).flatten(1, 2)
    scores, cells = peaks.topk(most, dim=1)
    found = []
    for i, cell in enumerate(cells):
        kept = nms(boxes[i, cell], scores[i], 0.5)
        kept = kept[scores[i, kept] > 0.01]
        at = cell[kept]
        logits = categories[i].flatten(1)[:, at].T
        found.append(
            {"boxes": boxes[i, at], "scores": scores[i, kept], "categories": logits}
        )
    return found


def foreground(mask: Tensor, size: int = SIZE) -> Tensor:
    """The head's mask (n, h, w), logits, as bool (n, size, size)."""
    return _as_large_as(torch.empty(1, 1, size, size), mask[:, None])[:, 0] > 0


def cut_outs(image: Tensor, shown: Tensor, boxes: Tensor) -> Tensor:
    """What the boxes hold, as drawings on white: (m, 3, 96, 96) uint8.

    Args:
        image: (3, size, size) uint8.
        shown: (size, size) bool; all else becomes white.
        boxes: (m, 4) pixels; each is widened to a square with a small margin.
    """
    margin = image.shape[1] // 2
    white = torch.where(shown, image.float(), 255.0)
    wide = F.pad(white, (margin,) * 4, value=255.0)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + margin
    sides = boxes[:, 2:] - boxes[:, :2]
    half = 0.56 * sides.amax(dim=1, keepdim=True)
    squares = torch.cat([middle - half, middle + half], dim=1)
    cut = roi_align(wide[None], [squares], CROP, sampling_ratio=2, aligned=True)
    # Neighbours in the square, but beside the box, become white as well.
    away = ((torch.arange(CROP) + 0.5) * 2 / CROP - 1).abs()
    near = away * half[..., None] <= 0.53 * sides[..., None]  # (m, 2, 96): x, y
    inside = near[:, 0, None, :] & near[:, 1, :, None]
    return torch.where(inside[:, None], cut, 255.0).byte()


def describe(network: MobileNetV2, pictures: Tensor) -> Tensor:
    """A vector (m, 1472) for each cut-out, from the backbone's two last maps."""
    vectors = [torch.empty(0, WIDTH)]
    with torch.inference_mode():
        for part in pictures.split(64):
            middle, last = feature_maps(network, part)[2:]
            pooled = middle.mean((2, 3)), middle.amax((2, 3)), last.mean((2, 3))
            vectors.append(torch.cat(pooled, dim=1))
    return torch.cat(vectors).clone()


def look_again(
    network: MobileNetV2,
    scenes: Scenes,
    masks: Tensor,
    found: Sequence[dict[str, Tensor]],
) -> list[Tensor]:
    """Vectors (m, 1472) of each scene's boxes, cut out by the predicted mask."""
    shown = foreground(masks, scenes.size)
    pictures = [
        cut_outs(scenes[i].image, shown[i], boxes["boxes"])
        for i, boxes in enumerate(found)
    ]
    vectors = describe(network, torch.cat(pictures))
    return list(vectors.split([len(part) for part in pictures]))


def rename(
    found: Sequence[dict[str, Tensor]], vectors: Sequence[Tensor], names: nn.Module
) -> list[dict[str, Tensor]]:
    """The detections, with the second look's logits added to the head's halved ones."""
    with torch.inference_mode():
        return [
            {**f, "categories": names(x) + FIRST_LOOK * f["categories"]}
            for f, x in zip(found, vectors, strict=True)
        ]


# Judging -------------------------------------------------------------------------


def matches(found: Tensor, truth: Tensor, least: float = 0.5) -> np.ndarray:
    """Which of the boxes (m, 4), best first, find one of (k, 4) that is still free."""
    overlap = box_iou(found, truth).numpy().copy()
    hits = np.zeros(len(found), dtype=bool)
    for i in range(len(found) if len(truth) else 0):
        j = overlap[i].argmax()
        hits[i] = overlap[i, j] >= least
        if hits[i]:
            overlap[:, j] = -1
    return hits


def average_precision(
    scores: np.ndarray,
    hits: np.ndarray,
    truths: float,
    weights: np.ndarray | None = None,
) -> float:
    """Mean precision at the recalls 0, 0.01, …, 1 (COCO's definition).

    Args:
        scores, hits: (n,), of all scenes together, in any order.
        truths: how many there are to find.
        weights: how often each detection counts; once if None.
    """
    order = np.argsort(-scores, kind="stable")
    each = np.ones(len(scores)) if weights is None else weights[order]
    right = np.cumsum(each * hits[order])
    precision = right / np.maximum(np.cumsum(each), 1e-12)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(right / max(truths, 1), np.linspace(0, 1, 101))
    return float(np.append(precision, 0.0)[first].mean())


def bootstrap(
    found: Sequence[dict[str, Tensor]],
    scenes: Sequence[Scene],
    masks: Tensor,
    draws: int = 1000,
    size: int = SIZE,
) -> pd.DataFrame:
    """Figures of the detections on the scenes: one column each, one row a draw.

    Row 0 is the scenes themselves; the others draw as many scenes with replacement
    (Efron 1979). The draws are the same in every call, so rows of two detectors can be
    compared in pairs. Columns: mAP50 (mean over the categories), "any object" (the same
    without the categories), "foreground IoU" (all pixels of all scenes together).
    """
    n = len(scenes)
    generator = np.random.default_rng(0)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=draws)
    counts = np.concatenate([np.ones((1, n), dtype=int), counts])
    kinds = [*range(len(CATEGORIES)), None]
    columns = {kind: _found_of(kind, found, scenes) for kind in kinds}
    aps = {
        kind: [average_precision(scores, hits, w @ truths, w[scene]) for w in counts]
        for kind, (scores, hits, scene, truths) in columns.items()
    }
    shown = foreground(masks, size)
    truth = torch.stack([scene.masks.any(dim=0) for scene in scenes])
    both = (shown & truth).sum(dim=(1, 2)).numpy()
    either = (shown | truth).sum(dim=(1, 2)).numpy()
    return pd.DataFrame(
        {
            "mAP50": np.mean([aps[kind] for kind in kinds[:-1]], axis=0),
            "any object": aps[None],
            "foreground IoU": (counts @ both) / (counts @ either),
        }
    )


def _found_of(
    kind: int | None, found: Sequence[dict[str, Tensor]], scenes: Sequence[Scene]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, hits and scenes of the detections of one category, or of any."""
    scores, hits, owners, truths = [], [], [], []
    for i, (f, scene) in enumerate(zip(found, scenes, strict=True)):
        boxes, score, truth = f["boxes"], f["scores"], scene.boxes
        if kind is not None:
            score = score * f["categories"].softmax(dim=1)[:, kind]
            truth = truth[scene.labels == kind]
        order = score.argsort(descending=True, stable=True)
        scores.append(score[order].numpy())
        hits.append(matches(boxes[order], truth))
        owners.append(np.full(len(order), i))
        truths.append(len(truth))
    together = [np.concatenate(part) for part in (scores, hits, owners)]
    return together[0], together[1], together[2], np.array(truths)


# The program ---------------------------------------------------------------------


def true_cut_outs(network: MobileNetV2, scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Vectors (m, 1472) and labels (m,) of the true boxes, shaken a little."""
    shake = torch.Generator().manual_seed(SEED)
    pictures, labels = [], []
    for scene in every(scenes):
        sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]).repeat(1, 2)
        moved = 0.06 * sides * torch.randn(scene.boxes.shape, generator=shake)
        mask = scene.masks.any(dim=0)
        pictures.append(cut_outs(scene.image, mask, scene.boxes + moved))
        labels.append(scene.labels)
    return describe(network, torch.cat(pictures)), torch.cat(labels)


def fit_names(x: Tensor, y: Tensor, strength: float) -> nn.Linear:
    """Logistic regression on standardised vectors, as one matrix for raw ones.

    strength is scikit-learn's C: the larger, the less the weights are held back.
    """
    mean, deviation = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    solver = LogisticRegression(C=strength, max_iter=300)
    solver.fit(((x - mean) / deviation).double().numpy(), y.numpy())
    weight = torch.from_numpy(solver.coef_) / deviation
    names = nn.Linear(x.shape[1], len(CATEGORIES))
    with torch.no_grad():
        names.weight.copy_(weight)
        names.bias.copy_(torch.from_numpy(solver.intercept_) - weight @ mean.double())
    return names


def load(kind: str = "pretrained", folder: Path = TARGET) -> tuple[Detector, nn.Linear]:
    """The trained head and the matrix that names cut-outs, ready to predict."""
    weights = load_file(folder / FILES[kind])
    head, names = Detector(), nn.Linear(WIDTH, len(CATEGORIES))
    for part, prefix in ((head, "head."), (names, "names.")):
        mine = [key for key in weights if key.startswith(prefix)]
        part.load_state_dict({k.removeprefix(prefix): weights[k] for k in mine})
        part.eval()
    return head, names


def save(kind: str, head: nn.Module, names: nn.Module, folder: Path) -> None:
    """Keep both as float16; what counts batches stays whole."""
    parts = {"head": head, "names": names}
    state = {
        f"{name}.{key}": (v.half() if v.is_floating_point() else v).contiguous()
        for name, part in parts.items()
        for key, v in part.state_dict().items()
    }
    with replacing(folder / FILES[kind]) as temporary:
        save_file(state, temporary)


def train_head(data: dict[str, FeatureMaps], folder: Path, epochs: int) -> Any:
    """A head on these maps, and the log of its training."""
    torch.manual_seed(SEED)
    head = Detector()
    history = helpers.fit(
        head,
        DataLoader(data["train"], BATCH),
        DataLoader(data["valid"], BATCH),
        epochs=epochs,
        optimizer=torch.optim.AdamW(head.parameters(), MAX_LR, fused=True),
        scheduler=one_cycle,
        step=step,
        precision="bf16",
        channels_last=True,
        clip=10.0,
        folder=folder,
        seed=SEED,
    )
    if history.outcome == "interrupted":
        sys.exit("Interrupted. The same command continues from here.")
    return head, history.table()


def choose_names(
    network: MobileNetV2,
    head: Detector,
    train: Scenes,
    valid: Scenes,
    data: FeatureMaps,
) -> nn.Linear:
    """The matrix whose strength gives the best mAP50 on the validation scenes."""
    x, y = true_cut_outs(network, train)
    result = outputs(head, data)
    found = detect(result)
    vectors = look_again(network, valid, result[3], found)
    truth = every(valid)
    best, chosen = -1.0, None
    for strength in STRENGTHS:
        names = fit_names(x, y, strength)
        again = rename(found, vectors, names)
        score = bootstrap(again, truth, result[3], draws=0)["mAP50"][0]
        print(f"strength {strength}: mAP50 {score:.3f} on the validation scenes")
        if score > best:
            best, chosen = score, names
    assert chosen is not None
    return chosen


def main(
    target: Path = TARGET,
    runs: Path = RUNS,
    counts: dict[str, int] = SCENES,
    epochs: int = EPOCHS,
    draws: int = 1000,
) -> None:
    """Make both detectors, their logs and the table of figures for the card."""
    helpers.setup(seed=SEED, needs=["mobilenet-v2", "openmoji", "photos"])
    scenes = {
        split: Scenes(split, count, seed=SEED, size=SIZE, vary=split == "train")
        for split, count in counts.items()
    }
    few = Scenes("train", min(NAMED, counts["train"]), seed=SEED, size=SIZE, vary=True)
    figures, logs = [], []
    for kind in ("pretrained", "random"):
        network = backbone(kind)
        data = {
            split: compute_maps(network, some, runs / kind / split)
            for split, some in scenes.items()
        }
        head, log = train_head(data, runs / kind / "head", epochs)
        names = choose_names(network, head, few, scenes["valid"], data["valid"])
        save(kind, head, names, target)
        for split in ("valid", "test"):
            figures += [
                {"backbone": kind, "split": split, "weights": weights, **row}
                for weights, parts in [
                    ("float32", (head, names)),
                    ("float16", load(kind, target)),
                ]
                for row in judge(network, *parts, scenes[split], data[split], draws)
            ]
        log.insert(0, "epoch", log.index)
        log.insert(0, "seed", SEED)
        log.insert(0, "backbone", kind)
        logs.append(log)
    for name, rows in [("figures", pd.DataFrame(figures)), ("log", pd.concat(logs))]:
        rows.to_csv(target / f"{name}.csv", index=False, float_format="%.4g")
        print(rows.round(3).to_string(index=False))


def judge(
    network: MobileNetV2,
    head: Detector,
    names: nn.Linear,
    scenes: Scenes,
    data: FeatureMaps,
    draws: int = 1000,
) -> list[dict[str, Any]]:
    """Figures with their 95 % intervals: the head alone, and with the second look."""
    result = outputs(head, data)
    plain = detect(result)
    vectors = look_again(network, scenes, result[3], plain)
    truth, rows = every(scenes), []
    stages = {"head alone": plain, "second look": rename(plain, vectors, names)}
    for stage, found in stages.items():
        table = bootstrap(found, truth, result[3], draws)
        row: dict[str, Any] = {"categories from": stage}
        for column in table:
            low, high = table[column][1:].quantile([0.025, 0.975])
            row[str(column)] = f"{table[column][0]:.3f} [{low:.3f}, {high:.3f}]"
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
