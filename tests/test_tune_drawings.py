"""The run of notebook 10, frozen against fine-tuned: head, average, rule of choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from helpers.examples import tune_drawings
from helpers.examples.tune_drawings import Data, blend, ridge_head, ridge_probe, sweep


def test_the_head_answers_as_the_probe_does() -> None:
    x, y = torch.randn(90, 8), torch.arange(90) % 3
    x[torch.arange(90), y] += 2
    probe = ridge_probe(x, y)
    with torch.no_grad():
        scores = ridge_head(probe, sharper=3)(x)
    expected = torch.from_numpy(probe.decision_function(x.numpy())).float()
    torch.testing.assert_close(scores, 3 * expected, rtol=1e-4, atol=1e-4)


def test_a_blend_is_the_average_of_all_weights() -> None:
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    for alpha in (0.0, 0.25, 1.0):
        for mean, a, b in zip(
            blend(one, two, alpha).parameters(),
            one.parameters(),
            two.parameters(),
            strict=True,
        ):
            torch.testing.assert_close(mean, (1 - alpha) * a + alpha * b)


def test_a_read_draws_a_view_and_evaluation_takes_the_first() -> None:
    data = Data(torch.stack([torch.zeros(40, 2), torch.ones(40, 2)]), torch.arange(40))
    drawn = torch.stack([data[i][0] for i in range(40)])
    assert 0 < drawn.mean() < 1
    assert next(iter(data.plain()))[0].sum() == 0


def test_the_folds_choose_and_only_their_choice_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {(12, 3e-4): 0.6, (12, 1e-4): 0.5, (5, 3e-4): 0.4, (0, 0.0): 0.3}

    def run(*what: Any) -> list[dict[str, Any]]:
        _, _, fold, _, thawed, lr, views, alphas = what
        rows = []
        for alpha in alphas if thawed else (0.0,):
            row = dict(zip(tune_drawings.COLUMNS, what[:7], strict=False))
            row |= {"alpha": alpha, "seconds": 1}
            score = good[thawed, lr] + (0.1 if alpha == 0.75 else 0)
            score -= 0.05 if views == "mirrored" else 0
            row |= {"valid" if fold is not None else "test": score, "answers": "01"}
            rows.append(row)
        return rows

    monkeypatch.setattr(tune_drawings, "run", run)
    target = tmp_path / "fight.csv"
    small = {"rates": {5: (3e-4,), 12: (1e-4, 3e-4)}, "folds": (0, 1), "seeds": (0, 1)}
    sweep(target, **small)
    rows = pd.read_csv(target, comment="#", dtype={"answers": str})
    tested = rows[rows["test"].notna()]
    tuned = tested[tested["thawed"] > 0]
    assert set(tested["thawed"]) == {0, 12} and set(tuned["lr"]) == {3e-4}
    assert set(tested["views"]) == {"plain"} and set(tuned["alpha"]) == {0.75, 1.0}
    assert set(tuned["seed"]) == {0, 1}
    before = target.read_bytes()
    monkeypatch.setattr(tune_drawings, "run", None)  # must not be called again
    sweep(target, **small)
    assert target.read_bytes() == before
