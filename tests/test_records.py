"""Tables of long runs: kept row by row, read back, and continued."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers.examples import records


def test_what_is_written_is_read_back_without_its_comment(tmp_path: Path) -> None:
    target = tmp_path / "run.csv"
    assert records.read(target) == []
    rows = [{"lr": 0.1, "note": "a, b\nc"}, {"lr": 0.2}]
    records.write(target, ["seeds: 0", "machine: x"], ["lr", "note"], rows)
    assert target.read_text("utf-8").startswith("# seeds: 0\n# machine: x\nlr,note\n")
    assert records.read(target) == [
        {"lr": "0.1", "note": "a, b\nc"},
        {"lr": "0.2", "note": ""},
    ]
    assert list(pd.read_csv(target, comment="#").lr) == [0.1, 0.2]


def test_a_frame_is_written_with_four_digits(tmp_path: Path) -> None:
    target = tmp_path / "run.csv"
    records.write_frame(target, ["why"], pd.DataFrame({"loss": [1.23456, 2.0]}))
    assert target.read_text("utf-8") == "# why\nloss\n1.235\n2\n"


def test_rows_that_cannot_be_written_leave_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "run.csv"
    records.write(target, [], ["lr"], [{"lr": 1}])
    with pytest.raises(ValueError, match="rate"):
        records.write(target, [], ["lr"], [{"lr": 2}, {"rate": 3}])
    assert records.read(target) == [{"lr": "1"}]
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]


def test_a_program_can_be_interrupted_and_takes_no_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    ran: list[str] = []
    assert records.command(lambda: ran.append("once"), "usage", []) == 0
    assert records.command(lambda: ran.append("twice"), "usage", ["--help"]) == 2
    assert ran == ["once"] and "usage" in capsys.readouterr().err
    assert records.command(interrupted, "usage", []) == 130
    assert "the same command continues" in capsys.readouterr().err
