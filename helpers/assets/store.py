"""What is installed: build in a staging folder, rename into place, mark it last.

Layout below the cache root: ``staging/`` (work in progress, same file system),
``state/NAME.json`` (what was installed, written last) and ``state/NAME.lock``.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ..files import replacing, temporary_prefix
from .archive import extract, sha256_of
from .errors import AssetError, ManifestError
from .manifest import Asset
from .paths import command, pip_install

State = Literal["installed", "missing", "damaged"]


def state(asset: Asset, root: Path) -> State:
    """Quick look (file sizes, no hashing) at one asset below the cache ``root``."""
    marker = _read_marker(asset, root)
    place = root / asset.place
    current = marker is not None and marker["fingerprint"] == asset.fingerprint
    if marker is None or not current or not place.exists():
        return "missing"
    if marker.get("damaged"):
        return "damaged"
    for name, (size, _) in marker["files"].items():
        try:
            if (place / name).stat().st_size != size and name not in asset.may_change:
                return "damaged"
        except (FileNotFoundError, NotADirectoryError):
            return "damaged"
    return "installed"


def verify(asset: Asset, root: Path) -> list[str]:
    """Hash every installed file; return the damaged ones and remember the damage.

    After damage was found, the next `fetch` installs the asset again.
    """
    marker = _read_marker(asset, root)
    if marker is None or state(asset, root) == "missing":
        return []
    bad = []
    for name, (size, digest) in marker["files"].items():
        path = root / asset.place / name
        if name in asset.may_change:
            continue
        same_size = path.is_file() and path.stat().st_size == size
        if not same_size or sha256_of(path) != digest:
            bad.append(path.name)
    if bool(bad) != bool(marker.get("damaged")):
        # Only now: a cache that is in order may well be read-only.
        with clear_errors(asset, root), locked(asset, root):
            if _read_marker(asset, root) == marker:
                _write_marker(asset, root, {**marker, "damaged": bad})
    return bad


def install(asset: Asset, archive: Path, root: Path, folder: Path) -> None:
    """Unpack a verified archive, convert it, and rename the result into place.

    The caller holds the lock and lends a `staging` ``folder``. Until the rename nothing
    is visible, and until the marker is written the asset counts as missing, so an
    interruption leaves nothing half-installed.
    """
    source, target = folder / "source", folder / "target"
    source.mkdir()
    extract(asset, archive, source)
    with _clear_missing_package(asset):
        _recipe(asset).build(asset, source, target)
    files = _fingerprint_files(target)
    _check_expected(asset, files)
    _marker(asset, root).unlink(missing_ok=True)
    place = root / asset.place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _clear_files_in_use(asset, place):
        if place.is_dir() and not place.is_symlink():
            os.rename(place, folder / "old")
        os.replace(target, place)
    _sync(place.parent)
    _write_marker(asset, root, {"fingerprint": asset.fingerprint, "files": files})


@contextlib.contextmanager
def locked(asset: Asset, root: Path) -> Iterator[None]:
    """Hold the asset's lock; another process that fetches it waits here."""
    with clear_errors(asset, root):
        (root / "state").mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / "state" / f"{asset.id}.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"{asset.id}: waiting for another process that is fetching it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def staging(asset: Asset, root: Path) -> Iterator[Path]:
    """A work folder on the cache's own file system, so that a rename is enough.

    ``staging/`` itself stays: another process may be about to make its folder there.
    """
    parent = root / "staging"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=temporary_prefix(asset.id), dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def clear_errors(asset: Asset, root: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into a message with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            say = f"the disk that holds {root} is full. Free some space"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            say = (
                f"cannot write in {root} ({error.strerror}). Set COURSE_CACHE to a "
                "folder you may write in"
            )
        else:
            say = f"{error}. Fix this"
        raise AssetError(
            f"{asset.id}: {say}, then run `{command('fetch', asset.id)}`."
        ) from error


@contextlib.contextmanager
def _clear_files_in_use(asset: Asset, place: Path) -> Iterator[None]:
    """Name the likely cause: Windows moves no file that a process has open."""
    existed = place.exists()
    try:
        yield
    except PermissionError as error:
        if not existed:
            raise
        raise AssetError(
            f"{asset.id}: cannot replace {place} ({error.strerror}). Shut down every "
            "kernel and close every program that has it open (Windows keeps such files "
            "where they are) and check that you may write there, then run "
            f"`{command('fetch', asset.id)}`."
        ) from error


@contextlib.contextmanager
def _clear_missing_package(asset: Asset) -> Iterator[None]:
    """Turn a package that a recipe lacks into this asset's failure, with a remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise AssetError(
            f"{asset.id}: its recipe needs the package {error.name or str(error)!r}, "
            f"which is not installed. Run `{pip_install()}`."
        ) from error


def _recipe(asset: Asset) -> Any:
    name = f"{__package__}.recipes.{asset.recipe}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ManifestError(
            f"{asset.id}: there is no recipe {asset.recipe!r} in assets/recipes/."
        ) from error


def _fingerprint_files(target: Path) -> dict[str, tuple[int, str]]:
    """{name relative to target: (size, sha256)}; a single file has the name ``.``."""
    paths = sorted(p for p in target.rglob("*") if p.is_file()) or [target]
    files = {}
    for path in paths:
        _sync(path)
        name = path.relative_to(target).as_posix()
        files[name] = (path.stat().st_size, sha256_of(path))
    return files


def _check_expected(asset: Asset, files: dict[str, tuple[int, str]]) -> None:
    for name, digest in asset.expect.items():
        found = files.get(name, (0, "no such file"))[1]
        if found != digest:
            raise AssetError(
                f"{asset.id}: converting the archive gave another {name} than expected "
                f"(SHA-256 {found} instead of {digest}). Please report this with your "
                "Python and NumPy versions."
            )


def _sync(path: Path) -> None:
    """Ask the disk to keep what was written, so that the marker never outlives it."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _marker(asset: Asset, root: Path) -> Path:
    return root / "state" / f"{asset.id}.json"


def _read_marker(asset: Asset, root: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads(_marker(asset, root).read_text(encoding="utf-8"))
        usable = isinstance(marker["fingerprint"], str) and marker["files"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        # A marker that cannot be read proves nothing: install again.
        return None
    return marker if usable else None


def _write_marker(asset: Asset, root: Path, marker: dict[str, Any]) -> None:
    path = _marker(asset, root)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(marker, indent=1), encoding="utf-8")
    _sync(path.parent)
