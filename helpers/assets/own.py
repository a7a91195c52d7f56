"""The models that the course trained itself: the ``[model.…]`` tables of the manifest.

They are committed, one folder each in ``data/``, so nothing is fetched; a damaged one
comes back from git.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import manifest
from .archive import sha256_of
from .errors import ManifestError

__all__ = ["Model", "load_models"]

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Model:
    """One entry of the list; ``data/assets.toml`` explains each field."""

    id: str
    title: str
    command: str
    licence: str
    precision: str
    origin: str
    sha256: str
    folder: Path

    @property
    def size(self) -> int:
        """Bytes of everything in its folder."""
        return sum(path.stat().st_size for path in self.folder.glob("*"))

    @property
    def in_order(self) -> bool:
        """True if its weights are there and have the SHA-256 they should."""
        path = self.folder / WEIGHTS
        return path.is_file() and sha256_of(path) == self.sha256

    @property
    def restore(self) -> str:
        """The command that brings its files back."""
        return f"git checkout -- data/{self.id}"


def load_models(path: Path | None = None) -> list[Model]:
    """The course's own models, in the order of the manifest at ``path``.

    Raises ManifestError naming the model and the field that is missing or unknown.
    """
    path = path or manifest.manifest_path()
    tables = manifest.read_tables(path).get("model", {})
    return [_model(name, table, path) for name, table in tables.items()]


def _model(name: str, table: object, path: Path) -> Model:
    fields = {"title", "command", "licence", "precision", "origin", "sha256"}
    given = table if isinstance(table, dict) else {}
    for odd in sorted(fields ^ set(given)):
        what = "is missing" if odd in fields else "is unknown; is it misspelt?"
        raise ManifestError(f"{path.name}, model {name!r}: the field {odd!r} {what}")
    for field, value in given.items():
        if not isinstance(value, str):
            raise ManifestError(
                f"{path.name}, model {name!r}: {field} must be text, got {value!r}."
            )
    return Model(id=name, folder=path.parent / name, **given)
