"""Every notebook keeps the house rules, and every rule finds its offender."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.tools import alt_texts, drawings, notebooks, sections
from helpers.tools.notebook_lint import STYLE, lint
from helpers.tools.ranges import print_of, write_notes

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_house_rules(path: Path) -> None:
    findings = lint(path)
    assert not findings, "\n" + "\n".join(findings)


INTRO = """# Feature extraction

One sentence of promise.

**Time** 20 min · **Needs** nothing more · **Mirrors** D2 ch. 4

After this notebook you can

- freeze a backbone,
- train a head
  on features,
- say when this fails.
"""
DRAWING = "![two towers that meet in one space](attachment:18_towers.svg)"
END = (
    "## What we have seen\n\n- Much.",
    "## Go bigger\n\nThe same with ResNet-50.",
    "## Read more\n\n- [A paper](https://example.org/home/paper)",
)


def text_output(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def code(source: str, *tags: str, shows: str = "", **metadata: object) -> NotebookNode:
    cell = new_code_cell(source, outputs=[text_output(shows)] if shows else [])
    if tags:
        cell.metadata["tags"] = list(tags)
    cell.metadata.update(metadata)
    return cell


def good_notebook() -> NotebookNode:
    """Return a notebook without any finding; the tests break it rule by rule."""
    plot = code("plt.plot(history)\nplt.show()", "plot")
    plot.outputs = [new_output("display_data", {"image/png": "iVBORw0KGgo="})]
    plot.metadata["alt"] = ["Two curves that end at the same height."]
    cells = [
        new_markdown_cell(INTRO),
        code(
            f"import helpers\n\n{STYLE}\nhelpers.setup(seed=0)",
            shows="Python · offline\n",
        ),
        new_markdown_cell(f"## 1 · Features\n\n{DRAWING}\n\n![frozen](frozen.svg)"),
        code("print(len(features))", shows="1280 of 3/4, and/or 9/10\n"),
        new_markdown_cell("Look at the time axis."),
        plot,
        new_markdown_cell("Turn the knob.\n\n```python\n# a comment, no heading\n```"),
        code(
            "# Not compared: a widget\ninteract(show)", "widget", "nbval-ignore-output"
        ),
    ]
    for id in ("09.1", "09.2"):
        check = f'helpers.check("{id}", answer)'
        hidden = {"source_hidden": True, "outputs_hidden": True}
        cells += [
            new_markdown_cell(f"**Exercise {id}** ●●○ · 5 min\n\nHow wide is it?"),
            code(
                f"answer = ...\n{check}", "exercise", shows=f"{id} not attempted yet\n"
            ),
            new_markdown_cell("A solution:"),
            code(
                f"answer = 1280\n{check}",
                "solution",
                shows=f"{id} correct.\n",
                jupyter=hidden,
            ),
        ]
    cells += [new_markdown_cell(text) for text in END]
    cells += [code("if helpers.online:\n    bigger()")]
    counted = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(counted, start=1):
        cell.execution_count = count
    metadata = {"kernelspec": dict(notebooks.KERNELSPEC)}
    notebook = new_notebook(cells=cells, metadata=metadata)
    drawings.embed(notebook)
    alt_texts.embed(notebook)
    return notebook


def findings(notebook: NotebookNode, folder: Path) -> list[str]:
    path = folder / "09_features.ipynb"
    notebooks.write(notebook, path)
    return lint(path)


def test_good_notebook_has_no_finding(tmp_path: Path) -> None:
    assert findings(good_notebook(), tmp_path) == []


Change = Callable[[NotebookNode], object]
# Positions in good_notebook(): the set-up, a printed value, the plot, the widget.
SETUP, VALUE, PLOT, WIDGET, STUB, SOLVED = 1, 3, 5, 7, 9, 11


def shows(text: str, name: str = "stdout") -> Change:
    def change(notebook: NotebookNode) -> None:
        notebook.cells[VALUE].outputs = [text_output(text, name)]

    return change


def data(kind: str, value: str) -> Change:
    def change(notebook: NotebookNode) -> None:
        notebook.cells[VALUE].outputs = [new_output("display_data", {kind: value})]

    return change


def says(cell: int, source: str) -> Change:
    return lambda notebook: notebook.cells[cell].update(source=source)


def replaces(old: str, new: str) -> Change:
    def change(notebook: NotebookNode) -> None:
        changed = 0
        for cell in notebook.cells:
            changed += cell.source.count(old)
            cell.source = cell.source.replace(old, new)
        assert changed, f"the good notebook holds no {old!r}"

    return change


def tagged(cell: int, *tags: str) -> Change:
    return lambda notebook: notebook.cells[cell].metadata.update(tags=list(tags))


def counted(cell: int, count: int | None) -> Change:
    return lambda notebook: notebook.cells[cell].update(execution_count=count)


def raises(notebook: NotebookNode) -> None:
    error = new_output("error", ename="KeyError", evalue="'a'", traceback=["…"])
    notebook.cells[VALUE].outputs = [error]


def longer(lines: int) -> Change:
    def change(notebook: NotebookNode) -> None:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source += "\nx = 1" * lines

    return change


def print_a_loss_that_moves(cell: NotebookNode) -> None:
    cell.outputs = [text_output("loss 0.53")]
    moved = {"0": {"0": [0.5, 0.55]}}
    cell.metadata["course"] = {"moved": moved, "of": print_of(cell)}


def moves(cell: int, prose: str) -> Change:
    """The cell prints a loss that moves, and the next cell speaks of it."""

    def change(notebook: NotebookNode) -> None:
        print_a_loss_that_moves(notebook.cells[cell])
        notebook.cells[cell + 1].source = prose

    return change


def with_range_below(cell: int) -> Change:
    """The cell prints a loss that moves, and its range stands below."""

    def change(notebook: NotebookNode) -> None:
        print_a_loss_that_moves(notebook.cells[cell])
        write_notes(notebook)

    return change


def wordless(notebook: NotebookNode) -> None:
    del notebook.cells[4]


def continued(notebook: NotebookNode) -> None:
    wordless(notebook)
    notebook.cells[4].source = "# The same as a curve.\nplt.show()"


def padded(notebook: NotebookNode) -> None:
    for _ in range(20):
        notebook.cells.insert(SETUP, new_markdown_cell("More."))


def shown_below(notebook: NotebookNode) -> None:
    notebook.cells[SOLVED].metadata.jupyter.pop("outputs_hidden")


def described(*texts: str) -> Change:
    return lambda notebook: notebook.cells[PLOT].metadata.update(alt=list(texts))


def not_described(notebook: NotebookNode) -> None:
    notebook.cells[PLOT].metadata.pop("alt")
    alt_texts.embed(notebook)


def without_drawing(notebook: NotebookNode) -> None:
    notebook.cells[2].source = "## 1 · Features"
    notebook.cells[2].pop("attachments")


RULES: dict[str, tuple[Change, str]] = {
    "cell never run": (counted(VALUE, None), "execution count None"),
    "gap in counts": (counted(PLOT, 9), "counts must run 1, 2, 3"),
    "empty cell": (says(VALUE, " "), "code cell 2 is empty"),
    "widget state": (lambda nb: nb.metadata.update(widgets={}), "widget state"),
    "timestamps": (
        lambda nb: nb.cells[VALUE].metadata.update(
            execution={"iopub.status.busy": "0"}
        ),
        "execution times",
    ),
    "home folder": (shows("saved to /home/ada/model.pt"), "a path of this machine"),
    "mac folder": (shows("'/Users/ada/model.pt'"), "a path of this machine"),
    "temporary folder": (shows(f"in {'/' + 'tmp'}/x7gh"), "a path of this machine"),
    "windows folder": (shows("C:\\Users\\ada\\model.pt"), "a path of this machine"),
    "course folder": (shows(f"{notebooks.ROOT}/x"), "the course's folder"),
    "path in html": (data("text/html", "<b> /home/ada/x</b>"), "a path"),
    "address": (shows("<Thing at 0x7f3a5c0d1e80>"), "a memory address"),
    "error": (raises, "ends with KeyError"),
    "stderr": (shows("UserWarning", "stderr"), "writes to stderr"),
    "progress bar": (shows("100%|████| 3/3 [00:01<00:00, 2.1it/s]"), "progress bar"),
    "dead widget": (data(notebooks.WIDGET_VIEW, "{}"), "dead widget"),
    "no title": (replaces("# Feature extraction", "Features"), "0 first-level"),
    "two titles": (replaces("## 1 · Features", "# 1 · Features"), "2 first-level"),
    "no time line": (replaces("**Needs**", "Wants"), "`Time … · Needs … · Mirrors …`"),
    "two points": (replaces("- train a head\n  on features,\n", ""), "has 2"),
    "six points": (replaces("- freeze", "- a\n- b\n- c\n- freeze"), "has 6"),
    "no set-up": (says(SETUP, "import helpers"), "helpers.setup(…)"),
    "two set-ups": (says(VALUE, "helpers.setup(seed=1)"), "helpers.setup(…)"),
    "no plot": (lambda nb: nb.cells[PLOT].update(outputs=[]), "there is no plot"),
    "no widget": (tagged(WIDGET, "nbval-ignore-output"), "tagged `widget`"),
    "one exercise": (tagged(STUB), "1 exercises"),
    "no stub": (replaces("answer = ...", "answer = 3"), "`answer = ...`"),
    "wrong id": (replaces('check("09.1"', 'check("08.1"'), 'helpers.check("09.1"'),
    "no solution": (lambda nb: nb.cells.pop(SOLVED), "tagged `solution`"),
    "visible solution": (
        lambda nb: nb.cells[SOLVED].metadata.pop("jupyter"),
        "solution is visible",
    ),
    "wrong solution": (
        lambda nb: nb.cells[SOLVED].update(outputs=[text_output("09.1 not yet: no")]),
        "does not print `09.1 correct`",
    ),
    "no difficulty": (replaces("●●○ · 5 min", ""), "difficulty and time"),
    "no summary": (replaces("What we have seen", "Summary"), "'What we have seen'"),
    "no go bigger": (replaces("Go bigger", "More"), "'Go bigger' is missing"),
    "no read more": (replaces("Read more", "Papers"), "'Read more'"),
    "unguarded": (replaces("if helpers.online", "if online"), "guarded by"),
    "long cells": (longer(7), "the median code cell has"),
    "very long cells": (longer(18), "more than 18 lines"),
    "wordless": (wordless, "code cell 3 follows another without a word"),
    "exercises at the end": (padded, "0 of 2 exercises stand before the last third"),
    "solution's output": (shown_below, "jupyter.outputs_hidden"),
    "wall of imports": (says(SETUP, "import helpers\n" * 21), "has 21 lines"),
    "other colours": (replaces(STYLE, ""), "the course's colours"),
    "no drawing": (without_drawing, "there is no drawing"),
    "no text for a picture": (not_described, "1 pictures, and metadata.alt is []"),
    "too many texts": (described("x" * 20, "y" * 20), "1 pictures, and metadata.alt"),
    "short text": (described("A curve."), "in at least 20 characters"),
    "old text": (described("Three curves that part."), "does not carry the text"),
    "many ignored": (tagged(VALUE, "nbval-ignore-output"), "most one in fifty"),
    "ignored without a reason": (says(WIDGET, "interact(show)"), "without a reason"),
    "inside helpers": (
        says(VALUE, "from helpers.loop.steps import classify"),
        "not a learner's room",
    ),
    "ranges of another output": (
        lambda nb: nb.cells[VALUE].metadata.update(course={"moved": {}, "of": ""}),
        "measured for another output",
    ),
    "prose that moves": (moves(VALUE, "about it: the loss is 0.53."), "says 0.53"),
    "skip": (tagged(VALUE, "nbval-skip"), "nbval-skip without a reason"),
    "hidden from tests": (tagged(VALUE, "skip-execution"), "skip-execution"),
    "nbval comment": (says(VALUE, "# NBVAL_IGNORE_OUTPUT\n1"), "nbval comment"),
    "wide line": (says(VALUE, f"x = '{'y' * 90}'"), "columns, at most 88"),
    "other kernel": (
        lambda nb: nb.metadata.kernelspec.update(name="my-env"),
        "kernel is not `python3`",
    ),
    "old format": (lambda nb: nb.update(nbformat_minor=4), "not 4.5"),
    "no alt text": (replaces("![frozen]", "![]"), "without alternative text"),
    "html without alt": (replaces("Look at", '<img src="x.png">'), "alternative text"),
    "attachment": (
        lambda nb: nb.cells[2].update(attachments={"a.png": {"image/png": "iVBORw0K"}}),
        "no drawing of data/drawings shown in its cell",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_broken_rule_is_reported(rule: str, tmp_path: Path) -> None:
    change, expected = RULES[rule]
    notebook = good_notebook()
    change(notebook)
    found = findings(notebook, tmp_path)
    assert any(expected in finding for finding in found), found


def test_file_written_by_another_tool_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "09_features.ipynb"
    notebooks.write(good_notebook(), path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n ", "\n  ") + "\n", encoding="utf-8")
    assert any("canonical" in finding for finding in lint(path))


@pytest.mark.filterwarnings("ignore:Non-unique cell id")
def test_cell_id_used_twice_is_reported(tmp_path: Path) -> None:
    notebook = good_notebook()
    path = tmp_path / "09_features.ipynb"
    notebooks.write(notebook, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(notebook.cells[3].id, notebook.cells[5].id))
    assert any("used twice" in finding for finding in lint(path))


@pytest.mark.parametrize(
    "change",
    [
        says(VALUE, "# skipped because it needs a microphone\nrecord()"),
        shows("1 and/or 2 in 3/4; km/h; <br /><br />; https://a.org/home/x; 0x1F"),
        data("text/html", "<table><tr><td>1</td></tr></table>"),
        lambda nb: (
            nb.cells[PLOT].outputs[0].data.update({"image/png": "/home/iVBORw0KGgo"})
        ),
        moves(VALUE, "about it: the loss is about 0.53, in Exercise 00.53."),
        with_range_below(VALUE),
        continued,
    ],
)
def test_harmless_content_is_left_alone(change: Change, tmp_path: Path) -> None:
    notebook = good_notebook()
    change(notebook)
    assert findings(notebook, tmp_path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_readme_names_every_notebook_and_its_time(path: Path) -> None:
    readme = (notebooks.ROOT / "README.md").read_text(encoding="utf-8")
    link = f"(notebooks/{path.name})"
    (row,) = [line for line in readme.splitlines() if link in line]
    title = nbformat.read(path, as_version=4).cells[0].source
    time = re.search(r"^Time: (.+?) to run", title, re.MULTILINE)
    assert time and row.split("|")[3].strip() == time[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_stated_time_is_the_measured_one(path: Path) -> None:
    title = nbformat.read(path, as_version=4).cells[0].source
    time = re.search(r"^Time: (.+?) minutes? to run", title, re.MULTILINE)
    assert time is not None
    stated = 0.5 if time[1] == "half a" else float(time[1])
    measured = sections.measured()[path.name[:2], sections.WHOLE] / 60
    assert abs(stated - measured) <= 0.4, f"{measured:.2f} minutes were measured"
    study = re.search(r" to run, (\d+)(?: minutes)? to study", title)
    assert study is not None
    counted = sum(part.study for part in sections.of_course()[path.name[:2]])
    assert abs(int(study[1]) - counted) <= 8, f"{counted:.0f} minutes were counted"
