"""Cached features are what the backbone would have said, and never stale."""

from __future__ import annotations

import functools
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import helpers
from helpers import features as features_module
from helpers.loop.hashing import ContentHash
from tests.training_cases import Augmented, Listed, blobs, cnn, loader, mlp, pictures

ROOT = Path(__file__).parent.parent


class Counting(nn.Module):
    """A backbone with batch norm and dropout that counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = cnn()[:5]
        self.dropout = nn.Dropout(0.5)
        self._calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._calls.append(len(x))
        return self.dropout(self.body(x))


def test_features_are_what_the_frozen_backbone_says() -> None:
    backbone, data = Counting(), pictures()
    found = helpers.cache_features(backbone, loader(data))
    expected = backbone.eval()(data.tensors[0])
    assert found.x.shape == (24, 16)
    assert found.x.dtype == torch.float32
    assert found.width == 16
    assert len(found) == 24
    assert not found.from_cache
    assert torch.allclose(found.x, expected, atol=1e-6)
    head = nn.Linear(16, 3)  # in a loop of one's own
    nn.functional.cross_entropy(head(found.x), found.y).backward()
    assert head.weight.grad is not None


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
def test_rows_are_in_dataset_order_though_the_loader_shuffles(wrap: Any) -> None:
    data = blobs(61)
    found = helpers.cache_features(nn.Identity(), loader(wrap(data), drop_last=True))
    assert torch.equal(found.x, data.tensors[0])
    assert torch.equal(found.y, data.tensors[1])


def test_a_head_learns_the_same_from_features_as_behind_the_backbone() -> None:
    backbone = helpers.freeze(Counting())
    data = pictures()
    cached = helpers.cache_features(backbone, loader(data))
    torch.manual_seed(0)
    head = nn.Linear(16, 3)
    whole = nn.Sequential(backbone.body, nn.Linear(16, 3))
    whole[1].load_state_dict(head.state_dict())
    helpers.fit(whole, loader(data), epochs=2)
    helpers.fit(head, cached.loader(batch_size=8, shuffle=True), epochs=2)
    # One rounding apart: the backbone saw other batches.
    assert torch.allclose(head.weight, whole[1].weight, atol=1e-5)  # type: ignore[arg-type]


def test_a_folder_is_read_back_without_running_the_backbone(tmp_path: Path) -> None:
    backbone, train = Counting(), loader(pictures())
    first = helpers.cache_features(backbone, train, folder=tmp_path / "deep" / "er")
    backbone._calls.clear()
    second = helpers.cache_features(backbone, train, folder=tmp_path / "deep" / "er")
    assert backbone._calls == []
    assert (first.from_cache, second.from_cache) == (False, True)
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.y, second.y)
    second.x.zero_()  # a learner's slip must not reach the file
    third = helpers.cache_features(backbone, train, folder=tmp_path / "deep" / "er")
    assert torch.equal(first.x, third.x)


def scaled(batch: Any, factor: float) -> torch.Tensor:
    return batch[0].flatten(1) * factor


FACTOR = 2.0


def by_global(model: nn.Module, batch: Any) -> torch.Tensor:
    return scaled(batch, FACTOR)


class Scaler:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return scaled(batch, self.factor)


def closure(factor: float) -> Callable[[nn.Module, Any], torch.Tensor]:
    return lambda model, batch: scaled(batch, factor)


def default(factor: float) -> Callable[[nn.Module, Any], torch.Tensor]:
    def embed(model: nn.Module, batch: Any, k: float = factor) -> torch.Tensor:
        return scaled(batch, k)

    return embed


EMBEDS: dict[str, tuple[Any, Any]] = {
    "method": (lambda m, b: b[0].mean((2, 3)), lambda m, b: b[0].amax((2, 3))),
    "number": (lambda m, b: scaled(b, 2), lambda m, b: scaled(b, 3)),
    "closure": (closure(2), closure(3)),
    "default": (default(2), default(3)),
    "object": (Scaler(2), Scaler(3)),
    "partial": (
        functools.partial(lambda m, b, k: scaled(b, k), k=2),
        functools.partial(lambda m, b, k: scaled(b, k), k=3),
    ),
    "none": (None, lambda m, b: m(b[0]) * 2),
}


@pytest.mark.parametrize("kind", EMBEDS)
def test_another_embed_is_computed_anew(kind: str, tmp_path: Path) -> None:
    backbone, train = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), loader(pictures())
    for embed in EMBEDS[kind]:
        found = helpers.cache_features(backbone, train, embed=embed, folder=tmp_path)
        assert not found.from_cache
        expected = helpers.cache_features(backbone, train, embed=embed)
        assert torch.equal(found.x, expected.x)
        again = helpers.cache_features(backbone, train, embed=embed, folder=tmp_path)
        assert again.from_cache


def test_a_changed_global_of_embed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: Any = {"embed": by_global, "folder": tmp_path}
    helpers.cache_features(nn.Identity(), loader(), **arguments)
    assert helpers.cache_features(nn.Identity(), loader(), **arguments).from_cache
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert not helpers.cache_features(nn.Identity(), loader(), **arguments).from_cache
    monkeypatch.setitem(globals(), "scaled", lambda batch, factor: batch[0] + factor)
    assert not helpers.cache_features(nn.Identity(), loader(), **arguments).from_cache


def test_other_weights_buffers_settings_or_data_are_noticed(tmp_path: Path) -> None:
    backbone, data = Counting(), pictures()

    def from_cache(data: Any, backbone: nn.Module = backbone) -> bool:
        return helpers.cache_features(
            backbone, loader(data), folder=tmp_path
        ).from_cache

    assert not from_cache(data)
    assert from_cache(data)
    with torch.no_grad():
        backbone.body[0].weight[0, 0, 0, 0] += 1e-6
    assert not from_cache(data)
    backbone.body[1].running_mean += 1
    assert not from_cache(data)
    data.tensors[0][3, 0, 0, 0] += 1e-6
    assert not from_cache(data)
    data.tensors[1][5] += 1
    assert not from_cache(data)
    data = TensorDataset(data.tensors[0] * 0.5, data.tensors[1])  # another transform
    assert not from_cache(data)
    assert from_cache(data)


class Texts(torch.utils.data.Dataset):
    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], 0


def lengths(model: nn.Module, batch: Any) -> torch.Tensor:
    return torch.tensor([[float(len(text))] for text in batch[0]])


def test_texts_are_part_of_the_data(tmp_path: Path) -> None:
    for texts, expected in [(("a", "bb"), [1, 2]), (("aaa", "b"), [3, 1])]:
        train = DataLoader(Texts(*texts), 2)
        found = helpers.cache_features(
            nn.Identity(), train, embed=lengths, folder=tmp_path
        )
        assert found.x.flatten().tolist() == expected
    assert found.y.tolist() == [0, 0]


def test_dict_batches_with_mean_pool() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=8,
        )
    )
    ids = torch.randint(1, 20, (6, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(6, 5, dtype=torch.int64)
    mask[3:, 3:] = 0
    rows = [
        {"input_ids": ids[i], "attention_mask": mask[i], "labels": torch.tensor(i)}
        for i in range(6)
    ]
    found = helpers.cache_features(model, loader(rows, 4), embed=helpers.mean_pool)
    model.eval()
    short = model(input_ids=ids[3:, :3]).last_hidden_state.mean(1)  # without padding
    whole = model(input_ids=ids[:3]).last_hidden_state.mean(1)
    assert torch.allclose(found.x, torch.cat([whole, short]), atol=1e-5)
    assert found.y.tolist() == [0, 1, 2, 3, 4, 5]


class Mirrored(Listed):
    """Mirrors every second picture or so, as RandomHorizontalFlip does."""

    def __getitem__(self, index: int) -> Any:
        x, y = self.dataset[index]
        return (x.flip(-1) if torch.rand(1) < 0.5 else x), y


@pytest.mark.parametrize(
    ("data", "batch_size"),
    [(Augmented(blobs()), 8), (Mirrored(blobs()), 8), (Mirrored(blobs()), 1)],
)
def test_a_random_transform_is_refused(data: Any, batch_size: int) -> None:
    with pytest.raises(ValueError, match=r"transform is random.*without augmentation"):
        helpers.cache_features(nn.Identity(), loader(data, batch_size))


def test_clear_errors() -> None:
    with pytest.raises(ValueError, match=r"\(8, 3, 8, 8\), not \(n, d\).*embed="):
        helpers.cache_features(nn.Identity(), loader(pictures()))
    with pytest.raises(ValueError, match="no batches"):
        helpers.cache_features(nn.Identity(), DataLoader(blobs(0), 4))
    with pytest.raises(TypeError, match="DataLoader"):
        helpers.cache_features(nn.Identity(), blobs())


def test_embed_with_something_that_cannot_be_named(tmp_path: Path) -> None:
    stream = (i for i in range(3))
    arguments: Any = {"embed": lambda m, b: b[0] + next(stream) * 0}
    with pytest.raises(TypeError, match="generator.*leave folder"):
        helpers.cache_features(nn.Identity(), loader(), folder=tmp_path, **arguments)


def name_of_everything() -> str:
    content = ContentHash()
    for value in (cnn(), by_global, closure(2), {"a", "b", "c"}, frozenset("xyz")):
        content.add(value)
    return content.name()


def test_names_are_the_same_in_another_process() -> None:
    code = "from tests import test_features as t; print(t.name_of_everything())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == name_of_everything()


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(file: Any, array: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(features_module.np, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            helpers.cache_features(nn.Identity(), loader(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not helpers.cache_features(
        nn.Identity(), loader(), folder=tmp_path
    ).from_cache


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    helpers.cache_features(nn.Identity(), loader(), folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"features-.*damaged.*delete"):
        helpers.cache_features(nn.Identity(), loader(), folder=tmp_path)


def cache_blobs(folder: Path) -> bytes:
    torch.set_num_threads(1)
    found = helpers.cache_features(nn.Flatten(), loader(), folder=folder)
    return found.x.numpy().tobytes()


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(cache_blobs, [tmp_path] * 6, chunksize=1)
    assert set(results) == {blobs().tensors[0].numpy().tobytes()}
    assert len(list(tmp_path.iterdir())) == 1


def test_features_feed_fit_and_evaluate() -> None:
    cached = helpers.cache_features(nn.Identity(), loader())
    head = mlp()
    history = helpers.fit(head, cached.loader(8, shuffle=True), epochs=5, lr=0.05)
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert helpers.evaluate(head, cached.loader())["accuracy"] > 0.9


def test_loaders_without_labels_are_refused() -> None:
    def embed(model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.ones(4, 3)

    for data in (TensorDataset(torch.ones(4, 3)), [torch.ones(3)] * 4):
        with pytest.raises(ValueError, match=r"no labels.*\(x, y\)"):
            helpers.cache_features(nn.Identity(), loader(data), embed=embed)


def test_what_a_killed_write_left_is_tidied(tmp_path: Path) -> None:
    name = f".saving@{socket.gethostname()}@999999999@features-1.npy"
    (tmp_path / name).write_bytes(b"half")
    helpers.cache_features(mlp(), loader(), folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("features-")


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def triple(x: torch.Tensor) -> torch.Tensor:
    return 3 * x


def name_of(part: nn.Module) -> str:
    content = ContentHash()
    content.add(part)
    return content.name()


@pytest.mark.parametrize(
    ("before", "after"),
    [((1, 2), (1, 3)), ([1], [2]), ({"a": 1}, {"a": 2}), (double, triple)],
)
def test_another_setting_of_a_module_is_noticed(before: Any, after: Any) -> None:
    part = nn.Linear(2, 2)
    part.setting = before
    first = name_of(part)
    assert name_of(part) == first
    part.setting = after
    assert name_of(part) != first


def test_an_edited_method_of_a_notebooks_class_is_noticed() -> None:
    def make(pool: Callable[..., Any]) -> nn.Module:
        def forward(self: Any, x: torch.Tensor) -> Any:
            return self.pool(x)

        own = {"forward": forward, "pool": pool, "__module__": "__main__"}
        return type("Backbone", (nn.Module,), own)()

    mean, largest = make(lambda self, x: x.mean(1)), make(lambda self, x: x.amax(1))
    assert name_of(mean) != name_of(largest)
    assert name_of(mean) == name_of(make(lambda self, x: x.mean(1)))


def test_a_class_that_has_items_can_be_named() -> None:
    content = ContentHash()
    content.add(lambda model, batch: dict(batch))
    content.add(dict)
    assert len(content.name()) == 24
