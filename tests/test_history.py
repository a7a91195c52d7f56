"""A history is a table, a plot and a file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from helpers.loop.history import History


def history() -> History:
    rows = [
        {
            "epoch": float(number),
            "lr": 0.1,
            "train_loss": 1 / number,
            "valid_loss": loss,
            "valid_accuracy": accuracy,
            "seconds": 1.5,
        }
        for number, loss, accuracy in [(1, 0.9, 0.5), (2, 0.4, 0.8), (3, 0.6, 0.8)]
    ]
    return History(rows, "finished", steps=30, skipped=1)


def test_columns_by_name() -> None:
    assert history()["valid_loss"] == [0.9, 0.4, 0.6]
    assert history().last["epoch"] == 3
    assert len(history()) == 3
    with pytest.raises(KeyError, match="'accuracy'.*valid_accuracy"):
        history()["accuracy"]
    with pytest.raises(KeyError, match="nothing yet"):
        History()["train_loss"]
    with pytest.raises(IndexError, match="no epoch was finished"):
        _ = History().last


def test_the_best_row_is_lowest_for_losses_and_highest_for_scores() -> None:
    assert history().best()["epoch"] == 2
    assert history().best("train_loss")["epoch"] == 3
    assert history().best("valid_accuracy")["epoch"] == 2  # the first of equals
    broken = history()
    broken.rows[1]["valid_loss"] = math.nan
    assert broken.best()["epoch"] == 3


def test_a_history_from_before_the_modes_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    values = {k: v for k, v in vars(history()).items() if k != "modes"}
    path.write_text(json.dumps(values))
    assert History.load(path) == history()


def test_the_table_shows_timings_only_on_request() -> None:
    table = history().table()
    assert list(table.index) == [1, 2, 3]
    assert list(table.columns) == ["lr", "train_loss", "valid_loss", "valid_accuracy"]
    assert "seconds" in history().table(timing=True)
    assert History().table().empty


def test_a_file_gives_the_same_history_back(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    history().save(path)
    assert History.load(path) == history()
    assert [p.name for p in tmp_path.iterdir()] == ["history.json"]
    path.write_text(json.dumps({"rows": []}))
    with pytest.raises(ValueError, match="does not hold a history"):
        History.load(path)


def test_the_plot_shows_every_curve_with_its_name() -> None:
    ax = history().plot(label="run 1")
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["run 1 train loss", "run 1 valid loss", "run 1 valid accuracy"]
    assert list(ax.lines[1].get_ydata()) == [0.9, 0.4, 0.6]
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert right.get_ylabel() == "accuracy"
    assert list(right.lines[0].get_ydata()) == [0.5, 0.8, 0.8]
    plt.close("all")


def test_the_plot_needs_no_validation_and_takes_axes() -> None:
    rows = [{"epoch": 1.0, "lr": 0.1, "train_loss": 2.0, "seconds": 1.0}]
    _, ax = plt.subplots()
    assert History(rows).plot(ax) is ax
    assert len(ax.figure.axes) == 1
    plt.close("all")


def test_a_column_that_began_later_has_gaps() -> None:
    first = {"epoch": 1.0, "lr": 0.1, "train_loss": 2.0, "seconds": 1.0}
    history = History([first, {**first, "epoch": 2.0, "valid_loss": 1.0}])
    gap, value = history["valid_loss"]
    assert math.isnan(gap)
    assert value == 1.0
    assert history.best()["epoch"] == 2
    (losses,) = [
        line for line in history.plot().lines if line.get_label() == "valid loss"
    ]
    assert len(losses.get_xdata()) == 2


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text("not json")
    with pytest.raises(ValueError, match=r"history\.json"):
        History.load(path)
