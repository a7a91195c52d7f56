"""The long runs of notebook 03: they run, continue, and choose on validation alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.examples import objectives_on_digits as on_digits
from helpers.examples import objectives_on_text as on_text
from helpers.examples import records
from helpers.features import Features


def accuracies(row: str) -> list[float]:
    return [float(a) for a in row.split()]


def digits(folder: Path) -> None:
    on_digits.run(folder, limit=200, brisk=True)


def text(folder: Path) -> None:
    on_text.run(folder, brisk=True)


@pytest.mark.parametrize(("run", "name"), [(digits, "03_digits"), (text, "03_text")])
def test_a_run_writes_its_table_and_continues(
    run: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    run(tmp_path)
    path = tmp_path / f"{name}.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")  # as if interrupted
    run(tmp_path)
    again = pd.read_csv(path, comment="#").drop(columns="seconds")
    path.write_text("".join(lines), encoding="utf-8")
    pd.testing.assert_frame_equal(
        again, pd.read_csv(path, comment="#").drop(columns="seconds")
    )
    assert "command: python -m helpers.examples" in "".join(lines)


@pytest.mark.parametrize("path", sorted(records.RUNS.glob("03_*.csv")))
def test_the_committed_choice_is_the_best_on_validation(path: Path) -> None:
    rows = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)
    by = ["start", "way"] if "way" in rows else ["start", "task"]
    tried = rows[(rows.split == "valid") & rows.setting.ne("")]
    assert len(tried) > 10
    for key, group in tried.groupby(by):
        if key == ("the 50", "probe"):
            continue  # the steps stand in another column
        means = [sum(accuracies(row)) for row in group.accuracy]
        best = group.setting.iloc[means.index(max(means))]
        final = rows[(rows.split == "test") & (rows[by] == list(key)).all(axis=1)]
        assert set(final.setting) == {best}, key


def test_the_committed_run_has_three_seeds_and_ten_draws() -> None:
    rows = pd.read_csv(records.RUNS / "03_digits.csv", comment="#")
    for name in on_digits.OBJECTIVES:
        mine = rows[
            (rows.split == "test") & (rows.start == name) & (rows.way == "probe")
        ]
        part = mine[mine.epochs == on_digits.LONG]
        assert set(part.seed) == {0, 1, 2}
        assert all(len(row.split()) == 10 for row in part.accuracy)


def test_the_judge_counts_only_what_the_classifier_is_sure_of() -> None:
    scores = torch.zeros(50, 10)
    scores[:20, 3] = scores[20:40, 7] = 9.0  # sure; the last ten are not
    found = on_digits.judge_samples(torch.nn.Identity(), scores)
    assert found == {"sure": pytest.approx(0.8), "classes": 2}


def test_a_probe_finds_what_is_there_and_nothing_else() -> None:
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    noise = torch.randn(400, 5, generator=rng)
    told = torch.cat([noise, 4.0 * y[:, None]], dim=1)
    for x, low, high in [(told, 0.95, 1.0), (noise, 0.35, 0.65)]:
        parts = Features(x[:200], y[:200]), Features(x[200:], y[200:])
        assert low <= on_digits.probe(*parts, k=20).mean() <= high
