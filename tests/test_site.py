"""The web site: built whole or not at all, and read by a browser without a network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers.tools import guide, mathml
from helpers.tools.notebooks import NOTEBOOKS, ROOT
from helpers.tools.site import api, build, links, notebook_pages, pages
from tests.browser import browser

WIDTHS = (1400, 820, 390)  # pixels: desktop, tablet, phone
# With many formulas, with many pictures, with tables.
THREE = [
    "notebooks/06_formulas_attention.html",
    "notebooks/13_applications_vision.html",
    "notebooks/20_faq.html",
]
TERMS: list[dict[str, str]] = [
    json.loads(line)
    for line in (ROOT / "data/glossary.jsonl").read_text("utf-8").splitlines()
]
README = (ROOT / "README.md").read_text("utf-8")


# Pages, without Sphinx --------------------------------------------------------------


def test_every_notebook_has_a_row_a_card_and_a_picture() -> None:
    names = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    assert [entry.name for entry in pages.entries(README)] == names


def test_a_notebook_without_its_first_line_is_named() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Hi")])
    with pytest.raises(ValueError, match=r"07_x\.ipynb: its first cell"):
        notebook_pages.head(notebook, "07_x.ipynb")


def read(number: str) -> Any:
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def test_badges_appear_when_a_repository_is_set() -> None:
    plain = nbformat.writes(notebook_pages.convert(read("01"), "01_x", [], ""))
    assert "colab" not in plain.lower() and "binder" not in plain.lower()
    assert "colab" not in pages.start(README).lower()

    def shown(peak: float) -> str:
        page = notebook_pages.convert(read("01"), "01_x", [], "some/course", peak)
        return "".join(cell.source for cell in page.cells)

    assert "colab.research.google.com/github/some/course/blob/HEAD" in shown(3.0)
    assert "mybinder.org/v2/gh/some/course/HEAD" in shown(1.5)
    assert "mybinder" not in shown(3.0), "it has 2 GB of memory"
    assert "github.com/some/course" in pages.start(README, "some/course")


def test_solutions_are_folded_and_drawings_named() -> None:
    page = notebook_pages.convert(read("09"), "09_x", [], "")
    solutions = [c for c in page.cells if "solution" in c.metadata.get("tags", [])]
    assert solutions
    assert all("hide-cell" in cell.metadata["tags"] for cell in solutions)
    assert not any("attachments" in cell for cell in page.cells)
    assert "(../drawings/09_cache.svg)" in "".join(c.source for c in page.cells)


def test_functions_are_described_without_importing_them(tmp_path: Path) -> None:
    (tmp_path / "room.py").write_text(
        '"""A room."""\nimport nothing_of_this_name\n\n'
        "def walk(far: int, *, slow: bool = False) -> str:\n"
        '    """Go.\n\n    Args:\n        far: in metres.\n    """\n\n'
        'def _hidden() -> None:\n    """No."""\n'
    )
    text = api.page(tmp_path, ["room"])
    assert "def walk(far: int, *, slow: bool = False) -> str" in text
    assert "- `far`: in metres." in text and "_hidden" not in text


def test_run_times_come_from_the_table(tmp_path: Path) -> None:
    table = tmp_path / "seconds.csv"
    assert "Nothing was measured" in pages.run_times(table, {})
    table.write_text(
        "# One machine.\nnotebook,section,seconds,peak_gib\n"
        "01,1 · Start,12.34,\n01,Read more,0.0,\n01,whole,61.5,1.25\n"
    )
    text = pages.run_times(table, {"01": "01_background"})
    assert "One machine." in text and "| 1 · Start | 12 |" in text
    assert "| [01 background](notebooks/01_background.ipynb) | 62 | 1.25 |" in text
    assert "Read more" not in text


def test_the_teachers_guide_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"guide": "# Guide", "workshops": "# Two days", "09": "# 09 · Extraction"}
    monkeypatch.setattr(guide, "pages", lambda address: made.copy())
    found = pages.teach(README)
    assert list(found) == ["teach/index.md", "teach/workshops.md", "teach/09.md"]
    assert "(workshops.md)" in found["teach/index.md"]
    assert "[09 · Feature extraction](09.md)" in found["teach/index.md"]
    assert "# Teaching 09 · Extraction" in found["teach/09.md"]


# Addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://cdn.org/x.js"></script>', "remote"),
        ('<link rel="stylesheet" href="//cdn.org/x.css">', "remote"),
        ('<p style="background: url(http://a.org/b.png)">', "remote"),
        ('<img src="gone.png">', "not there"),
        ('<a href="gone.html">', "no such file"),
        ('<a href="b.html#gone">', "no such place"),
        ('<a href="https://no dots">', "well-formed"),
    ],
)
def test_a_wrong_address_is_found(html: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<p id="here">')
    wrong, _ = links.check(tmp_path)
    assert len(wrong) == 1 and wrong[0].startswith("a.html: ") and fault in wrong[0]


def test_good_addresses_pass_and_outside_ones_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"><a href="https://openmoji.org/x"><img src="data:,">'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="#here">')
    assert links.check(tmp_path) == ([], ["https://openmoji.org/x"])


def test_a_remote_font_in_a_style_sheet_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://f.org/a.woff2') }")
    assert "remote" in links.check(tmp_path)[0][0]


# Building ---------------------------------------------------------------------------


posix = pytest.mark.skipif(os.name == "nt", reason="a shell script plays Python")


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """Let a shell script play Python with Sphinx; return the site's place."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(build, "docs_python", lambda: python)
    monkeypatch.setattr(build, "prepare", lambda folder: folder.mkdir())
    return folder / "build" / "site"


@posix
def test_a_failed_build_leaves_the_old_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = stand_in(monkeypatch, tmp_path, "echo WARNING: no; exit 1")
    site.mkdir(parents=True)
    (site / "index.html").write_text("old")
    with pytest.raises(build.SiteError, match="WARNING: no"):
        build.build(site)
    assert (site / "index.html").read_text() == "old"


@posix
def test_a_site_with_a_broken_link_is_not_put_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = 'mkdir -p "$last"; echo "<a href=gone.html>" > "$last/index.html"'
    site = stand_in(monkeypatch, tmp_path, page)
    with pytest.raises(build.SiteError, match="gone.html"):
        build.build(site)
    assert not site.exists()


@posix
def test_a_second_call_builds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f'echo x >> {tmp_path}/calls; mkdir -p "$last"; touch "$last/index.html"'
    site = stand_in(monkeypatch, tmp_path, page)
    build.build(site)
    assert "up to date" in build.build(site)
    assert (tmp_path / "calls").read_text() == "x\n"
    assert {path.name for path in site.parent.iterdir()} == {"site", "site.stamp"}
    monkeypatch.setattr(build, "fingerprint", lambda: "another")
    assert "up to date" not in build.build(site)


def test_missing_packages_are_named_with_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(build.SiteError, match="-r requirements-docs.txt"):
        build.docs_python()


# The real site in a browser ---------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built unless it is up to date."""
    try:
        build.docs_python()
    except build.SiteError:
        pytest.skip("The site's packages are not installed here: run `make site`.")
    print(build.build())
    return build.SITE


@pytest.fixture(scope="module")
def chromium(site: Path) -> Iterator[Any]:
    """A browser of this machine."""
    with browser() as started:
        yield started


class Reader:
    """Reads pages from disk with the network cut, and notes what goes wrong."""

    def __init__(self, browser: Any, site: Path, scheme: str = "light") -> None:
        self.site = site
        self.scheme = scheme
        self.faults: list[str] = []
        self.context = browser.new_context(
            viewport={"width": WIDTHS[0], "height": 900},
            color_scheme=scheme,
            offline=True,
            reduced_motion="reduce",
        )
        self.context.route(lambda url: not url.startswith("file:"), self._refuse)
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", lambda request: self.faults.append(request.url))

    def _refuse(self, route: Any) -> None:
        self.faults.append(f"asks for {route.request.url}")
        route.abort()

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def open(self, name: str, query: str = "") -> Any:
        """Go to a page of the site."""
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.page.goto((self.site / name).as_uri() + query)
        return self.page


@pytest.fixture(scope="module", params=["light", "dark"])
def reader(
    request: pytest.FixtureRequest, chromium: Any, site: Path
) -> Iterator[Reader]:
    """A reader with a light or a dark screen."""
    reader = Reader(chromium, site, request.param)
    yield reader
    reader.context.close()


@pytest.fixture(scope="module")
def light(chromium: Any, site: Path) -> Iterator[Reader]:
    """A reader with a light screen."""
    reader = Reader(chromium, site)
    yield reader
    reader.context.close()


# Elements whose right edge lies beyond the page, and no box around them scrolls.
WIDER = """() => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide <= 0) return [];
  const scrolls = e => e && (getComputedStyle(e).overflowX !== 'visible'
    || scrolls(e.parentElement));
  return [...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1)
    .filter(e => !scrolls(e.parentElement))
    .slice(0, 3).map(e => e.outerHTML.slice(0, 150)).concat(`${wide} pixels`);
}"""
# What a reader sees outside code: no TeX may be left there.
SEEN = """() => {
  const article = document.querySelector('article, main').cloneNode(true);
  article.querySelectorAll('pre, code, script').forEach(e => e.remove());
  return article.textContent;
}"""


@pytest.mark.slow
def test_the_reader_notices_what_goes_wrong(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<img src="https://openmoji.org/a.png"><script>nothing()</script>'
        '<article><p style="width: 2000px">wide</p></article>'
    )
    reader = Reader(chromium, tmp_path)
    page = reader.open("a.html")
    assert any("openmoji.org" in fault for fault in reader.faults)
    assert any("nothing is not defined" in fault for fault in reader.faults)
    assert any("wide" in element for element in page.evaluate(WIDER))
    reader.context.close()


@pytest.mark.slow
def test_every_page_reads_well_without_a_network(light: Reader) -> None:
    faults, formulas = [], 0
    for path in sorted(light.site.rglob("*.html")):
        name = path.relative_to(light.site).as_posix()
        light.faults.clear()
        page = light.open(name)
        faults += [f"{name}: {fault}" for fault in light.faults]
        formulas += page.locator("article math").count()
        raw = re.findall(r"\\\w+\{|\$\$|\\\(", page.evaluate(SEEN))
        faults += [f"{name}: shows {tex}" for tex in raw]
        broken = "images => images.filter(i => !i.naturalWidth).map(i => i.src)"
        gone = page.locator("article img").evaluate_all(broken)
        faults += [f"{name}: picture {source}" for source in gone]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate(WIDER)
            faults += [f"{name} at {width}: {what}" for what in wide]
    assert not faults, "\n".join(faults)
    cells = [c for p in NOTEBOOKS.glob("*.ipynb") for c in nbformat.read(p, 4).cells]
    written = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert formulas >= len(list(mathml.find(written)))


def found(light: Reader, query: str) -> list[str]:
    """Return the pages that search lists, best first."""
    page = light.open("search.html", f"?q={query}")
    page.wait_for_function(
        "document.querySelector('#search-results .search-summary')"
        "?.textContent.match(/found|did not match/)",
        timeout=10_000,
    )
    listed = page.locator("#search-results ul.search li a")
    sources = listed.evaluate_all("links => links.map(a => a.href)")
    return [source.rpartition("/site/")[2].partition("?")[0] for source in sources]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_search_leads_to_the_place_of_a_term(language: str, light: Reader) -> None:
    names = pages.titles(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    missed = []
    for term in TERMS[:: len(TERMS) // 20][:20]:
        best = found(light, term[language])[:12]
        wanted = (f"notebooks/{names[term['notebook']]}.html", "glossary.html")
        for page in wanted:
            if not any(source.startswith(page) for source in best):
                missed.append(f"{term[language]}: {page} is not among {best}")
    assert not missed, "\n".join(missed)


@pytest.mark.slow
def test_search_names_the_word_it_found(light: Reader) -> None:
    found(light, "对抗样本")
    first = light.page.locator("#search-results ul.search li").first
    assert "对抗样本" in first.inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["训练", "词", "模型的权重", "样本 标签", "gradient"])
def test_search_reads_running_text(query: str, light: Reader) -> None:
    assert any(source.startswith("glossary.html") for source in found(light, query))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.html", "glossary.html", *THREE])
def test_nothing_keeps_readers_out(name: str, reader: Reader) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = reader.open(name)
    rules = {"runOnly": ["color-contrast"]} if reader.scheme == "dark" else {}
    told = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response
    serious = [
        f"{fault['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for fault in told["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:5]
    ]
    assert not serious, "\n".join(serious)


@pytest.mark.slow
def test_solutions_open_with_a_click(light: Reader) -> None:
    page = light.open("notebooks/09_practice_feature_extraction.html")
    solution = page.locator("div.tag_solution pre").first
    assert not solution.is_visible()
    page.locator("div.tag_solution summary").first.click()
    assert solution.is_visible()


@pytest.mark.slow
def test_pictures_lie_on_white_in_the_dark(chromium: Any, site: Path) -> None:
    dark = Reader(chromium, site, "dark")
    for name in ("index.html", THREE[0]):
        colours = (
            dark.open(name)
            .locator("article img")
            .evaluate_all(
                "images => images.map(i => getComputedStyle(i).backgroundColor)"
            )
        )
        assert colours and set(colours) == {"rgb(255, 255, 255)"}
    dark.context.close()
