"""`build/slides/`: a deck a notebook, their index, and reveal.js in a folder beside."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat

from helpers.files import remove_leftovers, replacing
from helpers.tools import mathml, notebooks
from helpers.tools.notebooks import ROOT
from helpers.tools.slides import page
from helpers.tools.slides.choose import choose

__all__ = ["SLIDES", "SlidesError", "build", "main"]

SLIDES = ROOT / "build" / "slides"
SHARED = "shared"
_STAMP = ".built.json"
_REVEAL = (
    "dist/reset.css",
    "dist/reveal.css",
    "dist/reveal.js",
    "plugin/notes/notes.js",
)


class SlidesError(RuntimeError):
    """The decks could not be built; the message says why and what to do."""


@dataclass(frozen=True)
class Deck:
    """A built deck: its file's name, title and promise (HTML), slides, and its HTML."""

    file: str
    title: str
    promise: str
    count: int
    html: str


def reveal_files() -> dict[str, Path]:
    """Return the files of reveal.js by their names.

    They come from the package sphinx-revealjs, of this Python or of `.venv-docs`.
    Raises `SlidesError` when neither has it.
    """
    spec = find_spec("sphinx_revealjs")
    roots = [Path(spec.origin).parent] if spec and spec.origin else []
    for pattern in ("lib/python3*/site-packages", "Lib/site-packages"):
        roots += sorted((ROOT / ".venv-docs").glob(f"{pattern}/sphinx_revealjs"))
    for root in roots:
        folder = root / "_static" / "revealjs"
        files = {Path(name).name: folder / name for name in _REVEAL}
        if all(path.is_file() for path in files.values()):
            return files
    raise SlidesError(
        "reveal.js is missing: call `make slides`, or install requirements-docs.txt "
        "into an environment .venv-docs of its own"
    )


def build(
    paths: Sequence[Path],
    folder: Path = SLIDES,
    say: Callable[[str], None] = print,
) -> int:
    """Build the decks of the notebooks at ``paths`` that changed; return how many.

    Nothing is written before all of them are made, and each file is replaced in one
    go. Raises `SlidesError` or `mathml.FormulaError`, naming the notebook.
    """
    stamp = _read_stamp(folder)
    reveal = reveal_files()
    common = _common(reveal)
    made: dict[str, Deck] = {}
    for path in paths:
        digest = _digest(common, path)
        known = stamp["decks"].get(path.stem, {})
        if known.get("digest") == digest and (folder / f"{path.stem}.html").is_file():
            continue
        say(f"{path.name} -> {path.stem}.html")
        deck = _deck(path)
        made[path.stem] = deck
        stamp["decks"][path.stem] = {
            "digest": digest,
            "title": deck.title,
            "promise": deck.promise,
            "count": deck.count,
        }
    there = {path.stem for path in notebooks.find()} | {path.stem for path in paths}
    gone = [stem for stem in stamp["decks"] if stem not in there]
    if made or gone or stamp["common"] != common or not _complete(folder, reveal):
        stamp["common"] = common
        for stem in gone:
            del stamp["decks"][stem]
            (folder / f"{stem}.html").unlink(missing_ok=True)
        _write(folder, made.values(), reveal, stamp)
    return len(made)


def main(names: Sequence[str]) -> int:
    """`python -m helpers slides 09`: build, say where, return an exit status."""
    try:
        paths = notebooks.find(names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        count = build(paths)
    except (SlidesError, mathml.FormulaError) as error:
        print(error, file=sys.stderr)
        return 1
    where = SLIDES / (f"{paths[0].stem}.html" if len(paths) == 1 else "index.html")
    state = f"{count} built" if count else "nothing changed"
    print(f"{len(paths)} of the decks, {state}: open {where.relative_to(ROOT)}")
    return 0


def _page(path: Path) -> str:
    """Where a deck finds its notebook: the page of the site if built, or the file."""
    built = ROOT / "build" / "site" / "notebooks" / f"{path.stem}.html"
    return (
        f"../site/notebooks/{built.name}"
        if built.is_file()
        else f"../../notebooks/{path.name}"
    )


def _deck(path: Path) -> Deck:
    notebook = nbformat.read(path, as_version=4)
    slides = choose(notebook)
    title, promise = slides[0].part, slides[0].lead
    try:
        shown = page.shown(slides, short_title=title.partition(":")[0])
        html = _render(
            "deck.html.j2",
            title=title,
            short_title=page.inline(title.partition(":")[0]),
            slides=shown,
            shared=SHARED,
            notebook=_page(path),
        )
    except mathml.FormulaError as error:
        raise mathml.FormulaError(f"{path.name}: {error}") from error
    return Deck(
        f"{path.stem}.html", page.inline(title), page.inline(promise), len(slides), html
    )


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(page.TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def _write(
    folder: Path, decks: Any, reveal: dict[str, Path], stamp: dict[str, Any]
) -> None:
    from pygments.formatters import HtmlFormatter

    remove_leftovers(folder)
    remove_leftovers(folder / SHARED)
    for name, path in reveal.items():
        _put(folder / SHARED / name, path.read_text("utf-8"))
    colours = HtmlFormatter(style="default").get_style_defs("pre.code")
    style = (page.TEMPLATES / "deck.css").read_text("utf-8")
    # The first lines of pygments' style set what a page of line numbers needs.
    kept = [line for line in colours.splitlines() if line.startswith("pre.code .")]
    _put(folder / SHARED / "deck.css", style + "\n".join(kept) + "\n")
    _put(
        folder / SHARED / "index.css", (page.TEMPLATES / "index.css").read_text("utf-8")
    )
    for deck in decks:
        _put(folder / deck.file, deck.html)
    listed = [
        {**about, "file": f"{stem}.html"}
        for stem, about in sorted(stamp["decks"].items())
    ]
    _put(folder / "index.html", _render("index.html.j2", decks=listed, shared=SHARED))
    _put(folder / _STAMP, json.dumps(stamp, indent=1) + "\n")


def _put(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def _complete(folder: Path, reveal: dict[str, Path]) -> bool:
    names = [*(f"{SHARED}/{name}" for name in reveal), "index.html"]
    return all((folder / name).is_file() for name in names)


def _read_stamp(folder: Path) -> dict[str, Any]:
    """What was built before; nothing where that cannot be read."""
    try:
        stamp = json.loads((folder / _STAMP).read_text("utf-8"))
        return {"common": str(stamp["common"]), "decks": dict(stamp["decks"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"common": "", "decks": {}}


def _common(reveal: dict[str, Path]) -> str:
    """A hash of what all decks depend on: this package, reveal.js, the converters."""
    from importlib.metadata import version

    digest = hashlib.sha256()
    for name in ("math-core", "markdown-it-py", "Pygments", "Jinja2"):
        digest.update(f"{name} {version(name)}\n".encode())
    own = [*page.TEMPLATES.glob("*.*"), *Path(__file__).parent.glob("*.py")]
    for path in [*sorted(own), Path(mathml.__file__), *reveal.values()]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(common: str, path: Path) -> str:
    seen = f"{common} {_page(path)} ".encode()
    return hashlib.sha256(seen + path.read_bytes()).hexdigest()
