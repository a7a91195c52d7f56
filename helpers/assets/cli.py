"""``python -m helpers fetch``: arguments, table, and exit status."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import AssetError
from .paths import cache_root, command

if TYPE_CHECKING:
    from .manifest import Asset
    from .own import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``fetch`` on ``parser``."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="assets (default: all that are needed)"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="take the archives from this folder instead of downloading",
    )
    parser.add_argument("--list", action="store_true", help="show what there is")
    parser.add_argument(
        "--verify", action="store_true", help="hash what is installed, file by file"
    )
    parser.add_argument(
        "--download-only",
        type=Path,
        metavar="DIR",
        help="fill a folder with archives for --from, and install nothing",
    )
    parser.add_argument(
        "--keep-archives",
        action="store_true",
        help="keep downloaded archives in data/cache/archives",
    )


def main(args: argparse.Namespace) -> int:
    """Run ``fetch``; 0 if every asset asked for is in order, else 1 (2: wrong use)."""
    if args.source and args.download_only:
        print("--from and --download-only exclude each other.", file=sys.stderr)
        return 2
    try:
        if args.list:
            return _list(args.names)
        if args.verify:
            return _verify(args.names)
        return _fetch(args)
    except AssetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. The same command continues later.", file=sys.stderr)
        return 130


def _fetch(args: argparse.Namespace) -> int:
    from .fetch import collect, fetch

    own, others = _own(args.names)
    for model in own if args.names else []:
        print(f"{model.id} is in the repository, in data/{model.id}: nothing to fetch.")
    if args.names and not others:
        return 0
    if args.download_only:
        report = collect(others, args.download_only)
        done = "saved"
    else:
        report = fetch(others, source=args.source, keep_archives=args.keep_archives)
        done = "installed"
    for error in report.failed.values():
        print(f"error: {error}", file=sys.stderr)
    counts = f"{len(report.installed)} {done}, {len(report.already)} already there"
    print(f"Assets: {counts}, {len(report.failed)} failed.")
    return 1 if report.failed else 0


def _verify(names: list[str]) -> int:
    from .manifest import load_manifest, select
    from .store import state, verify

    root, broken = cache_root(), []
    own, others = _own(names)
    for asset in select(others, load_manifest()) if others or not names else []:
        bad = verify(asset, root)
        if bad:
            broken.append(asset.id)
            few = ", ".join(bad[:3]) + (" …" if len(bad) > 3 else "")
            print(f"{asset.id:20}damaged: {few}")
        else:
            good = state(asset, root) == "installed"
            print(f"{asset.id:20}{'in order' if good else 'not installed'}")
    lost = [model for model in own if not model.in_order]
    for model in own:
        print(f"{model.id:20}{'damaged' if model in lost else 'in order'}")
    if broken:
        print(f"Run: {command('fetch', *broken)}")
    for model in lost:
        print(f"Run: {model.restore}")
    return 1 if broken or lost else 0


def _list(names: list[str]) -> int:
    from .manifest import load_manifest, select
    from .store import state

    root, assets = cache_root(), load_manifest()
    own, others = _own(names)
    chosen = list(assets.values())
    if names:
        chosen = select(others, assets) if others else []
    listed: list[tuple[Asset | Model, str]] = [(a, state(a, root)) for a in chosen]
    listed += [(model, "in repository") for model in own]
    heads = ["name", "size", "state", "licence", "precision"]
    rows = [
        [item.id, f"{item.size / 1e6:.1f} MB", how, item.licence, item.precision]
        for item, how in listed
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    print(_line(heads, widths))
    for (item, _), row in zip(listed, rows, strict=True):
        print(_line(row, widths))
        width = max(60, min(110, shutil.get_terminal_size().columns)) - 4
        print(textwrap.indent(textwrap.fill(item.origin, width), "    "))
    print(f"In {root}, or in data/ of the repository; details: data/README.md")
    return 0


def _own(names: list[str]) -> tuple[list[Model], list[str]]:
    """The course's own models among ``names`` (without names: all), and the rest."""
    from .own import load_models

    models = {model.id: model for model in load_models()}
    if not names:
        return list(models.values()), []
    rest = [name for name in names if name not in models]
    return [models[name] for name in names if name in models], rest


def _line(cells: list[str], widths: list[int]) -> str:
    """Cells padded to their widths, at least two spaces apart."""
    padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
