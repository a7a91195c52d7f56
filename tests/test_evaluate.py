"""What ``evaluate`` and ``predict`` compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import helpers
from tests.training_cases import (
    Listed,
    blobs,
    loader,
    mlp,
)


def test_evaluate_reports_what_a_loop_by_hand_counts() -> None:
    model, data = mlp(dropout=0.5), blobs(61)
    model.eval()
    x, y = data.tensors
    scores = model(x)
    result = helpers.evaluate(model, loader(data))
    assert result["loss"] == pytest.approx(
        nn.functional.cross_entropy(scores, y).item(), rel=1e-5
    )
    right = (scores.argmax(1) == y).sum().item()
    assert result["accuracy"] == pytest.approx(right / 61)


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
def test_predict_returns_dataset_order_from_a_shuffling_loader(wrap: Any) -> None:
    model, data = mlp(dropout=0.5), blobs(61)
    outputs = helpers.predict(model, loader(wrap(data), shuffle=True, drop_last=True))
    assert outputs.shape == (61, 3)
    assert torch.allclose(outputs, model.eval()(data.tensors[0]), atol=1e-6)
    outputs.requires_grad_()  # usable for training, unlike an inference tensor


def test_predict_reads_datasets_without_labels() -> None:
    model, x = mlp(), torch.randn(9, 4)
    outputs = helpers.predict(model, DataLoader(TensorDataset(x), 4))
    assert torch.allclose(outputs, model(x), atol=1e-6)


def test_the_label_that_means_no_label_counts_for_nothing() -> None:
    model, data = mlp(), blobs(61)
    right = model.eval()(data.tensors[0]).argmax(1) == data.tensors[1]
    assert right.any()
    assert not right.all()
    for place in (int(right.nonzero()[0]), int((~right).nonzero()[0])):
        unlabelled = blobs(61)
        unlabelled.tensors[1][place] = -100
        found = helpers.evaluate(model, loader(unlabelled))["accuracy"]
        expected = (int(right.sum()) - int(right[place])) / 60
        assert found == pytest.approx(expected)
