"""Wall time and peak memory of every notebook, run top to bottom in a new kernel."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import nbformat

from benchmarks.common import duration, machine, markdown
from helpers.tools import notebooks

GIB = 2**30
LIMITS = {"seconds": 90.0, "bytes": 3.0 * GIB}
# Where transformers are fine-tuned, twice the time is allowed.
SLOW = ("11", "14", "15")


def measure(path: Path) -> notebooks.Measurement:
    """Execute a copy in the environment of the tests; the file stays as it is."""
    notebook = nbformat.read(path, as_version=4)
    return notebooks.execute(notebook, path, env=notebooks.kernel_environment())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="numbers such as 09; all if none")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine(), end="\n\n")
    rows = []
    for path in notebooks.find(options.names):
        runs = []
        for _ in range(options.rounds):
            runs.append(measure(path))
            print(runs[-1], file=sys.stderr, flush=True)
        times = [run.seconds for run in runs]
        peak = max(run.peak_bytes for run in runs)
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
    heads = [f"median of {options.rounds} runs", "wall time", "spread", "peak memory"]
    print(markdown([*heads, "limit"], rows))


if __name__ == "__main__":
    main()
