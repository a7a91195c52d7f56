"""Wall time and peak memory of every notebook, run top to bottom in a new kernel.

The medians, section by section, go to ``data/runs/notebook_seconds.csv``: the site, the
teacher's guide and the welcome page read their minutes there.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
from collections.abc import Iterator
from datetime import datetime

from nbformat import NotebookNode

from benchmarks.common import duration, machine, markdown
from helpers.files import replacing
from helpers.tools import notebooks
from helpers.tools.refresh import play
from helpers.tools.variants import SAVING

GIB = 2**30
LIMITS = {"seconds": 90.0, "bytes": 3.0 * GIB}
# Where transformers are fine-tuned, twice the time is allowed.
SLOW = ("11", "14", "15")

RECORD = notebooks.ROOT / "data" / "runs" / "notebook_seconds.csv"
HEADS = ["notebook", "section", "seconds", "peak_gib"]
WHOLE = "whole"
"""The section of the row with a notebook's wall time, start of its kernel included."""


def main() -> None:
    """Measure, print, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="numbers such as 09; all if none")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine(), end="\n\n")
    rows = []
    for path in notebooks.find(options.names):
        runs = [play(path, SAVING) for _ in range(options.rounds)]
        times = [run.measurement.seconds for run in runs]
        peak = max(run.measurement.peak_bytes for run in runs)
        allowed = LIMITS["seconds"] * (2 if path.name[:2] in SLOW else 1)
        within = statistics.median(times) <= allowed and peak <= LIMITS["bytes"]
        rows.append(
            [
                path.stem,
                duration(statistics.median(times)),
                f"{duration(min(times))} to {duration(max(times))}",
                f"{peak / GIB:.2f} GiB",
                f"{'within' if within else 'OVER'} {allowed:.0f} s, 3 GiB",
            ]
        )
        parts = [dict(section_seconds(run.notebook)) for run in runs]
        medians = {
            name: statistics.median(part[name] for part in parts) for name in parts[0]
        }
        record(path.name[:2], medians, statistics.median(times), peak)
    heads = [f"median of {options.rounds} runs", "wall time", "spread", "peak memory"]
    print(markdown([*heads, "limit"], rows))


def section_seconds(notebook: NotebookNode) -> Iterator[tuple[str, float]]:
    """Yield each section's heading (level 2; the title before the first) and seconds.

    `notebook` has been executed, and each code cell carries its times.
    """
    heading, seconds = "", 0.0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for found in re.finditer(r"^#{1,2} +(.+)$", cell.source, re.MULTILINE):
                if heading:
                    yield heading, seconds
                heading, seconds = found[1].strip(), 0.0
        elif times := cell.metadata.get("execution"):
            begin, end = (
                datetime.fromisoformat(times[name])
                for name in ("iopub.execute_input", "shell.execute_reply")
            )
            seconds += (end - begin).total_seconds()
    if heading:
        yield heading, seconds


def record(number: str, sections: dict[str, float], whole: float, peak: int) -> None:
    """Replace the rows of notebook `number`, the others stay."""
    kept = []
    if RECORD.exists():
        lines = RECORD.read_text("utf-8").splitlines()
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        kept = [list(row.values()) for row in rows if row["notebook"] != number]
    new = [[number, name, f"{seconds:.1f}", ""] for name, seconds in sections.items()]
    new.append([number, WHOLE, f"{whole:.1f}", f"{peak / GIB:.2f}"])
    with (
        replacing(RECORD) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        file.write(
            "# Seconds of each section (heading of level 2) and of each notebook, median;\n"
            "# peak_gib: memory of the kernel and what it starts.\n"
            "# command: python -m benchmarks notebooks\n"
            f"# machine: {machine()}\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADS)
        writer.writerows(sorted([*kept, *new], key=lambda row: row[0]))


if __name__ == "__main__":
    main()
