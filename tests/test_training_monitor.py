"""Early stopping and ``history.best`` know in which direction a score is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import helpers
from tests.training_cases import blobs, loader, mlp, same, weights

# The validation's predictions, epoch by epoch; its targets are zero.
ERRORS = [1.69, 1.02, 0.56, 0.7]


class Scores:
    """A metric that is no torchmetrics object: the mean of the outputs."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def update(self, preds: Any, target: Any) -> None:
        self.values.append(float(preds.mean()))

    def compute(self) -> float:
        return self.values[-1]

    def reset(self) -> None:
        self.values.clear()


def scripted(seen: list[dict[str, torch.Tensor]]) -> Any:
    """A step whose validation outputs are ``ERRORS``, one an epoch."""
    errors = iter(ERRORS)

    def step(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = model(batch[0])
        if not model.training:
            seen.append(weights(model))
            outputs = torch.full_like(outputs, next(errors))
        return nn.functional.mse_loss(outputs, batch[1]), outputs

    return step


def regression() -> Any:
    """Batches for training, and one batch for validation."""
    x = blobs().tensors[0]
    data = TensorDataset(x, torch.zeros(len(x), 3))
    return loader(data), DataLoader(data, len(data))


def run(metric: Any, **arguments: Any) -> tuple[nn.Module, Any, Any]:
    """Four epochs that watch ``metric``; model, history, weights of every epoch."""
    seen: list[dict[str, torch.Tensor]] = []
    model = mlp()
    history = helpers.fit(
        model,
        *regression(),
        epochs=4,
        step=scripted(seen),
        metrics={"score": metric},
        monitor="valid_score",
        **{"patience": 2, **arguments},
    )
    return model, history, seen


def test_an_error_of_torchmetrics_should_fall() -> None:
    model, history, seen = run(torchmetrics.MeanAbsoluteError())
    assert history["valid_score"] == pytest.approx(ERRORS)
    assert history.outcome == "finished"
    assert same(model, seen[2])
    assert history.best("valid_score")["epoch"] == 3


def test_a_score_of_torchmetrics_should_rise() -> None:
    f1 = torchmetrics.F1Score("multiclass", num_classes=3)
    history = helpers.fit(
        mlp(),
        loader(),
        loader(blobs(30)),
        epochs=30,
        lr=0.05,
        metrics={"f1": f1},
        monitor="valid_f1",
        patience=2,
    )
    assert history.outcome == "early stop"
    assert history.best("valid_f1")["valid_f1"] == max(history["valid_f1"])


@pytest.mark.parametrize("metric", [Scores, torchmetrics.MeanMetric])
def test_a_score_of_unknown_direction_needs_a_mode(metric: Any) -> None:
    with pytest.raises(ValueError, match=r"valid_score.*mode='min'.*mode='max'"):
        run(metric())


@pytest.mark.parametrize(("mode", "best"), [("min", 3), ("max", 1)])
def test_mode_says_which_is_better(mode: Any, best: int) -> None:
    model, history, seen = run(Scores(), mode=mode)
    assert same(model, seen[best - 1])
    assert history.best("valid_score")["epoch"] == best


def test_mode_is_checked() -> None:
    with pytest.raises(ValueError, match=r"mode='lower'.*'min'.*'max'"):
        run(Scores(), mode="lower")
    with pytest.raises(ValueError, match=r"mode='min'.*patience="):
        run(Scores(), mode="min", patience=None)


def test_the_history_knows_the_direction_without_patience_and_from_a_file(
    tmp_path: Path,
) -> None:
    mae = torchmetrics.MeanAbsoluteError()
    _, history, _ = run(mae, patience=None)
    assert history.best("valid_score")["epoch"] == 3
    history.save(tmp_path / "history.json")
    loaded = helpers.History.load(tmp_path / "history.json")
    assert loaded.best("valid_score")["epoch"] == 3


def test_the_history_asks_for_a_direction_that_nobody_knows() -> None:
    _, history, _ = run(Scores(), patience=None)
    with pytest.raises(ValueError, match=r"valid_score.*mode='min'.*mode='max'"):
        history.best("valid_score")
    assert history.best("valid_score", mode="min")["epoch"] == 3
    assert history.best("valid_score", mode="max")["epoch"] == 1


def test_a_resumed_run_still_knows_the_direction(tmp_path: Path) -> None:
    model, history, _ = run(torchmetrics.MeanAbsoluteError(), folder=tmp_path)
    again, resumed, _ = run(torchmetrics.MeanAbsoluteError(), folder=tmp_path)
    assert same(model, again)
    assert resumed.best("valid_score") == history.best("valid_score")
    with pytest.raises(ValueError, match="mode: was min, is max"):
        run(torchmetrics.MeanAbsoluteError(), folder=tmp_path, mode="max")
