"""OpenMoji drawings in six categories: folders of pictures, names in six languages.

The colour font is drawn with Pillow, at four times the size and averaged down, so that
edges are smooth. Categories come from the package ``emojis``, names from ``emoji``.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AssetError
from ..manifest import Asset
from .splits import split_by_hash

if TYPE_CHECKING:
    from PIL import Image, ImageFont

CATEGORIES = {
    "activities": "Activities",
    "animals": "Animals & Nature",
    "food": "Food & Drink",
    "objects": "Objects",
    "smileys": "Smileys & Emotion",
    "travel": "Travel & Places",
}
LANGUAGES = ("en", "zh", "de", "es", "fr", "ja")
SIDE = 96  # pixels
_OVERSAMPLE = 4
_PRIVATE = 0xF0000  # first code point of a private-use area


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``{train,valid,test}/CATEGORY/NAME.png`` and ``names.csv``."""
    rows = _rows()
    keys, labels = (
        [row["codepoints"] for row in rows],
        [row["category"] for row in rows],
    )
    splits = split_by_hash(keys, labels, {"train": 60, "valid": 10, "test": 30})
    glyphs, font = _font(source / asset.files[0].path, [row["emoji"] for row in rows])
    for row, split in zip(rows, splits, strict=True):
        row["split"] = split
        row["file"] = f"{split}/{row['category']}/{_file_name(row['en'])}.png"
        path = target / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise AssetError(f"{asset.id}: two emoji would be saved as {row['file']}.")
        _draw(glyphs[row["emoji"]], font).save(path)
    with (target / "names.csv").open("w", encoding="utf-8", newline="") as file:
        columns = ["file", "split", "category", "emoji", "codepoints", *LANGUAGES]
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: row["file"]))


def _rows() -> list[dict[str, str]]:
    """One row per emoji of the six categories, with its names."""
    import emoji
    from emojis import db

    for language in LANGUAGES:
        emoji.config.load_language(language)
    rows = []
    for category, title in CATEGORIES.items():
        for entry in db.get_emojis_by_category(title):
            sign = entry.emoji
            # The two packages differ in writing U+FE0F ("draw in colour").
            known = emoji.EMOJI_DATA.get(sign) or emoji.EMOJI_DATA[sign + "\ufe0f"]
            row = {"emoji": sign, "category": category}
            row["codepoints"] = "-".join(f"{ord(character):X}" for character in sign)
            for language in LANGUAGES:
                row[language] = known[language].strip(":").replace("_", " ")
            rows.append(row)
    return rows


def _font(
    path: Path, signs: list[str]
) -> tuple[dict[str, str], ImageFont.FreeTypeFont]:
    """The font, and the single character that draws each sign.

    A few signs are sequences (dog + joiner + vest). Joining them needs a text-shaping
    library that not every Pillow has, so each joined glyph gets a private character.
    """
    from fontTools.ttLib import TTFont
    from PIL import ImageFont

    font = TTFont(path)
    names = font.getBestCmap()
    joined = {
        (first, *ligature.Component): ligature.LigGlyph
        for lookup in font["GSUB"].table.LookupList.Lookup
        for table in lookup.SubTable
        for first, ligatures in table.ligatures.items()
        for ligature in ligatures
    }
    glyphs: dict[str, str] = {}
    private: dict[int, str] = {}
    for sign in signs:
        plain = sign.replace("\ufe0f", "")
        if len(plain) == 1:
            glyphs[sign] = plain
            continue
        spellings = [[names.get(ord(c)) for c in text] for text in (sign, plain)]
        glyphs[sign] = chr(_PRIVATE + len(private))
        private[_PRIVATE + len(private)] = next(
            joined[tuple(spelling)]
            for spelling in spellings
            if tuple(spelling) in joined
        )
    for table in font["cmap"].tables:
        if table.format == 12:
            table.cmap.update(private)
    memory = io.BytesIO()
    font.save(memory)
    memory.seek(0)
    size = SIDE * _OVERSAMPLE * 3 // 4
    return glyphs, ImageFont.truetype(
        memory, size, layout_engine=ImageFont.Layout.BASIC
    )


def _draw(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    from PIL import Image, ImageDraw

    side = SIDE * _OVERSAMPLE
    image = Image.new("RGB", (side, side), "white")
    left, top, right, bottom = font.getbbox(character)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, character, font=font, embedded_color=True)
    return image.reduce(_OVERSAMPLE)


def _file_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
