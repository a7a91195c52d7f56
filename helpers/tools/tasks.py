"""What `make lab`, `make test` and friends do, for every operating system."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.tools import notebooks
from helpers.tools.notebooks import NOTEBOOKS, ROOT

LAB_CONFIG = Path(__file__).parent / "jupyter"


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


def lab_command(extra: Sequence[str] = ()) -> list[str]:
    """Return the command that starts JupyterLab on the course's notebooks."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={NOTEBOOKS}"]
    command += ["--ServerApp.ip=localhost"]
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
    joined = os.pathsep.join(path for path in paths if path)
    return {**os.environ, "JUPYTER_CONFIG_PATH": joined}


def lab(extra: Sequence[str] = ()) -> int:
    """Fetch what is missing, then run JupyterLab until it is stopped."""
    status = fetch_all()
    if status:
        print("Some assets are missing; JupyterLab was not started.", file=sys.stderr)
        return status
    if not has_display():
        print("No display here: open the address below (with its token) in a browser.")
    command, env = lab_command(extra), lab_environment()
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(command[0], command, env)
    try:
        return subprocess.call(command, env=env)
    except KeyboardInterrupt:
        return 0


def tests(with_notebooks: bool) -> int:
    """Run style, types, lint and unit tests; when asked to, slow ones and notebooks."""
    status = fetch_all() if with_notebooks else 0
    if status:
        return status
    pytest = [sys.executable, "-m", "pytest"]
    # Longest files first (tests/conftest.py), each in one process with one thread.
    calls = [[*pytest, "tests", "-n2", "--dist=loadfile", "--no-loadscope-reorder"]]
    if with_notebooks:
        calls.append([*pytest, "--nbval", "notebooks"])
    else:
        calls[0].append("-m not slow")
    threads = [{"OMP_NUM_THREADS": "1"}, {}]
    found = [
        subprocess.call(
            call, cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, **env}
        )
        for call, env in zip(calls, threads, strict=False)
    ]
    return max(found, key=abs)


def notebook_command(command: str, names: Sequence[str]) -> int:
    """Run, refresh or lint the named notebooks; return 1 when one of them failed."""
    from helpers.tools.notebook_lint import lint

    try:
        paths = notebooks.find(names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for path in paths:
        try:
            if command == "run":
                print(f"{path.name}")
                print(f"done: {notebooks.run(path)}")
                continue
            if command == "refresh":
                print(notebooks.refresh(path))
        except notebooks.NotebookError as error:
            failed = True
            from nbconvert.filters.ansi import strip_ansi

            text = str(error) if sys.stderr.isatty() else strip_ansi(str(error))
            print(f"{path.name}: {text}", file=sys.stderr)
            continue
        findings = lint(path)
        failed = failed or (command == "lint" and bool(findings))
        for finding in findings:
            print(f"  {path.name}: {finding}")
    return int(failed)
