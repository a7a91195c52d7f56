"""The real assets, with every socket blocked. They must have been fetched."""

from __future__ import annotations

import subprocess
import sys

from helpers.assets import data_root, load_manifest, require, verify
from helpers.assets.archive import sha256_of
from helpers.assets.manifest import select
from helpers.assets.paths import REPOSITORY, cache_root

BLOCK = """
import socket
def refuse(*_, **__):
    raise AssertionError("something tried to use the network")
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
socket.create_connection = socket.getaddrinfo = refuse
import helpers
"""
MOBILENET = """
import torch
from torchvision.models import mobilenet_v2
model = mobilenet_v2(weights="IMAGENET1K_V1").eval()
photos = helpers.datasets.photos()
from torchvision.models import MobileNet_V2_Weights
prepare = MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
with torch.inference_mode():
    scores = model(torch.stack([prepare(image) for image in photos.images]))
right = (scores.argmax(1) == photos.labels).sum().item()
assert len(photos) == 20 and right >= 16, right
"""
MINILM = """
import torch
from transformers import AutoModel, AutoTokenizer
name = "sentence-transformers/all-MiniLM-L6-v2"
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)
texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell."]
batch = tokenizer(texts, padding=True, return_tensors="pt")
with torch.inference_mode():
    vectors = helpers.mean_pool(model, batch)
a, b, c = torch.nn.functional.normalize(vectors)
assert vectors.shape == (3, 384)
assert a @ b > 0.5 > 0.2 > a @ c, (a @ b, a @ c)
"""
MNIST = """
from torchvision.datasets import MNIST
train = MNIST(helpers.data_root(), train=True)
test = MNIST(helpers.data_root(), train=False)
assert (len(train), len(test)) == (60_000, 10_000)
assert [test[i][1] for i in range(5)] == [7, 2, 1, 0, 4]
"""


def test_frameworks_find_the_assets_without_network() -> None:
    for asset in ("mobilenet-v2", "all-minilm-l6-v2", "mnist", "photos"):
        require(asset)
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + MOBILENET + MINILM + MNIST],
        capture_output=True,
        check=False,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_mnist_is_the_official_file() -> None:
    require("mnist")
    digest = sha256_of(data_root() / "MNIST" / "raw" / "train-images-idx3-ubyte")
    assert digest.startswith("ba891046e6505d7a")


def test_mobilenet_is_the_file_torchvision_serves() -> None:
    path = require("mobilenet-v2")
    assert sha256_of(path).startswith(path.stem.partition("-")[2])


def test_the_snapshot_carries_its_card() -> None:
    folder = require("all-minilm-l6-v2")
    revision = (folder / "refs" / "main").read_text()
    card = (folder / "snapshots" / revision / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card


def test_everything_installed_is_in_order() -> None:
    for asset in select([], load_manifest()):
        require(asset.id)
        assert verify(asset, cache_root()) == []
