"""Wall time and peak memory of every notebook, run top to bottom in a new kernel."""

from __future__ import annotations

import argparse
import statistics

from benchmarks.common import duration, machine, markdown
from helpers.tools import notebooks
from helpers.tools.refresh import play
from helpers.tools.variants import SAVING

GIB = 2**30
LIMITS = {"seconds": 90.0, "bytes": 3.0 * GIB}
# Where transformers are fine-tuned, twice the time is allowed.
SLOW = ("11", "14", "15")


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
            runs.append(play(path, SAVING).measurement)
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
