"""MTCNN's weights in PyTorch: a made-up file, and the real networks on a real face."""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import joblib
import lz4.frame
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.ops import box_convert, box_iou, nms, roi_align

from helpers.assets import ArchiveError, require
from helpers.assets.recipes.mtcnn import LAYERS, rename
from helpers.assets.unpickle import load_joblib_arrays
from tests.made_up_assets import World, write_wheel
from tests.test_assets_manifest import Attack

HEADS = {"box": 4, "points": 10, "face": 2}
# name: channels of the convolutions, their kernels, pools behind them, inputs of fc
SHAPES: dict[str, tuple[list[int], list[int], list[int], int, int]] = {
    "pnet": ([10, 16, 32], [3, 3, 3], [2, 0, 0], 0, 0),
    "rnet": ([28, 48, 64], [3, 3, 2], [3, 3, 0], 3 * 3, 128),
    "onet": ([32, 64, 64, 128], [3, 3, 3, 2], [3, 3, 2, 0], 3 * 3, 256),
}


class Network(nn.Module):
    """One of MTCNN's three networks; returns box, (points,) face."""

    def __init__(self, name: str) -> None:
        super().__init__()
        channels, kernels, pools, area, width = SHAPES[name]
        body: OrderedDict[str, nn.Module] = OrderedDict()
        before = 3
        for i, (out, kernel) in enumerate(zip(channels, kernels, strict=True), 1):
            body[f"conv{i}"] = nn.Conv2d(before, out, kernel)
            body[f"prelu{i}"] = nn.PReLU(out)
            if pool := pools[i - 1]:
                body[f"pool{i}"] = nn.MaxPool2d(pool, 2, ceil_mode=True)
            before = out
        if area:
            body["flatten"] = nn.Flatten()
            body["fc"] = nn.Linear(before * area, width)
            body[f"prelu{len(channels) + 1}"] = nn.PReLU(width)
        self.body = nn.Sequential(body)
        names = [layer for layer in LAYERS[name].split() if layer in HEADS]
        self.heads = nn.ModuleDict(
            {
                head: nn.Linear(width, HEADS[head])
                if area
                else nn.Conv2d(before, HEADS[head], 1)
                for head in names
            }
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.body(x)
        return [head(x) for head in self.heads.values()]


def load(name: str) -> Network:
    """The real network."""
    network = Network(name).eval()
    weights = load_file(require("mtcnn") / f"{name}.safetensors")
    renamed = {
        ("heads." if key.split(".")[0] in HEADS else "body.") + key: value
        for key, value in weights.items()
    }
    network.load_state_dict(renamed)
    return network


def moved(boxes: Tensor, shares: Tensor) -> Tensor:
    """Boxes (n, 4), x1 y1 x2 y2, after the network's correction."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shares * size.repeat(1, 2)


def crops(image: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Squares around the boxes, and the pictures in them."""
    middle, _, size = box_convert(boxes, "xyxy", "cxcywh").tensor_split((2, 2), dim=1)
    half = size.amax(1, keepdim=True) / 2
    square = torch.cat([middle - half, middle + half], 1)
    return square, roi_align(image, [square], side, aligned=True, sampling_ratio=2)


@torch.inference_mode()
def find_faces(image: Tensor, smallest: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, 4), points (n, 5, 2) and scores of a (1, 3, h, w) picture."""
    pnet, rnet, onet = load("pnet"), load("rnet"), load("onet")
    scale, found, scores = 12 / smallest, [], []
    height, width = image.shape[2:]
    while min(height, width) * scale >= 12:
        small = adaptive_avg_pool2d(image, (int(height * scale), int(width * scale)))
        box, face = pnet(small)
        score = face.softmax(1)[0, 1]
        y, x = (score > 0.6).nonzero(as_tuple=True)
        cell = torch.stack([2 * x, 2 * y, 2 * x + 12, 2 * y + 12], 1)
        boxes = moved(cell.float(), box[0, :, y, x].T) / scale
        kept = nms(boxes, score[y, x], 0.5)
        found.append(boxes[kept])
        scores.append(score[y, x][kept])
        scale *= 0.709
    boxes, score = torch.cat(found), torch.cat(scores)
    boxes = boxes[nms(boxes, score, 0.7)]
    square, pictures = crops(image, boxes, 24)
    box, face = rnet(pictures)
    score = face.softmax(1)[:, 1]
    good = score > 0.7
    boxes, score = moved(square, box)[good], score[good]
    boxes = boxes[nms(boxes, score, 0.7)]
    square, pictures = crops(image, boxes, 48)
    box, points, face = onet(pictures)
    score = face.softmax(1)[:, 1]
    good = score > 0.8
    square, boxes, score = square[good], moved(square, box)[good], score[good]
    shares = points[good].view(-1, 2, 5).transpose(1, 2)
    kept = nms(boxes, score, 0.3)
    corner, size = square[:, None, :2], (square[:, 2:] - square[:, :2])[:, None]
    return boxes[kept], (corner + shares * size)[kept], score[kept]


def grace_hopper() -> Tensor:
    """The portrait that Matplotlib carries, as the networks want it: (1, 3, h, w)."""
    path = f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg"
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return (torch.from_numpy(pixels.transpose(2, 0, 1))[None] - 127.5) / 128


def test_the_face_in_a_photo_is_found_and_nothing_else() -> None:
    boxes, points, scores = find_faces(grace_hopper())
    assert len(boxes) == 1
    # What the original package says of this photo: box, then the five points.
    expected = torch.tensor([178.0, 110, 178 + 173, 110 + 220])
    assert box_iou(boxes, expected[None])[0, 0] > 0.9
    five = [[220.0, 190], [308, 186], [268, 237], [232, 277], [304, 273]]
    torch.testing.assert_close(points[0], torch.tensor(five), atol=6, rtol=0)
    assert scores[0] > 0.95


def test_colour_order_and_scale_hardly_matter_but_up_and_down_do() -> None:
    upright = grace_hopper()
    assert len(find_faces(upright.flip(1))[0]) == 1
    assert len(find_faces(upright.rot90(1, (2, 3)))[0]) == 0


def random_arrays(layers: list[str], shapes: dict[str, tuple[int, ...]]) -> list[Any]:
    """What Keras lists for the layers; ``shapes`` are those of the kernels."""
    chance = np.random.default_rng(0)
    arrays, width = [], 0
    for layer in layers:
        if layer.startswith("prelu"):
            flat = layers[layers.index(layer) - 1] == "fc"
            arrays.append(chance.random((width,) if flat else (1, 1, width)))
            continue
        width = shapes[layer][-1]
        arrays += [chance.normal(size=shapes[layer]), chance.normal(size=width)]
    return [array.astype(np.float32) for array in arrays]


def test_the_renamed_layers_compute_what_keras_computes() -> None:
    layers = ["conv1", "prelu1", "fc", "box"]
    shapes = {"conv1": (2, 2, 3, 5), "fc": (9 * 5, 4), "box": (4, 4)}
    kernel, bias, slope, fc, fc_bias, box, box_bias = random_arrays(layers, shapes)
    image = np.random.default_rng(1).normal(size=(4, 4, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(image, (2, 2), (0, 1))
    x = np.einsum("yxcab,abco->yxo", windows, kernel) + bias
    x = np.where(x > 0, x, slope * x)
    x = x.transpose(1, 0, 2).ravel() @ fc + fc_bias  # Keras: Permute((2, 1, 3))
    expected = x @ box + box_bias

    ours = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 5, 2),
            prelu1=nn.PReLU(5),
            flatten=nn.Flatten(),
            fc=nn.Linear(45, 4),
            box=nn.Linear(4, 4),
        )
    )
    renamed = rename([kernel, bias, slope, fc, fc_bias, box, box_bias], layers)
    ours.load_state_dict({k: torch.from_numpy(v) for k, v in renamed.items()})
    with torch.inference_mode():
        found = ours(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def kernels(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels as Keras keeps them."""
    channels, sizes, _, area, width = SHAPES[name]
    inner = [3, *channels]
    shapes: dict[str, tuple[int, ...]] = {
        f"conv{i + 1}": (size, size, inner[i], inner[i + 1])
        for i, size in enumerate(sizes)
    }
    if area:
        shapes["fc"] = (area * channels[-1], width)
    for head, count in HEADS.items():
        shapes[head] = (width, count) if area else (1, 1, channels[-1], count)
    return shapes


def made_up(world: World, **changes: Any) -> None:
    """An archive like the package's, with random weights; ``changes`` replace files."""
    files = {}
    for name, layers in LAYERS.items():
        arrays = random_arrays(layers.split(), kernels(name))
        memory = io.BytesIO()
        joblib.dump(changes.get(name, arrays), memory)
        files[f"{name}.lz4"] = lz4.frame.compress(memory.getvalue())
    world.files = {"alpha": files}
    write_wheel(world.wheel("alpha"), "alpha", files)
    world.write_manifest(recipe="mtcnn")


def test_a_made_up_archive_becomes_three_files(tmp_path: Path) -> None:
    world = World(tmp_path)
    made_up(world)
    assert world.fetch_alpha() is None
    for name in LAYERS:
        weights = load_file(world.place("alpha") / f"{name}.safetensors")
        network = Network(name).state_dict()
        shapes = {key.partition(".")[2]: value.shape for key, value in network.items()}
        assert {key: value.shape for key, value in weights.items()} == shapes


@pytest.mark.parametrize(
    ("rnet", "complaint"),
    [
        ([np.zeros(3, np.float32)], "1 arrays instead of 16"),
        ([np.zeros(1, np.float32)] * 16, "rnet.lz4 holds"),
    ],
)
def test_another_network_is_refused(
    tmp_path: Path, rnet: list[Any], complaint: str
) -> None:
    world = World(tmp_path)
    made_up(world, rnet=rnet)
    error = world.fetch_alpha()
    assert isinstance(error, ArchiveError)
    assert complaint in str(error)
    world.assert_nothing_left()


def dumped(value: Any) -> io.BytesIO:
    memory = io.BytesIO()
    joblib.dump(value, memory)
    memory.seek(0)
    return memory


def test_arrays_are_read_as_joblib_wrote_them() -> None:
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(3, 2)),
        np.zeros((0, 4), np.float32),
        np.array(7.0),
        np.arange(3, dtype=">f4"),
    ]
    for array, read in zip(arrays, load_joblib_arrays(dumped(arrays)), strict=True):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("value", [eval, re.sub, [np.array([eval])], [{}], {"a": 1}])
def test_a_joblib_file_with_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load_joblib_arrays(dumped(value))


def test_a_joblib_file_cannot_run_code(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays"):
        load_joblib_arrays(dumped([np.zeros(2), Attack(evil)]))
    hidden = np.array([Attack(evil)], dtype=object)
    with pytest.raises(pickle.UnpicklingError, match="cannot be read"):
        load_joblib_arrays(dumped([hidden]))
    assert not evil.exists()


def test_a_joblib_file_that_ends_early_is_refused() -> None:
    whole = dumped([np.arange(100.0)]).getvalue()
    with pytest.raises(pickle.UnpicklingError, match="ends inside an array"):
        load_joblib_arrays(io.BytesIO(whole[:500]))
