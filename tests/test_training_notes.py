"""An error of torch or of the dataset keeps its words and gains place and fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import helpers
from tests.training_cases import Listed, blobs, cnn, loader, mlp, pictures

X, Y = blobs().tensors


def told(error: BaseException) -> str:
    """The message with its notes, as a traceback shows them."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


def explains(call: Callable[[], object], *words: str, original: str) -> None:
    """``call`` fails with the library's own words, and with all of ``words``."""
    with pytest.raises(Exception) as caught:
        call()
    assert original in str(caught.value)
    missing = [word for word in words if word not in told(caught.value)]
    assert not missing, f"{missing} not in: {told(caught.value)}"


def ragged(index: int) -> Any:
    return torch.zeros(4 if index != 9 else 5), torch.tensor(0)


CASES: dict[str, tuple[Callable[[], nn.Module], Any, str, tuple[str, ...]]] = {
    "one-hot integers": (
        mlp,
        TensorDataset(X, nn.functional.one_hot(Y, 3)),
        "target",
        ("int64 (8, 3)", "y.argmax(1)", "float()"),
    ),
    "float64 inputs": (mlp, TensorDataset(X.double(), Y), "dtype", (".float()",)),
    "integer inputs": (mlp, TensorDataset(X.long(), Y), "dtype", (".float()",)),
    "float64 pictures": (
        cnn,
        TensorDataset(pictures().tensors[0].double(), pictures().tensors[1]),
        "type",
        ("float64 (8, 3, 8, 8)", ".float()"),
    ),
    "float inputs of an embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(16, 3)),
        TensorDataset(X, Y),
        "indices",
        (".long()",),
    ),
    "ids beyond an embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(16, 3)),
        TensorDataset(X.long() + 90, Y),
        "out of range",
        ("Embedding", "tokenizer"),
    ),
    "a wrong width": (
        mlp,
        blobs(width=5),
        "cannot be multiplied",
        ("float32 (8, 5)", "first layer"),
    ),
    "a wrong number of channels": (
        cnn,
        TensorDataset(torch.zeros(9, 1, 8, 8), torch.zeros(9, dtype=torch.int64)),
        "channels",
        ("float32 (8, 1, 8, 8)", "first layer"),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_library_errors_of_a_step_gain_batch_shapes_and_fix(
    name: str, call: str
) -> None:
    make, data, original, words = CASES[name]
    if call == "predict" and name == "one-hot integers":
        pytest.skip("predict ignores labels")
    place = ("batch 1 of", "examples 0, 1, 2")
    data = DataLoader(data, 8)
    explains(
        lambda: getattr(helpers, call)(make(), data), *place, *words, original=original
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_ragged_examples(workers: int) -> None:
    data = DataLoader([ragged(i) for i in range(16)], 8, num_workers=workers)
    explains(
        lambda: helpers.fit(mlp(), data),
        *("batch 2 of 2 of train", "examples 8, 9, 10", "collate_fn"),
        original="equal size",
    )


class Broken(Listed):
    def __getitem__(self, index: int) -> Any:
        if index == 13:
            raise KeyError("no picture")
        return self.dataset[index]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_a_dataset_that_raises_names_the_example(call: str, workers: int) -> None:
    data = DataLoader(Broken(blobs(20)), 8, num_workers=workers)
    name = "train" if call == "fit" else "loader"
    explains(
        lambda: getattr(helpers, call)(mlp(), data),
        *(f"batch 2 of 3 of {name}", "examples 8, 9, 10", "dataset[13]"),
        original="no picture",
    )


def test_the_note_is_added_once_and_counts_epochs() -> None:
    calls = 0

    def step(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise RuntimeError("mine")
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    with pytest.raises(RuntimeError, match="mine") as caught:
        helpers.fit(mlp(), loader(shuffle=False), epochs=2, step=step)
    assert str(caught.value) == "mine"
    (note,) = caught.value.__notes__
    assert "batch 3 of 8 of train" in note


@pytest.mark.parametrize("how", ["detached", "frozen path", "no_grad"])
def test_a_loss_without_gradient_is_explained(how: str) -> None:
    def step(model: nn.Module, batch: Any) -> Any:
        if how == "no_grad":
            with torch.no_grad():
                outputs = model(batch[0])
        elif how == "detached":
            outputs = model(batch[0]).detach()
        else:
            outputs = batch[0][:, :3]
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    with pytest.raises(ValueError, match=r"no gradient.*detach\(\).*no_grad"):
        helpers.fit(mlp(), loader(), step=step)
    assert helpers.evaluate(mlp(), loader(), step=step)["loss"] > 0
