"""Figures draw what they are given."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from helpers import plotting


@pytest.fixture(autouse=True)
def close(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def test_pictures_of_every_kind_in_rows() -> None:
    pictures = [
        torch.rand(3, 8, 8),
        torch.rand(1, 8, 8),
        torch.rand(8, 8),
        Image.new("RGB", (8, 8), "red"),
        Image.new("L", (8, 8)),
    ]
    plotting.show_images(pictures, ["a", "b", "c", "d", "e"], columns=2)
    axes = plt.gcf().axes
    assert len(axes) == 6
    shapes = [ax.images[0].get_array().shape for ax in axes[:5]]  # type: ignore[union-attr]
    assert shapes == [(8, 8, 3), (8, 8), (8, 8), (8, 8, 3), (8, 8)]
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", "d", "e", ""]
    assert not axes[5].images


def test_confusion_counts_rows_as_truth() -> None:
    ax = plotting.plot_confusion_matrix(
        [[5, 1, 0], [0, 2, 0], [0, 0, 0]], ["cat", "dog", "owl"]
    )
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(0, 0): "5", (1, 0): "1", (1, 1): "2"}
    assert ax.get_xlabel() == "predicted"
    assert ax.get_ylabel() == "true"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog", "owl"]
    shares = ax.images[0].get_array()
    assert shares is not None
    assert shares[1, 1] == 1  # the rare class does not look empty
    assert np.isfinite(shares).all()


def test_the_spread_is_one_deviation_around_the_mean() -> None:
    _, ax = plt.subplots()
    plotting.plot_mean_std([1, 2], [[0.0, 4.0], [2.0, 4.0]], ax, label="runs")
    assert list(ax.lines[0].get_ydata()) == [1.0, 4.0]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]  # type: ignore[index]
    assert heights.min() == pytest.approx(1 - 2**0.5)
    assert heights.max() == pytest.approx(4.0)
