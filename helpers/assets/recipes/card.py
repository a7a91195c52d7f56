"""The card of a converted asset: origin, licence and precision, beside its files."""

from __future__ import annotations

from pathlib import Path

from ..manifest import Asset


def write_card(asset: Asset, folder: Path) -> None:
    """Write ``README.md`` into ``folder``, unless the author's own card is there."""
    card = folder / "README.md"
    if card.exists():
        return
    notes = f"\n{asset.notes}\n" if asset.notes else ""
    card.write_text(
        f"# {asset.title}\n\n{asset.origin}\n\n"
        f"- Licence: {asset.licence}\n"
        f"- Precision: {asset.precision}\n"
        f"- Taken from: {asset.package} {asset.version}, {asset.archive}, "
        f"SHA-256 {asset.sha256}\n{notes}",
        encoding="utf-8",
    )
