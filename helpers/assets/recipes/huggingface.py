"""A repository of the Hugging Face Hub, laid out as its own cache lays it out.

models--OWNER--NAME/refs/main            the name of the snapshot
models--OWNER--NAME/snapshots/NAME/…     the files
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..manifest import Asset
from .card import write_card


def build(asset: Asset, source: Path, target: Path) -> None:
    """Move the inner files into a snapshot and add a card if there is none."""
    listing = "".join(f"{item.path} {item.sha256}\n" for item in asset.files)
    # The Hub names a snapshot after a commit; ours is named after its contents.
    revision = hashlib.sha256(listing.encode()).hexdigest()[:40]
    snapshot = target / "snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    os.rename(source, snapshot)
    for path in snapshot.rglob("*.safetensors"):
        # safetensors writes for the owner alone; a class may share the cache.
        path.chmod(0o644)
    (target / "refs").mkdir()
    (target / "refs" / "main").write_text(revision, encoding="utf-8")
    write_card(asset, snapshot)
