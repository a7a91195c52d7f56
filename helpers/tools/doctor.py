"""`python -m helpers doctor`: check this machine and say how to fix each fault."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from helpers.assets import AssetError, cache_root, load_manifest, state
from helpers.assets.manifest import select
from helpers.assets.paths import REPOSITORY, command, pip_install, shell_line
from helpers.environment import device, whole_number

OLDEST_TORCH = (2, 11)
MEMORY_NEEDED = 3 * 2**30  # bytes; no notebook uses more
DISK_NEEDED = 2 * 2**30  # bytes left for assets and checkpoints
SHOWN = 5  # how many differing packages are listed one by one

_MAKE = os.name == "posix" and not (Path(sys.prefix) / "conda-meta").is_dir()
INSTALL = (
    f"{shell_line('cd', str(REPOSITORY))} && rm -f .venv/.installed-* && make doctor"
    if _MAKE
    else pip_install()
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is the command (or step) that fixes a fault."""

    level: Literal["ok", "warning", "fault"]
    text: str
    fix: str = ""


def check_python() -> Iterator[Finding]:
    """Python 3.11 to 3.13, the versions that TensorFlow and torch both support."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("ok", f"Python {version}")
    else:
        fix = "rm -rf .venv && make lab PYTHON=python3.11"
        yield Finding("fault", f"Python {version}; 3.11 to 3.13 is needed", fix)


def read_pins(path: Path) -> dict[str, str]:
    """Return {package: version} of the lines of requirements.txt that apply here."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        pin = Requirement(text)
        if pin.marker is None or pin.marker.evaluate():
            pins[pin.name] = str(pin.specifier).removeprefix("==")
    return pins


def check_packages(path: Path = REPOSITORY / "requirements.txt") -> Iterator[Finding]:
    """Installed versions against the tested ones."""
    pins = read_pins(path)
    missing, different = [], []
    for name, wanted in pins.items():
        try:
            # A build for one accelerator, such as 2.14.1+cpu, is the same release.
            found = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if found != wanted:
            different.append(f"{name} {found} instead of {wanted}")
    for faults, what in ((missing, "missing"), (different, "of another version")):
        if faults:
            few = ", ".join(faults[:SHOWN]) + (" …" if len(faults) > SHOWN else "")
            level: Literal["fault", "warning"] = (
                "fault" if what == "missing" else "warning"
            )
            yield Finding(level, f"{len(faults)} packages {what}: {few}", INSTALL)
    if not missing and not different:
        yield Finding("ok", f"{len(pins)} packages, all in the tested version")
    if sys.platform == "win32":
        yield Finding(
            "warning",
            "tensorflow-text has no Windows build: notebooks 12, 18 and a part of 02 "
            "need WSL, the rest works here",
            "wsl --install  (then use the course inside WSL)",
        )


def check_device() -> Iterator[Finding]:
    """torch, the device it will use, and the threads it will use."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("fault", f"torch does not start: {error}", INSTALL)
        return
    version = torch.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TORCH:
        yield Finding("fault", f"torch {version}; 2.11 or newer is needed", INSTALL)
    chosen = device()
    if chosen.type == "cuda":
        gib = torch.cuda.get_device_properties(chosen).total_memory / 2**30
        where = f"{torch.cuda.get_device_name(chosen)}, {gib:.0f} GiB"
    else:
        where = {"mps": "Apple GPU (mps)", "cpu": "CPU"}[chosen.type]
    yield Finding("ok", f"torch {version} on {where}")
    if chosen.type == "cpu" and shutil.which("nvidia-smi"):
        yield Finding(
            "warning",
            "there is an NVIDIA driver, but torch cannot use it",
            "update the driver, or: unset CUDA_VISIBLE_DEVICES",
        )


def usable_cores() -> int:
    """Return how many cores this process may use (containers and taskset count)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads() -> Iterator[Finding]:
    """Thread settings that would slow every notebook down."""
    cores = usable_cores()
    for name in ("COURSE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = os.environ.get(name)
        if value is None:
            continue
        threads = whole_number(value)
        if threads is None:
            yield Finding("fault", f"{name}={value!r} is no number", f"unset {name}")
        elif threads > cores or (threads == 1 and cores > 1):
            text = f"{name}={value} on {cores} cores makes training slow"
            yield Finding("warning", text, f"unset {name}")
    yield Finding(
        "ok", f"{cores} cores, {os.environ.get('COURSE_THREADS', 'all')} used"
    )


def check_memory() -> Iterator[Finding]:
    """Free memory against what the largest notebook needs."""
    memory = psutil.virtual_memory()
    text = (
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    )
    if memory.available < MEMORY_NEEDED:
        fix = "close other programs and shut down other notebooks' kernels"
        yield Finding("warning", f"{text}; some notebooks use 3 GiB", fix)
    else:
        yield Finding("ok", text)


def check_disk() -> Iterator[Finding]:
    """Free disk space, and whether the cache folder can be written."""
    root = cache_root()
    folder = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB disk free for {root}"
    if free < DISK_NEEDED:
        fix = "free some space, or: export COURSE_CACHE=/a/larger/disk"
        yield Finding("warning", f"{text}; 2 GiB are wanted", fix)
    else:
        yield Finding("ok", text)
    if not os.access(folder, os.W_OK):
        # Reading is enough once everything is fetched, as on a workshop's server.
        fix = "export COURSE_CACHE=/a/folder/of/yours, then fetch again"
        yield Finding("warning", f"{folder} cannot be written", fix)


def check_assets() -> Iterator[Finding]:
    """Models and data: installed, missing or damaged (sizes only; quick)."""
    try:
        wanted = select([], load_manifest())
        states = {asset.id: state(asset, cache_root()) for asset in wanted}
    except (AssetError, OSError) as error:
        yield Finding("fault", str(error), "git checkout -- data/assets.toml")
        return
    for what in ("missing", "damaged"):
        names = [name for name, found in states.items() if found == what]
        if names:
            text = f"assets {what}: {', '.join(names)}"
            yield Finding("fault", text, command("fetch", *names))
    if set(states.values()) == {"installed"}:
        yield Finding("ok", f"{len(states)} models and data sets in place")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_device,
    check_threads,
    check_memory,
    check_disk,
    check_assets,
)


def main() -> int:
    """Print every finding with its remedy; return 1 when there is a fault, else 0."""
    findings = [finding for check in CHECKS for finding in check()]
    for finding in findings:
        print(f"{finding.level:8} {finding.text}")
        if finding.fix:
            print(f"{'':8} fix: {finding.fix}")
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if faults:
        print(f"{faults} to fix before the course works here.")
    elif warnings:
        print("The course works here; the warnings say what could be better.")
    else:
        print("All is well.")
    return 1 if faults else 0
