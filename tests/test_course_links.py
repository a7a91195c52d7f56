"""Links in the notebooks lead somewhere: files, headings, well-formed addresses."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from helpers.tools.notebooks import NOTEBOOKS
from tests.course_links import anchor, broken, links, section_at, sections


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem
)
def test_links_of_a_notebook_resolve(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for cell in cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("data", {}).get("text/markdown", ""))
    wrong = {
        target: reason
        for text in texts
        for target in links(text)
        if not target.startswith("attachment:")
        and (reason := broken(target))
        and not (target.startswith("#") and target[1:] in sections(path.name[:2]))
    }
    assert not wrong


def test_faults_are_found() -> None:
    assert links("[a](x.md) ![b](y.png)\n```\n[c](z)\n```\n[d](e(f)g)") == [
        "x.md",
        "e(f)g",
    ]
    assert anchor("4 · Not `this`, *that*") == "4-·-Not-this,-that"
    assert broken("05_formulas_layers.ipynb#8-·-Optimizers") is None
    assert broken("05_formulas_layers.ipynb#8-Optimizers") == "no such heading"
    assert broken("99_nothing.ipynb") == "no such file"
    assert broken("http://example.org") and broken("https://broken")
    assert broken("../../other") in ("no such file", "outside the course")


def test_a_section_holds_its_subsections() -> None:
    optimizers = section_at("05#8 · Optimizers")
    assert "AdamW" in optimizers.text and optimizers.executed > 3
    assert "narrow valley" not in optimizers.text
    with pytest.raises(LookupError, match="no 'Adamant'.*8 · Optimizers"):
        section_at("05#Adamant")
