"""Drawings: whole, harmless, shown somewhere, and the same in file and notebook."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.tools import drawings
from helpers.tools.cli import main
from helpers.tools.drawings import DRAWINGS, embed, faults, findings
from helpers.tools.notebooks import NOTEBOOKS, NotebookError, strip_noise, write

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 100">'
    "<title>A head on a backbone</title><rect width='9' height='9'/>{}</svg>\n"
)
SHOWN = "![a small head on top of a frozen backbone](attachment:09_head.svg)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "09_head.svg").write_text(SVG.format(""), "utf-8")
    return tmp_path


def notebook(source: str = SHOWN) -> NotebookNode:
    return new_notebook(cells=[new_markdown_cell(source), new_code_cell("1")])


@pytest.mark.parametrize("path", sorted(DRAWINGS.glob("*")), ids=lambda path: path.name)
def test_drawing_of_the_course(path: Path) -> None:
    assert path.suffix == ".svg"
    assert not list(faults(path))
    number = path.name[:2]
    (owner,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    assert f"(attachment:{path.name})" in owner.read_text("utf-8"), "shown nowhere"


@pytest.mark.parametrize("part", ["backbone", "backbone, from [CLS] on"])
def test_embedded_drawing_reaches_the_page(folder: Path, part: str) -> None:
    shown = notebook(SHOWN.replace("backbone", part))
    assert list(findings(shown, folder))
    assert embed(shown, folder)
    assert not list(findings(shown, folder))
    assert not embed(shown, folder)
    page, _ = HTMLExporter().from_notebook_node(shown)
    encoded = base64.b64encode((folder / "09_head.svg").read_bytes()).decode()
    assert f"data:image/svg+xml;base64,{encoded}" in page


def test_a_drawing_is_shown_whose_words_hold_brackets(folder: Path) -> None:
    shown = notebook("![a small head reads [CLS] on top](attachment:09_head.svg)")
    assert embed(shown, folder)
    assert not list(findings(shown, folder))


def test_a_changed_drawing_is_found_and_renewed(folder: Path) -> None:
    shown = notebook()
    embed(shown, folder)
    (folder / "09_head.svg").write_text(SVG.format("<g/>"), "utf-8")
    assert ["is not the file" in finding for finding in findings(shown, folder)] == [1]
    assert embed(shown, folder)
    assert not list(findings(shown, folder))


def test_line_ends_of_a_checkout_do_not_matter(folder: Path) -> None:
    shown = notebook()
    embed(shown, folder)
    path = folder / "09_head.svg"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert not list(findings(shown, folder))


def test_a_drawing_no_longer_shown_is_taken_out(folder: Path) -> None:
    shown = notebook()
    embed(shown, folder)
    shown.cells[0].source = "Nothing to see."
    assert list(findings(shown, folder))
    embed(shown, folder)
    assert "attachments" not in shown.cells[0]


def test_a_drawing_survives_the_cleaning_of_outputs(folder: Path) -> None:
    shown = notebook()
    embed(shown, folder)
    strip_noise(shown)
    assert not list(findings(shown, folder))


def test_a_missing_drawing_is_named(folder: Path) -> None:
    with pytest.raises(NotebookError, match=r"'10_thaw.svg'.*09_head.svg"):
        embed(notebook(SHOWN.replace("09_head", "10_thaw")), folder)


def test_short_alternative_text_is_found(folder: Path) -> None:
    shown = notebook("![head](attachment:09_head.svg)")
    embed(shown, folder)
    assert ["what it shows" in finding for finding in findings(shown, folder)] == [1]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<svg", "not XML"),
        ('<svg xmlns="http://www.w3.org/2000/svg"><title>x</title></svg>', "viewBox"),
        (SVG.format("").replace("<title>A head on a backbone</title>", ""), "title"),
        (SVG.format("<script>1</script>"), "runs or loads"),
        (SVG.format('<g onclick="1"/>'), "runs or loads"),
        (SVG.format('<image href="https://example.org/a.png"/>'), "runs or loads"),
        (SVG.format("<style>@import 'a.css';</style>"), "runs or loads"),
        (SVG.format('<g fill="url(https://example.org/a)"/>'), "runs or loads"),
    ],
)
def test_faulty_drawing(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "09_head.svg"
    path.write_text(text, "utf-8")
    assert wrong in " ".join(faults(path))


def test_drawing_with_a_marker_of_its_own_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "09_head.svg"
    path.write_text(SVG.format('<path marker-end="url(#arrow)" d="M0 0"/>'), "utf-8")
    assert not list(faults(path))


def test_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "09_features.ipynb"
    write(notebook(), path)
    monkeypatch.setattr(drawings, "DRAWINGS", folder)
    assert main(["drawings", str(path)]) == 0
    assert "renewed" in capsys.readouterr().out
    saved = nbformat.read(path, as_version=4)
    assert not list(findings(saved, folder))
    assert main(["drawings", str(path)]) == 0
    assert "as it was" in capsys.readouterr().out
