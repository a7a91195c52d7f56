"""OpenMoji drawings: folders of six categories, and all 1,849 signs with their names.

The colour font is drawn with Pillow, at four times the size and averaged down, so that
edges are smooth. Categories and keywords come from the package ``emojis``, names from
``emoji``.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
SIDE = 96  # pixels of the pictures in six categories
LARGE = 224  # pixels of the pictures of all signs
SHARES = {"train": 60, "valid": 10, "test": 30}
_OVERSAMPLE = 4
_GENDERED = re.compile(r"\b(wo)?m[ae]n\b|\b(boy|girl|person|people|prince|princess)\b")
_PRIVATE = 0xF0000  # first code point of a private-use area


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``{train,valid,test}/CATEGORY/NAME.png`` and ``names.csv``.

    And all signs, larger: ``all/CODEPOINTS.png`` and ``signs.csv``.
    """
    rows = _rows()
    keys, labels = (
        [row["codepoints"] for row in rows],
        [row["category"] for row in rows],
    )
    splits = split_by_hash(keys, labels, SHARES)
    path_of_font = source / asset.files[0].path
    glyphs, font = _font(path_of_font, [row["emoji"] for row in rows], SIDE)
    for row, split in zip(rows, splits, strict=True):
        row["split"] = split
        row["file"] = f"{split}/{row['category']}/{_file_name(row['en'])}.png"
        path = target / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise AssetError(f"{asset.id}: two emoji would be saved as {row['file']}.")
        _draw(glyphs[row["emoji"]], font, SIDE).save(path)
    columns = ["file", "split", "category", "emoji", "codepoints", *LANGUAGES]
    _write(target / "names.csv", columns, rows)

    signs = _signs({row["emoji"]: row["split"] for row in rows})
    glyphs, font = _font(path_of_font, [row["emoji"] for row in signs], LARGE)
    (target / "all").mkdir()
    for row in signs:
        row["file"] = f"all/{row['codepoints']}.png"
        _draw(glyphs[row["emoji"]], font, LARGE).save(target / row["file"])
    columns = ["file", "split", "category", "emoji", "codepoints", "en", "zh"]
    _write(target / "signs.csv", [*columns, "keywords"], signs)


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
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
            known = _known(sign)
            row = {"emoji": sign, "category": category}
            row["codepoints"] = "-".join(f"{ord(character):X}" for character in sign)
            for language in LANGUAGES:
                row[language] = known[language].strip(":").replace("_", " ")
            rows.append(row)
    return rows


def _known(sign: str) -> dict[str, Any]:
    """What the package ``emoji`` says of a sign."""
    import emoji

    # The two packages differ in writing U+FE0F ("draw in colour").
    known: dict[str, Any] = (
        emoji.EMOJI_DATA.get(sign) or emoji.EMOJI_DATA[sign + "\ufe0f"]
    )
    return known


def _signs(decided: dict[str, str]) -> list[dict[str, str]]:
    """One row per sign of all nine categories: names, English keywords, split.

    ``decided`` is the split of the six categories' signs. Symbols and people are dealt
    out in the same way, except those with a sibling (the same in another gender, or
    more of a family): these are all for training, as flags are.
    """
    from emojis import db

    rows = []
    for title in sorted(db.get_categories()):
        for entry in db.get_emojis_by_category(title):
            known = _known(entry.emoji)
            row = {"emoji": entry.emoji, "category": _file_name(title)}
            row["codepoints"] = "-".join(f"{ord(c):X}" for c in entry.emoji)
            for language in ("en", "zh"):
                row[language] = known[language].strip(":").replace("_", " ")
            words = [*entry.aliases, *known.get("alias", []), *entry.tags]
            words = [word.strip(":").replace("_", " ") for word in words]
            row["keywords"] = "; ".join(dict.fromkeys(w for w in words if w))
            rows.append(row)
    joined = [row["emoji"].split("\u200d") for row in rows]
    first = {parts[0].strip("\ufe0f") for parts in joined if len(parts) > 1}
    free = []
    for row in rows:
        person = row["category"] == "people-body"
        sibling = person and (
            "\u200d" in row["emoji"]
            or row["emoji"].strip("\ufe0f") in first
            or bool(_GENDERED.search(row["en"]))
        )
        row["split"] = decided.get(row["emoji"], "train")
        if (person and not sibling) or row["category"] == "symbols":
            free.append(row)
    keys = [row["codepoints"] for row in free]
    splits = split_by_hash(keys, [row["category"] for row in free], SHARES)
    for row, split in zip(free, splits, strict=True):
        row["split"] = split
    return rows


def _font(
    path: Path, signs: list[str], side: int
) -> tuple[dict[str, str], ImageFont.FreeTypeFont]:
    """The font for pictures of ``side`` pixels, and the character that draws each sign.

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
    size = side * _OVERSAMPLE * 3 // 4
    return glyphs, ImageFont.truetype(
        memory, size, layout_engine=ImageFont.Layout.BASIC
    )


def _draw(character: str, font: ImageFont.FreeTypeFont, side: int) -> Image.Image:
    from PIL import Image, ImageDraw

    side *= _OVERSAMPLE
    image = Image.new("RGB", (side, side), "white")
    left, top, right, bottom = font.getbbox(character)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, character, font=font, embedded_color=True)
    return image.reduce(_OVERSAMPLE)


def _file_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
