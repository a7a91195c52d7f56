"""A wrong lesson must not pass: notebooks with spoilt training, and what refuses them.

Each notebook runs as it is, with shuffled labels, with a learning rate of 0, and with
scrambled pretrained weights. Counted are the cells whose output the strict test
refuses, by words or bounds, and the assertions that fail. (The runs go on after an
assertion that failed.)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat

from benchmarks.common import machine, markdown
from helpers.tools import notebooks
from helpers.tools.outputs import differences, fields
from helpers.tools.ranges import moved_of
from helpers.tools.refresh import play
from helpers.tools.variants import Variant

KINDS = {
    "nothing": "nothing, as a control",
    "labels": "labels shuffled",
    "rate": "learning rate 0",
    "weights": "pretrained weights scrambled",
}
DEFAULT = ("01", "08", "09", "10")
SABOTAGE = Path(__file__).with_name("_sabotage.py")


def refused(path: Path, kind: str) -> tuple[list[int], int]:
    """(code cells whose output is refused, assertions that fail)."""
    spoilt = Variant(kind, environment={"COURSE_SABOTAGE": kind}, startup=SABOTAGE)
    run = play(path, spoilt).played
    saved = nbformat.read(path, as_version=4)
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    cells = [
        number
        for number, cell in enumerate(code, start=1)
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        and differences(fields(cell.outputs), run.cells[cell.id], moved_of(cell))
    ]
    return cells, len({(a.cell, a.text) for a in run.assertions if not a.holds})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=DEFAULT, help="such as 01 08")
    options = parser.parse_args()
    print(machine(), end="\n\n")
    rows, places, passed = [], 0, []
    for path in notebooks.find(options.names):
        for kind, said in KINDS.items():
            if kind == "weights" and "weights=" not in path.read_text("utf-8"):
                continue  # it trains from scratch
            try:
                cells, failed = refused(path, kind)
            except notebooks.NotebookError as error:
                print(error, file=sys.stderr)
                cells, failed = [0], 0
            if bool(cells or failed) == (kind == "nothing"):
                passed.append(f"{path.stem}, {said}")
            places += len(cells) if kind != "nothing" else 0
            rows.append([path.stem, said, str(len(cells)), str(failed)])
    heads = ["notebook", "spoilt", "outputs refused", "assertions that fail"]
    print(markdown(heads, rows))
    met = "met" if places >= 10 else "MISSED"
    print(
        f"\nGoal: wrong lessons are refused in at least 10 outputs: {met} ({places})."
    )
    print(f"Not as they should: {'; '.join(passed) or 'none'}.")


if __name__ == "__main__":
    main()
