"""The sweep of notebook 17 over LoRA ranks: rows, rule of choice, continuation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers.examples import sweep_lora_ranks
from helpers.examples.sweep_lora_ranks import HEAD, classifier, sweep


def test_sweep_tests_only_the_rate_chosen_on_validation_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "ranks.csv"
    small = {"ranks": (HEAD, 1), "seeds": (0,), "limit": 32}
    sweep(target, **small)
    rows = pd.read_csv(target, comment="#")
    assert rows["rank"].unique().tolist() == [0, 1]
    # Rates by validation until the best is no end of them; then that one, tested.
    assert rows["test"].notna().sum() == 2
    for _, part in rows.groupby("rank"):
        assert len(part) >= 4
        chosen = part[part["test"].notna()]
        assert chosen["valid"].item() == part["valid"].max()
        assert part["lr"].min() < chosen["lr"].item() < part["lr"].max()
    assert rows["trainable"].tolist()[0] == 770
    before = target.read_bytes()
    monkeypatch.setattr(sweep_lora_ranks, "train", None)  # must not be called again
    sweep(target, **small)
    assert target.read_bytes() == before


def test_a_rank_below_minus_one_is_refused() -> None:
    with pytest.raises(ValueError, match="rank=-2"):
        classifier(-2, seed=0)
