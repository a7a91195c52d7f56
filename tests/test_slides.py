"""The decks: chosen by rules, whole without a network, and nothing leaves a slide."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.tools import mathml, notebooks
from helpers.tools.cli import main
from helpers.tools.slides import build
from helpers.tools.slides.blocks import blocks, sentences, unlinked
from helpers.tools.slides.choose import FEWEST, MOST, Slide, alt, choose, cut
from tests.browser import browser

PATHS = notebooks.find()
# With formulas and drawings, with photos, with tables and two languages.
LOOKED_AT = ["06", "13", "14"]


def deck(path: Path) -> list[Slide]:
    return choose(nbformat.read(path, as_version=4))


def made(*cells: Any) -> list[Slide]:
    first = new_markdown_cell("# 09 · Made up\n\nA promise.\n\nTime: 1 · Needs: 2")
    return choose(new_notebook(cells=[first, *cells]))


def printing(source: str, text: str, **metadata: Any) -> Any:
    cell = new_code_cell(source, metadata=metadata)
    cell.outputs = [new_output("stream", name="stdout", text=text)]
    return cell


# --- the choice -------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem[:2])
def test_a_deck_is_neither_short_nor_long_and_says_what_it_shows(path: Path) -> None:
    slides = deck(path)
    assert FEWEST <= len(slides) <= MOST
    kinds = [slide.kind for slide in slides]
    assert kinds[:2] == ["title", "points"] and kinds[-2:] == ["exercises", "end"]
    assert "figure" in kinds and "drawing" in kinds
    for number, slide in enumerate(slides, start=1):
        assert any(note.strip() for note in slide.notes), f"slide {number}: no notes"
        if slide.kind in ("figure", "drawing"):
            assert len(alt(slide)) >= 20, f"slide {number}: no words for its picture"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem[:2])
def test_slides_give_away_no_solution(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    solutions = {
        line.strip()
        for cell in notebook.cells
        if "solution" in cell.metadata.get("tags", [])
        for line in cell.source.splitlines()
        if len(line.strip()) > 25
    }
    shared = "\n".join(
        cell.source
        for cell in notebook.cells
        if "solution" not in cell.metadata.get("tags", [])
    )
    secret = {line for line in solutions if line not in shared}
    shown = "\n".join(
        part
        for slide in choose(notebook)
        for part in (slide.block.text if slide.block else "", *slide.notes)
    )
    assert not [line for line in secret if line in shown]


def test_a_section_shows_its_figure_rather_than_its_prints() -> None:
    picture = new_code_cell("draw()")
    about = {"image/png": {"alt": "A curve that rises and then stays level."}}
    picture.outputs = [
        new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=about)
    ]
    slides = made(
        new_markdown_cell("## 1 · Start\n\nText."),
        printing("print(1)", "1\n"),
        new_markdown_cell("*Predict, then run:* does it rise? *Look at the end.*"),
        picture,
        new_markdown_cell("It rises. Then it stays.\n\n## What we have seen\n\n- A."),
    )
    shown = [(slide.kind, slide.body) for slide in slides[2:5]]
    assert ("question", "Does it rise?") in shown
    figure = slides[[slide.kind for slide in slides].index("figure")]
    assert figure.lead == "*Look at the end.*"
    assert figure.takeaway == "It rises. Then it stays."


def test_tags_overrule_the_choice() -> None:
    prints = [printing(f"print({n})", f"{n}\n") for n in range(40)]
    prints[7].metadata["tags"] = ["slide"]
    prints[0].metadata["tags"] = ["skip-slide"]
    cells = [new_markdown_cell("## 1 · Start"), *prints]
    shown = [slide.block.text for slide in made(*cells) if slide.block]
    assert "print(7)" in shown and "print(0)" not in shown
    assert len(shown) < 25


def test_notes_hold_the_text_between_and_name_exercises() -> None:
    slides = made(
        new_markdown_cell("## 1 · Start\n\nBefore, see [there](#x)."),
        printing("print(1)\nassert True", "1\n"),
        new_markdown_cell("After it."),
        new_markdown_cell("**09.1 · A task** · ●○○ · 5 min. Do this and that."),
        new_code_cell("answer = ...", metadata={"tags": ["exercise"]}),
        new_markdown_cell("A solution is folded below."),
        printing("answer = 42", "42\n", tags=["solution"]),
        new_markdown_cell("## 2 · End\n\nLast words."),
        printing("print(2)\nassert True", "2\n"),
    )
    first, second = (slide for slide in slides if slide.kind == "code")
    assert first.notes == ("**1 · Start**", "Before, see there.", "After it.")
    assert "Exercise **09.1** A task · ●○○ · 5 min" in second.notes
    assert "Last words." in second.notes
    listed = next(slide for slide in slides if slide.kind == "exercises")
    assert "A task" in listed.body and "42" not in str(slides)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two (see Fig. 2. there). Three?", 3),
        ("By Kingma et al. 2014, e.g. Adam. Then $a. B$ holds.", 2),
        ("*All of this. Is one.* The second.", 2),
        ("`a. B` is code. So.", 2),
    ],
)
def test_sentences_keep_formulas_code_and_emphasis_whole(text: str, found: int) -> None:
    assert len(sentences(text)) == found
    assert " ".join(sentences(text)) == text


def test_links_become_their_texts() -> None:
    text = "[a](#b), [`c` [d]](https://e.org/f_(g)) and ![h](attachment:i.svg)"
    assert unlinked(text) == "a, `c` [d] and ![h](attachment:i.svg)"


def test_long_code_is_cut_between_statements() -> None:
    source = "\n".join(["a = 1"] * 20 + ["for b in c:", "    d = 2", "    print(d)"])
    short = cut(source, 5).splitlines()
    assert short == ["# …", "a = 1", "for b in c:", "    d = 2", "    print(d)"]
    assert cut(source, 3).splitlines()[0] == "# …"
    assert len(cut(source, 3).splitlines()) == 3
    assert cut("x = 1", 3) == "x = 1"


def test_a_drawing_whose_words_hold_brackets_is_one() -> None:
    cell = new_markdown_cell("## 1 · A\n\n![a row with [CLS] in it](attachment:a.svg)")
    found = blocks(new_notebook(cells=[new_markdown_cell("# T"), cell]))
    assert found[-1].alt == "a row with [CLS] in it"


# --- the files --------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        build.reveal_files()
    except build.SlidesError as error:
        pytest.skip(f"decks are not built here: {error}")
    folder = tmp_path_factory.mktemp("slides")
    assert build.build(PATHS, folder, say=lambda text: None) == len(PATHS)
    return folder


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    for path in [*built.glob("*.html"), *built.glob("shared/*.css")]:
        text = re.sub(r"data:image/[^\"]+", "", path.read_text("utf-8"))
        # An address in a text or a comment is read, not loaded.
        loads = r"<[^<>]+>" if path.suffix == ".html" else r"url\([^)]*\)|@import[^;]*;"
        for loaded in re.findall(loads, text):
            assert not re.search(r"(?:https?:)?//\w", loaded), f"{path.name}: {loaded}"
        for name in re.findall(r"(?:src|href)=\"(shared/[^\"]+)\"", text):
            assert (built / name).is_file(), name


def test_formulas_are_mathml_and_notes_are_there(built: Path) -> None:
    for path in built.glob("[0-9]*.html"):
        text = path.read_text("utf-8")
        slides = text.count("<section ")
        notes = re.findall(r'<aside class="notes">(.*?)</aside>', text, re.DOTALL)
        assert len(notes) == slides and all(note.strip() for note in notes)
        prose = re.sub(r"<(pre|code)\b.*?</\1>|<[^>]+>", "", text, flags=re.DOTALL)
        assert not re.search(r"\$\$|\\(?:frac|mathbf|sum)\b", prose), path.name
    assert "<math" in (built / "06_formulas_attention.html").read_text("utf-8")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two notebooks that may be changed, instead of the course's twenty."""
    found = [Path(shutil.copy(path, tmp_path)) for path in PATHS[:2]]
    monkeypatch.setattr(notebooks, "find", lambda names=(): found)
    return found


def test_a_second_call_builds_nothing_and_a_changed_notebook_one(
    built: Path, copies: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    said: list[str] = []
    assert build.build(copies, folder, said.append) == 2
    assert build.build(copies, folder, said.append) == 0
    first = folder / f"{copies[0].stem}.html"
    before = first.stat().st_mtime_ns
    notebook = nbformat.read(copies[1], as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace("# 02", "# 02b")
    nbformat.write(notebook, copies[1])
    assert build.build(copies, folder, said.append) == 1
    assert len(said) == 3 and first.stat().st_mtime_ns == before
    assert "02b" in (folder / "index.html").read_text("utf-8")
    # Of a notebook that is gone, the deck goes.
    copies.pop(0).unlink()
    build.build(copies, folder, said.append)
    assert not first.exists() and copies[0].stem in (folder / "index.html").read_text()


def test_an_error_names_the_notebook_and_leaves_the_old_decks(
    built: Path, copies: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    build.build(copies, folder, lambda text: None)
    old = {path.name: path.read_bytes() for path in folder.glob("*.html")}
    for path, text in zip(
        copies, ["# 01 · New", r"# 02 · Bad $\nosuch{$"], strict=True
    ):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = f"{text}\n\nPromise."
        nbformat.write(notebook, path)
    with pytest.raises(mathml.FormulaError, match=copies[1].name):
        build.build(copies, folder, lambda text: None)
    assert {path.name: path.read_bytes() for path in folder.glob("*.html")} == old


def test_missing_reveal_js_and_unknown_notebooks_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["slides", "99"]) == 2
    assert "'99' matches no notebook" in capsys.readouterr().err
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert main(["slides", "09"]) == 1
    assert "make slides" in capsys.readouterr().err


def test_slides_lead_to_the_site_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (path,) = notebooks.find(["06"])
    assert build._page(path) == "../../notebooks/06_formulas_attention.ipynb"
    there = tmp_path / "build" / "site" / "notebooks" / "06_formulas_attention.html"
    there.parent.mkdir(parents=True)
    there.write_text("")
    assert build._page(path) == "../site/notebooks/06_formulas_attention.html"
    page = build._deck(path).html
    assert 'href="../site/notebooks/06_formulas_attention.html#3-%C2%B7-Why-"' in page


# --- in a browser, without a network ----------------------------------------------

# What leaves its slide, covers the line at its foot, or would have to be scrolled.
OVERFLOW = """() => {
  const frame = document.querySelector('section.present .frame'), found = [];
  const outer = frame.getBoundingClientRect(), body = frame.querySelector('.body');
  const foot = frame.querySelector('footer, .keys').getBoundingClientRect();
  for (const part of frame.querySelectorAll('*')) {
    if (part.tagName != 'math' && part.closest('math')) continue;
    const box = part.getBoundingClientRect();
    if (box.left < outer.left - 1 || box.right > outer.right + 1 ||
        box.top < outer.top - 1 || box.bottom > outer.bottom + 1)
      found.push(part.tagName + ' leaves the slide');
  }
  for (const part of [body, ...frame.querySelectorAll('pre')])
    if (part.scrollHeight > part.clientHeight + 2 ||
        part.scrollWidth > part.clientWidth + 2)
      found.push(part.className + ' would have to be scrolled');
  const room = body.getBoundingClientRect();
  for (const part of body.children) {
    const box = part.getBoundingClientRect();
    if (box.bottom > room.bottom + 2 || box.top < room.top - 2)
      found.push(part.tagName + ' is higher than its place');
  }
  if (room.bottom > foot.top + 1) found.push('the foot is covered');
  return found;
}"""
# Texts, but for formulas' signs, smaller than 20 pixels.
SMALL = """() => [...document.querySelectorAll('section.present .frame *')]
  .filter(part => !part.closest('math') && [...part.childNodes].some(
    node => node.nodeType == 3 && node.textContent.trim()))
  .filter(part => parseFloat(getComputedStyle(part).fontSize) < 19.9)
  .map(part => part.tagName + ': ' + part.textContent.slice(0, 40))"""
PICTURE = """() => {
  const picture = document.querySelector('section.present .body img');
  if (!picture) return null;
  const box = picture.getBoundingClientRect();
  return [picture.complete && picture.naturalWidth > 0, box.width, box.height];
}"""


@pytest.fixture(scope="module")
def page(built: Path) -> Iterator[Any]:
    with browser() as started:
        context = started.new_context(viewport={"width": 1280, "height": 720})
        context.set_offline(True)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("requestfailed", lambda request: page.faults.append(request.url[:99]))
        page.on(
            "console",
            lambda said: said.type == "error" and page.faults.append(said.text),
        )
        yield page


@pytest.mark.slow
@pytest.mark.parametrize("number", LOOKED_AT)
def test_every_slide_of_a_deck_shows_all_it_has(
    number: str, built: Path, page: Any
) -> None:
    (path,) = built.glob(f"{number}_*.html")
    slides = deck(next(p for p in PATHS if p.stem == path.stem))
    page.faults.clear()
    page.goto(path.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert page.evaluate("Reveal.getTotalSlides()") == len(slides)
    for place, slide in enumerate(slides):
        page.evaluate("place => Reveal.slide(place)", place)
        where = f"slide {place + 1} ({slide.kind})"
        assert page.evaluate(OVERFLOW) == [], where
        assert page.evaluate(SMALL) == [], where
        assert page.evaluate("Reveal.getSlideNotes()").strip(), where
        picture = page.evaluate(PICTURE)
        if slide.kind in ("figure", "drawing"):
            assert picture[0] and min(picture[1:]) > 80, where
    assert page.faults == []


@pytest.mark.slow
def test_a_deck_is_led_by_keys_and_has_a_speakers_window(
    built: Path, page: Any
) -> None:
    page.goto((built / "06_formulas_attention.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 1
    assert re.match(r"2\s*/\s*25", page.inner_text(".slide-number"))
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    window = opened.value
    window.wait_for_selector(".speaker-controls-notes:not(.hidden) .value p")
    assert "What the notebook is for" in window.inner_text(".speaker-controls-notes")
    window.close()


@pytest.mark.slow
def test_print_gives_a_page_a_slide(built: Path, page: Any, tmp_path: Path) -> None:
    page.goto((built / "14_applications_language.html").as_uri() + "?print-pdf")
    page.wait_for_function("document.querySelectorAll('.pdf-page').length > 0")
    slides = page.evaluate("document.querySelectorAll('.slides section').length")
    page.wait_for_timeout(300)
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", io.BytesIO(printed).read()))
    assert (
        pages
        == slides
        == page.evaluate("document.querySelectorAll('.pdf-page').length")
    )
