"""Every formula and every known slip of the source documents has a cell that ran.

Notebooks 05 to 07 open with tables of formulas (rows F05.1, …) and of slips (rows
S05.1, …). Each row's id opens the code cell that executes it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from helpers.tools.notebooks import NOTEBOOKS

NUMBERS = ("05", "06", "07")
ROW = re.compile(r"^\| ([FS]\d\d\.\d+) \|(.*)\|$", re.MULTILINE)
OPENING = re.compile(r"^# ([FS]\d\d\.\d+)\b", re.MULTILINE)
SEEDS = Path(__file__).parents[2] / "shared" / "seeds"
DOCUMENTS = ("D0", "D1", "D2", "D3", "D4")

# Where each known slip of a document is shown: notebook, and words of the cell.
SLIPS = {
    "D0: a linear layer that fits 8 x 8 pictures only": ("05", "S05.1"),
    "D0: inputs and labels are never defined": ("08", "NameError"),
    "D0: the pretrained model was never pretrained": ("08", "published()"),
    "D0: 128 outputs go into the loss of ten classes": ("08", "classes=128"),
    "D1: pre-LN and post-LN mixed, no feed-forward layer": ("06", "S06.1"),
    "D1: a decoder without masked self-attention": ("06", "S06.2"),
    "D1: not every Transformer has both halves": ("06", "S06.3"),
    "D2: pretrained=True is gone": ("09", "pretrained=True"),
    "D2: a frozen backbone in train mode": ("05", "S05.5"),
    "D2: no ImageNet normalisation": ("09", "no normalisation"),
    "D2: 32 x 32 pictures for a network of 224 x 224": ("09", "enlarged"),
    "D2: no validation": ("09", "valid_loader"),
    "D2: the L2-SP term is never used": ("07", "S07.\\d+: .*L2-SP"),
    "D3: encoder and decoder the wrong way round": ("07", "S07.\\d+: .*encoder"),
    "D3: the margin loss without its squares": ("07", "S07.\\d+: .*squared?"),
    "D3: pairs without labels come from augmentation": ("07", "S07.\\d+: .*augment"),
    "D3: cross-entropy as a sum, its program a mean": ("05", "S05.4"),
    "D4: log-softmax twice": ("05", "S05.2"),
    "D4: Dropout2d on a flat tensor": ("05", "S05.3"),
    "D4: the test set is loaded and never used": ("08", "test_loader"),
}


@cache
def notebook(number: str) -> NotebookNode:
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def rows(number: str) -> list[tuple[str, str]]:
    """Ids and texts of all rows of the tables of formulas and slips."""
    cells = [c.source for c in notebook(number).cells if c.cell_type == "markdown"]
    return [row for source in cells for row in ROW.findall(source)]


def ran(cell: NotebookNode) -> bool:
    """Whether a code cell was executed to its end (its strict test runs it again)."""
    ends_well = all(output.output_type != "error" for output in cell.outputs)
    meant = "raises-exception" in cell.metadata.get("tags", [])
    return cell.execution_count is not None and (ends_well or meant)


def executed(number: str) -> list[str]:
    cells = [c for c in notebook(number).cells if c.cell_type == "code"]
    return [cell.source for cell in cells if ran(cell)]


@pytest.mark.parametrize("number", NUMBERS)
def test_each_row_is_executed_by_one_cell(number: str) -> None:
    listed = [id for id, _ in rows(number)]
    opened = [id for source in executed(number) for id in OPENING.findall(source)]
    assert len(listed) == len(set(listed)) and any(id[0] == "F" for id in listed)
    assert sorted(listed) == sorted(opened)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_row_is_checked(number: str) -> None:
    """By an assertion in its cell or soon after, or by a function that asserts."""
    sources = executed(number)
    asserting = {
        node.name
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and "assert" in ast.unparse(node)
    }
    checks = re.compile(rf"\b(assert|gradcheck|{'|'.join(asserting)})\b")
    for place, source in enumerate(sources):
        for id in OPENING.findall(source):
            here = "\n".join(sources[place : place + 4])
            assert checks.search(here), f"{id} is computed and never compared"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_is_covered(document: str) -> None:
    named = [
        text
        for number in NUMBERS
        for id, text in rows(number)
        if id[0] == "F" and document in text
    ]
    assert named
    seeds = sorted(SEEDS.glob(f"00{document[1]}_*.txt"))
    if seeds:
        formulas = re.findall(r"\$\$.+?\$\$", seeds[0].read_text("utf-8"), re.DOTALL)
        assert len(named) >= len(formulas)


@pytest.mark.parametrize("slip", SLIPS)
def test_every_known_slip_is_shown(slip: str) -> None:
    number, words = SLIPS[slip]
    assert any(re.search(words, source) for source in executed(number)), (
        f"no executed cell of notebook {number} holds {words!r}"
    )
