"""The program behind notebook 20's probes: it runs, continues, and its file is true."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers.examples import probe_models as recipe


def test_it_measures_what_is_missing_and_writes_a_table(tmp_path: Path) -> None:
    runs, target = tmp_path / "runs" / "rows.csv", tmp_path / "table.csv"
    recipe.main((80, 40), ["tiny-BERT"], runs, target)
    table = pd.read_csv(target, comment="#")
    assert list(table.columns) == recipe.FIELDS
    assert len(table) == 2 * 3  # tasks, and the word table with two layers
    assert table[["neighbours", "linear", "frozen"]].stack().between(0, 1).all()
    assert table.tuned.notna().sum() == 2
    assert target.read_text(encoding="utf-8").count("#") >= 4

    rows = runs.read_text(encoding="utf-8").splitlines()
    runs.write_text("\n".join(rows[:4]) + "\n", encoding="utf-8")  # interrupted
    recipe.main((80, 40), ["tiny-BERT"], runs, target)
    assert len(pd.read_csv(runs)) == 6
    again = pd.read_csv(target, comment="#")
    assert again.linear.to_list() == pytest.approx(table.linear.to_list(), abs=0.05)


def test_the_committed_table_is_what_the_program_measures() -> None:
    table = pd.read_csv(recipe.TARGET, comment="#")
    assert set(table.model) == set(recipe.MODELS)
    assert set(table.task) == set(recipe.TASKS)
    tokenizer, model = recipe.load("tiny-BERT")
    for task, texts in recipe.TASKS.items():
        layers = recipe.vectors(tokenizer, model, texts("train", recipe.PROBED))
        rows = table[(table.task == task) & (table.model == "tiny-BERT")]
        measured = [recipe.probes(layer) for layer in layers]
        committed = rows[["neighbours", "linear"]].to_numpy().tolist()
        for ours, theirs in zip(measured, committed, strict=True):
            assert list(ours) == pytest.approx(theirs, abs=0.041)
