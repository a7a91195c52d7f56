"""What `make lab`, `make test` and friends do, for every operating system."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from helpers.assets.paths import installed
from helpers.tools import drawings, notebooks, refresh, welcome
from helpers.tools.doctor import usable_cores
from helpers.tools.kernels import MEMORY_NEEDED
from helpers.tools.notebook_lint import lint
from helpers.tools.notebooks import NOTEBOOKS, ROOT, NotebookError
from helpers.tools.variants import TESTED, VARIANTS, another, variant

LAB_CONFIG = Path(__file__).parent / "jupyter"
CONTENTS = "helpers.tools.contents.CourseContents"


def fetch_all() -> int:
    """Fetch every asset that is missing; return an exit status."""
    from helpers.assets import cli

    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.main(parser.parse_args([])) or 0


def has_display() -> bool:
    """Say whether opening a browser can work here."""
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def lab_command(extra: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[str]:
    """Return the command that starts JupyterLab on the course's notebooks."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    command += ["--ServerApp.ip=localhost"]
    command += [f"--ServerApp.contents_manager_class={CONTENTS}"]
    # The course runs without a network: no updates, news or extension catalogue.
    command += [
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
    ]
    if not has_display():
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers; Jupyter refuses root otherwise
    return [*command, *(argument for argument in extra if argument != "--")]


def lab_environment() -> dict[str, str]:
    """Return JupyterLab's environment: the caller's, plus the course's settings."""
    paths = [str(LAB_CONFIG), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    env = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}
    if not installed():
        # The server imports CONTENTS.
        found = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, found))
    return env


def lab(extra: Sequence[str] = ()) -> int:
    """Fetch what is missing, then run JupyterLab until it is stopped."""
    status = fetch_all()
    if status:
        print("Some assets are missing; JupyterLab was not started.", file=sys.stderr)
        return status
    if not has_display():
        print("No display here: open the address below (with its token) in a browser.")
    # JupyterLab refuses a setting that is given twice: the caller's counts.
    chosen = any("default_url" in argument for argument in extra)
    first = [] if chosen else welcome.arguments()
    command, env = lab_command([*first, *extra]), lab_environment()
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(command[0], command, env)
    try:
        return subprocess.call(command, env=env)
    except KeyboardInterrupt:
        return 0


def tests(with_notebooks: bool, name: str = TESTED.name) -> int:
    """Run style, types, lint and unit tests; when asked to, slow ones and notebooks.

    The notebooks play the variant ``name`` of the machine; "another" is a different one
    every hour. As many processes run side by side as there are cores and memory, each
    with one thread.
    """
    if not (ROOT / "tests").is_dir():
        print(
            "This edition of the course comes without its tests; `doctor` checks the "
            "machine, and `run NB` executes a notebook.",
            file=sys.stderr,
        )
        return 2
    status = fetch_all() if with_notebooks else 0
    if status:
        return status
    room = psutil.virtual_memory().available // MEMORY_NEEDED
    command = [sys.executable, "-m", "pytest", "tests"]
    # A file stays in one process; the longest come first (tests/conftest.py).
    command += [f"--numprocesses={max(1, min(usable_cores(), room))}"]
    command += ["--dist=loadfile", "--no-loadscope-reorder"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if with_notebooks:
        played = (
            another(int(time.time() // 3600)) if name == "another" else variant(name)
        )
        saved = sorted({refresh.saved_by(path) for path in notebooks.find()})
        print(f"Outputs saved by: {'; '.join(saved)}.")
        print(f"This run plays: {played.name} on {refresh.machine()}.")
        command += ["--nbval", "notebooks"]
        env["COURSE_VARIANT"] = played.name
    else:
        command += ["-m", "not slow"]
    return subprocess.call(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=env)


def notebook_command(
    command: str,
    names: Sequence[str],
    variants: Sequence[str] = (),
    merge: bool = False,
) -> int:
    """Do one thing with the named notebooks; return 1 when one of them failed."""
    try:
        paths = notebooks.find(names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if command == "run":
        return int(sum(map(_run, paths)) > 0)
    if command == "lint":
        return int(sum(_show_findings(path, lint(path)) for path in paths) > 0)
    if command == "drawings":
        return int(sum(map(_draw, paths)) > 0)
    played = [variant(name) for name in variants or VARIANTS]
    failed = False
    for path, found in refresh.refresh(paths, variants=played, merge=merge):
        if isinstance(found, NotebookError):
            failed = True
            _show_error(path, found)
        else:
            _show_findings(path, [*found, *lint(path)])
    return int(failed)


def _run(path: Path) -> bool:
    """Execute a notebook and print its results; True if it failed."""
    print(path.name)
    try:
        print(f"done: {notebooks.run(path)}")
    except NotebookError as error:
        _show_error(path, error)
        return True
    return False


def _draw(path: Path) -> bool:
    """Embed a notebook's drawings; True if it failed."""
    try:
        print(f"{path.name}: {'renewed' if drawings.renew(path) else 'as it was'}")
    except NotebookError as error:
        _show_error(path, error)
        return True
    return False


def _show_findings(path: Path, findings: Sequence[str]) -> bool:
    for finding in findings:
        print(f"  {path.name}: {finding}")
    return bool(findings)


def _show_error(path: Path, error: NotebookError) -> None:
    from nbconvert.filters.ansi import strip_ansi

    text = str(error) if sys.stderr.isatty() else strip_ansi(str(error))
    print(f"{path.name}: {text}", file=sys.stderr)
