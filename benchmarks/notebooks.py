"""Wall time and peak memory of every notebook, run top to bottom in a new kernel.

The medians, section by section, go to ``data/runs/notebook_seconds.csv``: the site, the
teacher's guide and the welcome page read their minutes there.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import datetime

from nbformat import NotebookNode

from benchmarks.common import duration, machine, markdown
from helpers.examples import records
from helpers.tools import notebooks
from helpers.tools.refresh import play
from helpers.tools.sections import (
    RECORD,
    WHOLE,
    heading_of,
    recorded,
    split_at_headings,
)
from helpers.tools.variants import SAVING

GIB = 2**30
LIMITS = {"seconds": 90.0, "bytes": 3.0 * GIB}
# Where transformers are fine-tuned, twice the time is allowed.
SLOW = ("11", "14", "15")

HEADS = ["notebook", "section", "seconds", "peak_gib"]


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
        parts = [section_seconds(run.notebook) for run in runs]
        medians = {
            name: statistics.median(part[name] for part in parts) for name in parts[0]
        }
        record(path.name[:2], medians, statistics.median(times), peak)
    heads = [f"median of {options.rounds} runs", "wall time", "spread", "peak memory"]
    print(markdown([*heads, "limit"], rows))


def section_seconds(notebook: NotebookNode) -> dict[str, float]:
    """Seconds by section's heading (the title's, too), of a notebook that has run."""
    seconds: dict[str, float] = {}
    heading = ""
    for cell in split_at_headings(notebook).cells:
        heading = heading_of(cell) or heading
        seconds.setdefault(heading, 0.0)
        if times := cell.metadata.get("execution"):
            begin, end = (
                datetime.fromisoformat(times[name])
                for name in ("iopub.execute_input", "shell.execute_reply")
            )
            seconds[heading] += (end - begin).total_seconds()
    return seconds


def record(number: str, sections: dict[str, float], whole: float, peak: int) -> None:
    """Replace the rows of notebook `number`; the others stay."""
    rows = [row for row in recorded() if row["notebook"] != number]
    rows += [
        {"notebook": number, "section": name, "seconds": f"{seconds:.1f}"}
        for name, seconds in sections.items()
    ]
    last = {"notebook": number, "section": WHOLE, "seconds": f"{whole:.1f}"}
    rows.append(last | {"peak_gib": f"{peak / GIB:.2f}"})
    about = [
        "Seconds of each section (heading of level 2) and of each notebook, median;",
        "peak_gib: memory of the kernel and what it starts.",
        "command: python -m benchmarks notebooks",
        f"machine: {machine()}",
    ]
    records.write(RECORD, about, HEADS, sorted(rows, key=lambda row: row["notebook"]))


if __name__ == "__main__":
    main()
