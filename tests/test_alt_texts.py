"""What computed pictures show, in words: copied to the pictures, and asked for."""

from __future__ import annotations

import nbformat
from nbformat import NotebookNode
from nbformat import v4 as nb

from helpers.tools import alt_texts

CURVES = "Two curves; the pretrained one stays above."
MATRIX = "A confusion matrix, dark along its diagonal."


def notebook(pictures: int, **metadata: object) -> NotebookNode:
    png = {"image/png": "iVBORw0KGgo="}
    shown = [nb.new_output("display_data", data=png) for _ in range(pictures)]
    printed = nb.new_output("stream", text="loss 1.2\n")
    cell = nb.new_code_cell("plot()", outputs=[printed, *shown], metadata=metadata)
    return nb.new_notebook(cells=[nb.new_markdown_cell("# A"), cell])


def texts(found: NotebookNode) -> list[str | None]:
    outputs = found.cells[1].outputs[1:]
    return [output.metadata.get("image/png", {}).get("alt") for output in outputs]


def test_each_picture_gets_its_own_text_where_viewers_look_for_it() -> None:
    found = notebook(2, alt=[CURVES, MATRIX])
    assert alt_texts.embed(found)
    assert texts(found) == [CURVES, MATRIX]
    assert not list(alt_texts.findings(found))
    assert not alt_texts.embed(found), "a second call has nothing to do"
    nbformat.validate(found)


def test_a_new_text_replaces_the_old_and_a_size_stays() -> None:
    found = notebook(1, alt=[CURVES])
    found.cells[1].outputs[1].metadata["image/png"] = {"width": 300, "alt": MATRIX}
    assert alt_texts.embed(found)
    assert found.cells[1].outputs[1].metadata["image/png"] == {
        "width": 300,
        "alt": CURVES,
    }


def test_a_text_that_was_taken_back_goes_from_the_picture_too() -> None:
    found = notebook(1, alt=[CURVES])
    alt_texts.embed(found)
    del found.cells[1].metadata["alt"]
    assert alt_texts.embed(found)
    assert texts(found) == [None]


def test_missing_short_and_stale_texts_are_named() -> None:
    (finding,) = alt_texts.findings(notebook(2, alt=[CURVES]))
    assert "code cell 1: 2 pictures" in finding
    (finding,) = alt_texts.findings(notebook(1, alt=[CURVES]))
    assert "helpers drawings" in finding
    short = notebook(1, alt=["A plot."])
    alt_texts.embed(short)
    (finding,) = alt_texts.findings(short)
    assert f"at least {alt_texts.LEAST_ALT} characters" in finding
    (finding,) = alt_texts.findings(notebook(1, alt=CURVES))
    assert "make it a list" in finding
