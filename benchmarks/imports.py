"""What ``import helpers`` costs: alone, and beyond ``import torch``."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.common import duration, interleave, machine, table

GOAL = 0.3  # seconds beyond torch
CODES = {
    "python alone": "pass",
    "import helpers": "import helpers",
    "import torch": "import torch",
    "import helpers, torch": "import helpers, torch",
}


def starting(code: str) -> Callable[[int], float]:
    """The time a new Python takes for ``code``, from start to end."""

    def run(number: int) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(machine(), end="\n\n")
    runs = {name: starting(code) for name, code in CODES.items()}
    for run in runs.values():
        run(0)  # from the disk into its cache
    seconds = interleave(runs, options.rounds)
    print(table(seconds, "import torch"))
    pairs = zip(seconds["import helpers, torch"], seconds["import torch"], strict=True)
    beyond = statistics.median(both - torch for both, torch in pairs)
    verdict = "met" if beyond <= GOAL else "missed"
    shown = duration(max(beyond, 0))
    print(f"\nGoal: at most {GOAL} s beyond torch: {verdict} ({shown}).")


if __name__ == "__main__":
    main()
