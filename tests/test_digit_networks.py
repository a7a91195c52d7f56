"""The committed run of notebook 08: rule of choice, what is opened, the file's head."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers.examples.compare_digit_networks import NETWORKS, TARGET, compare, main


def chosen_on_validation(rows: pd.DataFrame) -> None:
    for _, part in rows.groupby("network"):
        tried = part[part["seed"] == 0]
        best = tried.loc[tried["valid"].idxmax()]
        assert tried["lr"].min() < best["lr"] < tried["lr"].max()
        tested = part[part["test"].notna()]
        assert set(tested["lr"]) == {best["lr"]}, "the test file is open too wide"


def test_only_the_rate_chosen_on_validation_is_tested(tmp_path: Path) -> None:
    target = tmp_path / "networks.csv"
    compare(target, networks=["small"], seeds=(0, 1), limit=256, epochs=1)
    rows = pd.read_csv(target, comment="#")
    chosen_on_validation(rows)
    assert sorted(rows.dropna()["seed"]) == [0, 1]
    assert "256 training digits, 1 epochs" in target.read_text(encoding="utf-8")


def test_the_committed_run_follows_the_same_rule() -> None:
    rows = pd.read_csv(TARGET, comment="#")
    chosen_on_validation(rows)
    assert set(rows["network"]) == set(NETWORKS)
    assert (rows.dropna().groupby("network").size() == 5).all()


def test_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fast"]) == 2
    assert "python -m helpers.examples" in capsys.readouterr().err
