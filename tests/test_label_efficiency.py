"""The committed run of notebook 01: draws, augmentation, rule of choice, continuation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.examples import label_efficiency as recipe
from helpers.examples.label_efficiency import Setting, augment, curves, draw


def test_draws_are_nested_and_even() -> None:
    y = torch.arange(6).repeat_interleave(20)
    few, more = draw(y, 2, seed=3), draw(y, 5, seed=3)
    assert set(few) < set(more)
    assert y[more].bincount().tolist() == [5] * 6


@pytest.mark.parametrize("kind", ["mirror", "shapes", "shapes, colours"])
def test_augmented_pictures_stay_pictures_on_white_paper(kind: str) -> None:
    torch.manual_seed(0)
    X = torch.ones(4, 3, 24, 24)
    assert torch.allclose(augment(X, kind), X)
    X[:, :, 8:16, 8:16] = 0.2
    changed = augment(X, kind)
    assert changed.shape == X.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.allclose(changed, X)


def test_only_the_setting_chosen_on_validation_meets_the_test_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "curves.csv"
    stages = (("lr", (1e-3, 1e-2)),)
    small = {
        "labels": (2,),
        "chances": 1,
        "search": {"plain": (Setting("none", 1e-2, 1), 1, stages)},
    }
    curves(target, **small)
    rows = pd.read_csv(target, comment="#", dtype={"hits": str})
    tried, tested = rows[rows["hits"].isna()], rows.dropna(subset="hits")
    assert tried["lr"].tolist() == [1e-3, 1e-2]
    assert tested["lr"].item() == tried.loc[tried["valid"].idxmax(), "lr"]
    hits = [int(hit) for hit in tested["hits"].item()]
    assert sum(hits) / len(hits) == pytest.approx(tested["as drawn"].item(), abs=1e-4)
    before = target.read_bytes()
    monkeypatch.setattr(recipe, "train_from_scratch", None)  # must not be called again
    curves(target, **small)
    assert target.read_bytes() == before
