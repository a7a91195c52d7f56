"""``python -m benchmarks [NAME…]`` runs the named benchmarks, or all of them.

Each is a module of this folder and its own process, so that none inherits another's
memory or settings; ``python -m benchmarks.NAME --help`` lists its options.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "__main__", "common"}


def found() -> dict[str, str]:
    """Every benchmark by name, with the first line of its docstring."""
    titles = {}
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem not in NOT_BENCHMARKS and not path.stem.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            titles[path.stem] = (text or path.stem).splitlines()[0]
    return titles


def main(names: list[str]) -> int:
    """Run benchmarks one after the other; return 1 when one of them failed."""
    known = found()
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = "\n".join(f"  {name:<14} {title}" for name, title in known.items())
        print(f"No benchmark called {', '.join(unknown)}. There are:\n{listed}")
        return 2
    failed = []
    for name in names or known:
        print(f"\n## {name}: {known[name]}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if subprocess.call(command, cwd=FOLDER.parent):
            failed.append(name)
    if failed:
        print(f"\nFailed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
