"""The long run of notebook 11: rule of choice, bits of right answers, continuation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.datasets import movie_reviews
from helpers.examples import compare_sentiment
from helpers.examples.compare_sentiment import ASKED, TESTED, compare, read, sample


def test_only_the_rate_chosen_on_validation_is_tested_and_the_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "sentiment.csv"
    monkeypatch.setattr(compare_sentiment, "RATES", {"full": (2e-4, 4e-4, 8e-4)})
    monkeypatch.setattr(compare_sentiment, "_ask", lambda table, limit: None)
    compare(target, seeds=(0,), limit=16)
    rows = read(target)
    tried = rows[rows["valid_loss"].notna()]
    assert len(tried) >= 3
    chosen = tried[tried["test"].notna()]
    assert chosen["valid_loss"].item() == tried["valid_loss"].min()
    rates = tried["setting"].astype(float)
    assert rates.min() < float(chosen["setting"].item()) < rates.max()
    for row in rows[rows["test"].notna()].to_dict("records"):
        assert row["right"].mean() == pytest.approx(row["test"], abs=1e-4)
    before = target.read_bytes()
    monkeypatch.setattr(compare_sentiment, "classifier", None)  # must not be called
    compare(target, seeds=(0,), limit=16)
    assert target.read_bytes() == before


def test_committed_run_is_whole() -> None:
    table = read()
    tested = table[table["test"].notna()]
    runs = tested.groupby(["method", "labels"]).size().to_dict()
    wanted = {("full", 750): 3, ("CLS", 750): 3, ("LoRA", 750): 3, ("full", 100): 3}
    assert runs == wanted | {("asked", 0): 1, ("asked, median", 0): 1}
    for row in tested.to_dict("records"):
        assert len(row["right"]) == (ASKED if row["labels"] == 0 else TESTED)
        assert row["right"].mean() == pytest.approx(row["test"], abs=1e-4)
    tuned = table[(table["labels"] == 750) & (table["seed"] == 0)]
    for _, part in tuned.groupby("method"):
        best = part.loc[part["valid_loss"].idxmin()]
        assert not pd.isna(best["test"]) and part["test"].notna().sum() == 1


def test_a_sample_is_fair_and_begins_with_the_smaller_one() -> None:
    large, small = sample("test", TESTED), sample("test", ASKED)
    assert large.texts[:ASKED] == small.texts
    assert torch.equal(large.labels[:ASKED], small.labels)
    assert 0.45 < small.labels.double().mean() < 0.55
    first = movie_reviews("test", limit=50).labels.double().mean()
    assert first < 0.35, "the file's head is no fair sample"
