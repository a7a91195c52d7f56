"""House rules for a finished notebook: each finding says how to fix it."""

from __future__ import annotations

import ast
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from helpers.tools import alt_texts, drawings
from helpers.tools.notebooks import ROOT
from helpers.tools.outputs import WIDGET_VIEW
from helpers.tools.ranges import RANGE_TAG, outdated, prose_findings

MAX_COLUMNS = 88
MEDIAN_LINES, MOST_LINES = 6, 18
SETUP_LINES = 20
# Distinguishable for colour-blind readers; matplotlib's own.
STYLE = 'plt.style.use("tableau-colorblind10")'
# Folder names after which a path in an output belongs to somebody's machine.
_ROOTS = "home|Users|root|tmp|private|var|opt|usr|mnt|work|content|builds"
_PATH = re.compile(rf"(?<![\w.~>-])/(?:{_ROOTS})/[\w.@-]+|\b[A-Za-z]:\\+\w[\w .-]*\\")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
_PROGRESS = re.compile(r"\d%\|| (?:it/s|s/it)\]|\r")
_IMAGE = re.compile(r"!\[\s*\]\(|<img\b(?![^>]*\balt=[\"'][^\"'])[^>]*>")
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_INSIDE = re.compile(r"(?:from|import) (helpers\.(?:loop|tools)[\w.]*)")
_REFRESH = "run `python -m helpers refresh {}`"


def lint(path: Path) -> list[str]:
    """Return what is wrong with the notebook at `path`, one sentence a finding."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    refresh = _REFRESH.format(path.stem.split("_")[0])
    findings = list(_file(notebook, text, refresh))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    findings += _counts(code, refresh)
    for number, cell in enumerate(code, start=1):
        for finding in _cell(cell, refresh):
            findings.append(f"code cell {number}: {finding}")
    findings += _sizes(code)
    findings += _words_between(notebook)
    findings += _prose(notebook)
    findings += prose_findings(notebook)
    findings += _inside(code)
    findings += _anatomy(notebook, code)
    findings += _exercises(notebook, code, path.stem.split("_")[0])
    return findings


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def _file(notebook: NotebookNode, text: str, refresh: str) -> Iterator[str]:
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        version = f"{notebook.nbformat}.{notebook.nbformat_minor}"
        yield f"nbformat is {version}, not 4.5: {refresh}"
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        yield f"not a valid notebook ({first}): save it again in JupyterLab"
    # Reading fixes ids silently, so look at the file itself.
    ids = [cell.get("id") for cell in json.loads(text)["cells"]]
    if None in ids or len(set(ids)) < len(ids):
        yield f"a cell id is missing or used twice: {refresh}"
    canonical = nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n")
    if text != canonical + "\n":
        yield f"the file is not canonical JSON (indent 1, newline last): {refresh}"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield f"the kernel is not `python3`: {refresh}"
    if "widgets" in notebook.metadata:
        yield f"widget state is saved in the file: {refresh}"


def _counts(code: list[NotebookNode], refresh: str) -> Iterator[str]:
    for expected, cell in enumerate(code, start=1):
        if not cell.source.strip():
            yield f"code cell {expected} is empty: delete it"
        elif cell.execution_count != expected:
            yield (
                f"code cell {expected} has execution count {cell.execution_count}; "
                f"counts must run 1, 2, 3, … or it is not compared: {refresh}"
            )
            return


def _output_texts(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join([output.evalue, *output.traceback])
        for kind, value in output.get("data", {}).items():
            if isinstance(value, str) and not kind.startswith("image/"):
                yield re.sub(r"data:[\w/+.-]+;base64,[\w+/=\n]+", "", value)


def _cell(cell: NotebookNode, refresh: str) -> Iterator[str]:
    ignored = "nbval-ignore-output" in tags(cell)
    if "execution" in cell.metadata:
        yield f"execution times are saved in its metadata: {refresh}"
    for text in _output_texts(cell):
        for pattern, what in ((_PATH, "a path"), (_ADDRESS, "a memory address")):
            found = pattern.search(text)
            if found:
                yield (
                    f"the output shows {what} of this machine ({found.group()!r}): "
                    "print a name or a number instead"
                )
        if str(ROOT) in text:
            yield "the output shows the course's folder: print a relative path"
        if _PROGRESS.search(text) and not ignored:
            yield (
                "the output holds a progress bar: switch the bar off when "
                "COURSE_INTERACTIVE=0, or tag the cell nbval-ignore-output"
            )
    for output in cell.outputs:
        if output.output_type == "error" and "raises-exception" not in tags(cell):
            yield (
                f"it ends with {output.ename}: fix it, or tag the cell "
                "raises-exception when the error is the lesson"
            )
        if output.get("name") == "stderr":
            yield (
                "it writes to stderr: fix the cause of the warning, or filter this "
                "one message with warnings.filterwarnings"
            )
        if WIDGET_VIEW in output.get("data", {}) and not ignored:
            yield f"a dead widget is saved in its output: {refresh}"
    if outdated(cell):
        yield f"its ranges were measured for another output: {refresh}"
    if ignored and "# Not compared: " not in cell.source:
        yield "nbval-ignore-output without a reason: add `# Not compared: …`"
    skipped = "nbval-skip" in tags(cell) or "NBVAL_SKIP" in cell.source
    if skipped and not re.search(r"#.*because", cell.source):
        yield "nbval-skip without a reason: add a comment `# skipped because …`"
    if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source):
        yield "nbval comment in the code: use a cell tag instead"
    if "skip-execution" in tags(cell):
        yield "skip-execution hides the cell from the tests: remove the tag"
    for line in cell.source.splitlines():
        if len(line) > MAX_COLUMNS:
            yield f"a line has {len(line)} columns, at most {MAX_COLUMNS}: {line[:40]}…"


def _inside(code: list[NotebookNode]) -> Iterator[str]:
    """Imports from the rooms that are not the learner's."""
    for number, cell in enumerate(code, start=1):
        if found := _INSIDE.search(cell.source):
            yield (
                f"code cell {number}: it imports {found[1]}, which is not a learner's "
                "room: offer the name from one that is"
            )


def _sizes(code: list[NotebookNode]) -> Iterator[str]:
    if not code:
        yield "there is no code cell"
        return
    lines = [len(cell.source.strip().splitlines()) for cell in code]
    median = statistics.median(lines)
    if median > MEDIAN_LINES:
        yield (
            f"the median code cell has {median:g} lines, at most {MEDIAN_LINES}: "
            "split cells"
        )
    long = [i for i, n in enumerate(lines, start=1) if n > MOST_LINES]
    if len(long) * 10 > len(code):
        yield (
            f"{len(long)} of {len(code)} code cells have more than {MOST_LINES} lines, "
            f"at most one in ten: split cells {long} or move code to helpers"
        )
    ignored = sum("nbval-ignore-output" in tags(cell) for cell in code)
    if ignored > -(-len(code) // 50):
        yield (
            f"{ignored} of {len(code)} code cells are tagged nbval-ignore-output, at "
            "most one in fifty: only where words or the number of lines differ"
        )


def _words_between(notebook: NotebookNode) -> Iterator[str]:
    """Code cells below another one that say neither why nor that they continue it."""
    number, above = 0, ""
    for cell in notebook.cells:
        if RANGE_TAG in tags(cell):
            continue
        if cell.cell_type == "code":
            number += 1
            begins = cell.source.lstrip().startswith("#")
            if above == "code" and not begins:
                yield (
                    f"code cell {number} follows another without a word: say what it "
                    "claims, or begin it with a comment that says what it continues"
                )
        above = cell.cell_type


def _markdown(notebook: NotebookNode) -> list[str]:
    """Return the text of the Markdown cells, without fenced code."""
    cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "markdown" and RANGE_TAG not in tags(cell)
    ]
    return [_FENCE.sub("", cell.source) for cell in cells]


def _prose(notebook: NotebookNode) -> Iterator[str]:
    texts = _markdown(notebook)
    titles = sum(len(re.findall(r"^# ", text, re.MULTILINE)) for text in texts)
    if titles != 1 or not texts[0].startswith("# "):
        yield f"{titles} first-level headings: the first cell opens with the only one"
    for text in texts:
        if _IMAGE.search(text):
            yield "an image without alternative text: write ![what it shows](file)"
    yield from drawings.findings(notebook)
    if not any(cell.get("attachments") for cell in notebook.cells):
        yield "there is no drawing: show one of data/drawings before the algebra"
    yield from alt_texts.findings(notebook)


def _anatomy(notebook: NotebookNode, code: list[NotebookNode]) -> Iterator[str]:
    texts = _markdown(notebook)
    prose = "\n\n".join(texts)
    if not re.search(r"^.*Time.*·.*Needs.*·.*Mirrors", prose, re.MULTILINE):
        yield "the line `Time … · Needs … · Mirrors …` is missing below the title"
    _, found, after = prose.partition("After this notebook you can")
    points = re.match(r"[^\n]*\n+((?:(?:[-*]|\d+\.) .*(?:\n[ \t]+\S.*)*\n?)+)", after)
    bullets = re.findall(r"^(?:[-*]|\d+\.) ", points[1], re.MULTILINE) if points else []
    if not found or not 3 <= len(bullets) <= 5:
        yield (
            f"'After this notebook you can' needs 3 to 5 list items, has {len(bullets)}"
        )
    setups = [i for i, cell in enumerate(code) if "helpers.setup(" in cell.source]
    if setups != [0]:
        yield "helpers.setup(…) must be called once, in the first code cell"
    lines = len(code[0].source.strip().splitlines()) if code else 0
    if lines > SETUP_LINES:
        yield (
            f"the set-up cell has {lines} lines, at most {SETUP_LINES}: import a name "
            "where it is first used"
        )
    if code and STYLE not in code[0].source:
        yield f"the set-up cell does not choose the course's colours: add {STYLE}"
    if not any("image/png" in o.get("data", {}) for c in code for o in c.outputs):
        yield "there is no plot: show at least one figure"
    if not any("widget" in tags(cell) for cell in code):
        yield "there is no code cell tagged `widget`"
    for title in ("What we have seen", "Go bigger", "Read more"):
        if not re.search(rf"^#+ .*{title}", prose, re.MULTILINE):
            yield f"the heading '{title}' is missing"
    if not any("if helpers.online:" in cell.source for cell in code):
        yield "'Go bigger' needs a code cell guarded by `if helpers.online:`"


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return None


def _checked_ids(cell: NotebookNode) -> list[str]:
    """Return the exercise ids that a cell passes to `helpers.check`."""
    tree = _parse(cell.source)
    calls = (
        [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    )
    return [
        str(call.args[0].value)
        for call in calls
        if ast.unparse(call.func) in ("helpers.check", "check")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


def _is_stub(cell: NotebookNode) -> bool:
    tree = _parse(cell.source)
    nodes: Any = ast.walk(tree) if tree else []
    return any(isinstance(n, ast.Constant) and n.value is Ellipsis for n in nodes)


def _exercises(
    notebook: NotebookNode, code: list[NotebookNode], number: str
) -> Iterator[str]:
    stubs = [cell for cell in code if "exercise" in tags(cell)]
    if not 2 <= len(stubs) <= 4:
        yield f"{len(stubs)} exercises (code cells tagged `exercise`), not 2 to 4"
    solved = [cell for cell in code if "solution" in tags(cell)]
    solved_ids = [id for cell in solved for id in _checked_ids(cell)]
    for cell in solved:
        for part in ("source_hidden", "outputs_hidden"):
            if not cell.metadata.get("jupyter", {}).get(part):
                yield f"a solution is visible: set metadata.jupyter.{part} to true"
    places = [notebook.cells.index(cell) for cell in stubs]
    early = sum(3 * place < 2 * len(notebook.cells) for place in places)
    if 2 * early < len(stubs):
        yield (
            f"{early} of {len(stubs)} exercises stand before the last third: put each "
            "below the section that it tests"
        )
    expected = [f"{number}.{i}" for i in range(1, len(stubs) + 1)]
    for id, cell in zip(expected, stubs, strict=True):
        if not _is_stub(cell):
            yield f"exercise {id}: the stub cell must hold `answer = ...`"
        position = code.index(cell)
        following = [
            c for c in code[position : position + 2] if "solution" not in tags(c)
        ]
        if id not in [found for c in following for found in _checked_ids(c)]:
            yield f'exercise {id}: call helpers.check("{id}", answer) below the stub'
        if id not in solved_ids:
            yield (
                f"exercise {id}: add a cell tagged `solution` that ends with "
                f'helpers.check("{id}", …)'
            )
        above = notebook.cells[notebook.cells.index(cell) - 1]
        if not re.search(r"[●○•].*\d+ ?min", above.source):
            yield (
                f"exercise {id}: the cell above the stub states the task with its "
                "difficulty and time, such as `●●○ · 5 min`"
            )
    outputs = "".join(o.get("text", "") for cell in solved for o in cell.outputs)
    for id in expected:
        if id in solved_ids and f"{id} correct" not in outputs:
            yield f"exercise {id}: the solution's check does not print `{id} correct`"
