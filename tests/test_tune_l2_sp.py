"""The climb of notebook 07 over centres of an L2 pull: rule of choice, continuation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from helpers.examples import tune_l2_sp as recipe

BEST = {"lr": 1e-3, "head_lr": 3e-3, "head_strength": 0.01, "strength": 0.3}


def made_up(
    centre: str, setting: recipe.Setting, seed: int, test: bool
) -> dict[str, str]:
    """A bowl around ``BEST`` instead of a training; the test surprise is a trap."""
    far = sum(math.log(value / BEST[name]) ** 2 for name, value in setting.items())
    row = dict.fromkeys(recipe.COLUMNS[recipe.COLUMNS.index("seconds") :], "")
    row |= {"seconds": "1", "valid_loss": str(1 + far / 10 + seed / 100)}
    return row | ({"test": "0.5", "test_loss": str(-far)} if test else {})


def test_search_opens_the_test_once_a_centre_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "_run", made_up)
    target = tmp_path / "runs.csv"
    recipe.search(target, seeds=(0, 1))
    rows = pd.read_csv(target, comment="#")
    chosen = rows[rows["test"].notna()]
    assert len(chosen) == 2 * len(recipe.CENTRES)
    for centre, names in recipe.CENTRES.items():
        part = chosen[chosen["centre"] == centre]
        for name in names:
            assert part[name].unique().tolist() == [BEST[name]]
        every = rows[rows["centre"] == centre]
        assert part["valid_loss"].min() == every["valid_loss"].min()
        assert not every.duplicated(["seed", *recipe.FIRST]).any()
    before = target.read_bytes()
    monkeypatch.setattr(recipe, "_run", None)  # must not be called again
    recipe.search(target, seeds=(0, 1))
    assert target.read_bytes() == before


def test_names_of_a_draw_are_apart_and_the_test_is_always_the_same() -> None:
    parts: dict[int, dict[str, Any]] = {seed: recipe.draw(seed) for seed in (0, 1)}
    sizes = {name: len(loader.dataset) for name, loader in parts[0].items()}
    assert sizes == {"train": 60, "valid": 300, "test": 300}
    first, second = (parts[seed]["test"].dataset.tensors[0] for seed in (0, 1))
    assert torch.equal(first, second)
    labels = parts[0]["train"].dataset.tensors[2]
    assert labels.bincount().tolist() == [10] * 6


def test_the_objective_adds_both_pulls() -> None:
    model = recipe.Upper(seed=0).eval()
    batch = next(iter(recipe.draw(seed=0)["train"]))
    start = {n: w.detach().clone() for n, w in model.layer.named_parameters()}
    plain, scores = recipe.objective(model, batch, start)
    assert plain == torch.nn.functional.cross_entropy(scores, batch[2])
    assert torch.equal(recipe.objective(model, batch, start, 5.0)[0], plain)
    head = sum(w.square().sum() for w in model.head.parameters())
    pulled, _ = recipe.objective(model, batch, start, 5.0, 2.0)
    torch.testing.assert_close(pulled, plain + 2.0 * head)


def test_an_unknown_centre_is_refused() -> None:
    with pytest.raises(ValueError, match="centre='nowhere'"):
        recipe.train("nowhere", recipe.FIRST, 0, recipe.draw(0)["train"])
