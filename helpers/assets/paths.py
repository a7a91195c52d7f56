"""Where the course keeps what it downloads: the single definition of these folders."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """Folder of everything downloaded: ``$COURSE_CACHE``, or ``data/cache``.

    A relative ``$COURSE_CACHE`` starts at the repository, because notebooks and
    commands run in different folders.
    """
    chosen = os.environ.get("COURSE_CACHE") or "data/cache"
    return (REPOSITORY / Path(chosen).expanduser()).resolve()


def data_root() -> Path:
    """Folder of the data sets; torchvision calls it ``root``."""
    return cache_root() / "datasets"


def manifest_path() -> Path:
    """The list of assets, ``data/assets.toml``."""
    return REPOSITORY / "data" / "assets.toml"


def command(*words: str) -> str:
    """What to type for ``python -m helpers WORDS``, in any folder and without a venv.

    For messages: JupyterLab's terminal opens in ``notebooks/``, and `make` activates
    nothing, so the plain form works only for some.
    """
    if installed():
        return shell_line(sys.executable, "-m", "helpers", *words)
    return shell_line(sys.executable, str(REPOSITORY / "helpers/__main__.py"), *words)


def pip_install() -> str:
    """The command that installs this course's packages for this very Python."""
    pins = str(REPOSITORY / "requirements.txt")
    return shell_line(sys.executable, "-m", "pip", "install", "-r", pins)


def shell_line(*words: str) -> str:
    """``words`` as one line for a shell; on Windows that is PowerShell."""
    if sys.platform != "win32":
        return shlex.join(words)
    import subprocess

    line = subprocess.list2cmdline(words)
    # PowerShell takes a quoted name for a text unless it is called.
    return f"& {line}" if line.startswith('"') else line


def installed() -> bool:
    """True where ``pip install -e .`` made this folder importable from anywhere."""
    from importlib import metadata

    for found in metadata.distributions(name="pretrained-models-course"):
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if origin.get("url") == REPOSITORY.as_uri():
            return True
    return False
