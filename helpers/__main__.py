"""``python -m helpers lab | test | run 09 | fetch | doctor | …``: see ``tools.cli``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run by its path, where the course is not installed: see assets.paths.command.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from helpers.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
