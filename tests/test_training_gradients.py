"""A gradient that is no number never reaches the weights or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import helpers
from helpers.loop import readings
from tests.training_cases import blobs, loader, mlp, same, weights


class Break(torch.autograd.Function):
    """The identity, with a gradient that is no finite number."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, value: float) -> torch.Tensor:
        ctx.value = value
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0] * ctx.value, None


def breaking(at: int, value: float = torch.nan) -> Any:
    """A classification step whose gradient breaks when it is called ``at`` times."""
    calls = 0

    def step(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        outputs = model(batch[0])
        if model.training:
            outputs = Break.apply(outputs, value if calls == at else 1.0)
            calls += 1
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    return step


def test_the_break_of_these_tests_has_a_finite_loss() -> None:
    model = mlp()
    x, y = blobs(8).tensors
    loss, _ = breaking(0)(model, (x, y))
    loss.backward()
    assert loss.isfinite()
    assert model[0].weight.grad.isnan().any()


@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_error_names_step_and_examples_before_the_step(
    value: float, clip: float | None, tmp_path: Path
) -> None:
    train, model = loader(shuffle=False), mlp()
    with pytest.raises(ArithmeticError) as caught:
        helpers.fit(
            model,
            train,
            epochs=2,
            clip=clip,
            step=breaking(9, value),
            folder=tmp_path,
            save_every=3,
        )
    text = str(caught.value)
    for words in ("gradient", "epoch 2, batch 2 of 8", "examples 8, 9, 10"):
        assert words in text
    assert all(p.isfinite().all() for p in model.parameters())
    resumed: list[Any] = []
    whole, again = mlp(), mlp()
    again.register_forward_pre_hook(lambda m, _: resumed.append(weights(m)))
    common: Any = {"epochs": 2, "clip": clip, "step": breaking(-1)}
    helpers.fit(again, train, folder=tmp_path, save_every=3, **common)
    helpers.fit(whole, train, **common)
    assert same(again, whole)
    assert all(t.isfinite().all() for t in resumed[0].values())


def test_all_examples_of_an_accumulated_step_are_named() -> None:
    model = mlp()
    train = loader(batch_size=2, shuffle=False)
    with pytest.raises(ArithmeticError, match="examples 6, 7, 8, 9, 10, 11 of"):
        helpers.fit(model, train, accumulate=3, step=breaking(4))
    expected = mlp()
    first = torch.utils.data.Subset(blobs(), range(6))
    helpers.fit(expected, loader(first, 2, shuffle=False), accumulate=3)
    assert same(model, expected)


def test_sparse_gradients_train_with_and_without_clipping() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 3, sparse=True)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table(ids).mean(dim=1)

    ids = torch.arange(60).reshape(20, 3) % 9
    train = loader(torch.utils.data.TensorDataset(ids, ids[:, 0] % 3))
    for clip in (1.0, None):
        model = Words()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        history = helpers.fit(model, train, epochs=3, optimizer=sgd, clip=clip)
        assert history["train_loss"][-1] < history["train_loss"][0]


@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("fused", [True, False])
def test_where_reading_waits_the_weights_are_safe_all_the_same(
    fused: bool, clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The CPU stands for a GPU, whose numbers are read once in so many steps.
    monkeypatch.setattr(readings, "_AT_ONCE", {})
    model, seen = mlp(), []
    take = breaking(3)

    def step(model: nn.Module, batch: Any) -> Any:
        seen.append(weights(model))
        return take(model, batch)

    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    train = loader(shuffle=False)
    with pytest.raises(readings.NonFiniteGradient, match="epoch 1, batch 4 of 8"):
        helpers.fit(model, train, optimizer=optimizer, step=step, clip=clip)
    assert all(p.isfinite().all() for p in model.parameters())
    if fused:  # it went on until the numbers were read
        assert len(seen) > 4
        assert same(seen[4], seen[3])
    else:
        assert len(seen) == 4
        assert same(model, seen[3])


def test_reading_later_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    now, later = mlp(), mlp()
    helpers.fit(now, loader(), epochs=3)
    monkeypatch.setattr(readings, "_AT_ONCE", {})
    helpers.fit(later, loader(), epochs=3)
    assert same(now, later)
