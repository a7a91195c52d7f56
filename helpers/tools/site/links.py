"""Every address of a built site: those inside resolve, others are well-formed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose address a browser loads or runs by itself; a link waits for a click.
_LOADING = {"src", "srcset", "poster", "data", "background"}
_OUTSIDE = re.compile(
    r"https?://[\w.-]+\.[a-z]{2,}(:\d+)?(/[^\s\"<>]*)?(#\S*)?(\?\S*)?"
)
_CSS = re.compile(r"url\(\s*['\"]?(?P<url>[^'\")]+)|@import\s+['\"](?P<other>[^'\"]+)")


@dataclass
class _Page(HTMLParser):
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        for name, value in given.items():
            if (
                name in _LOADING
                and tag != "object"
                or (tag, name) == ("object", "data")
            ):
                self.loads.append(value)
            elif name in ("href", "xlink:href"):
                loading = tag == "link" and "canonical" not in given.get("rel", "")
                (self.loads if loading else self.links).append(value)
            elif name == "style":
                self.loads += addresses(value)


def addresses(style: str) -> list[str]:
    """Return the addresses in a style sheet."""
    return [found["url"] or found["other"] for found in _CSS.finditer(style)]


def check(site: Path) -> tuple[list[str], list[str]]:
    """Return what is wrong in a folder of pages, and the outside addresses in order.

    Wrong is an address inside that leads to no file or no id, one outside that is not
    well-formed, and everything remote that a page would load.
    """
    pages: dict[str, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        parser = _Page()
        parser.feed(path.read_text("utf-8"))
        pages[path.relative_to(site).as_posix()] = parser
    wrong, outside = [], set()
    for name, page in pages.items():
        for address in page.loads:
            wrong += [f"{name}: {fault}" for fault in _load(address, name, site)]
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") or address.startswith("//"):
                outside.add(address)
                if not _OUTSIDE.fullmatch(address):
                    wrong.append(f"{name}: {address!r} is not well-formed")
            elif not parts.scheme:
                wrong += [f"{name}: {f}" for f in _inside(address, name, site, pages)]
    for path in sorted(site.rglob("*.css")):
        name = path.relative_to(site).as_posix()
        for address in addresses(path.read_text("utf-8")):
            wrong += [f"{name}: {fault}" for fault in _load(address, name, site)]
    return wrong, sorted(outside)


def _load(address: str, page: str, site: Path) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme == "data" or not address or address.startswith("#"):
        return
    if parts.scheme or parts.netloc:
        yield f"loads {address!r}, which is remote"
    elif not (site / _target(parts.path, page)).is_file():
        yield f"loads {address!r}, which is not there"


def _inside(
    address: str, page: str, site: Path, pages: dict[str, _Page]
) -> Iterator[str]:
    parts = urlsplit(address)
    target = _target(parts.path, page) if parts.path else page
    if not (site / target).is_file():
        yield f"link to {address!r}: no such file"
    elif target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}:
        yield f"link to {address!r}: no such place on that page"


def _target(path: str, page: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(path)))
