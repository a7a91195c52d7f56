"""Formulas become MathML: every one of the course, and none that is code."""

from __future__ import annotations

import re

import nbformat
import pytest

from helpers.tools import mathml
from helpers.tools.notebooks import NOTEBOOKS


def test_every_formula_of_the_notebooks_converts() -> None:
    failed, count = [], 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "markdown":
                continue
            for formula in mathml.find(cell.source):
                count += 1
                try:
                    element = mathml.convert(formula.tex, formula.block)
                except mathml.FormulaError as error:
                    failed.append(f"{path.name}: {error}")
                    continue
                shown = re.sub(r"<[^>]+>", "", element)
                # A backslash that is left is a command shown as its name.
                if re.search(r"\\[a-zA-Z]|\$", shown):
                    failed.append(f"{path.name}: {formula.tex!r} shows {shown!r}")
    assert not failed, "\n".join(failed)
    assert count > 500


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"\frac{1}{n}", "<mfrac>"),
        (r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", "<mtable"),
        (r"\begin{align} a &= b \\ &= c \end{align}", "<mtable"),
        (r"\begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases}", "else"),
        (r"\sqrt{d_k}", "<msqrt>"),
        (r"\mathcal L_\text{pre}", "pre"),
    ],
)
def test_structures_become_elements(tex: str, expected: str) -> None:
    element = mathml.convert(tex, block=True)
    assert element.startswith("<math") and element.endswith("</math>")
    assert expected in element and "\n" not in element


@pytest.mark.parametrize("tex", ["n'", r"\mathbf b'", r"\theta'_i", r"W'^\top"])
def test_a_prime_is_not_made_small_twice(tex: str) -> None:
    assert re.search(r'<mo lspace="0" rspace="0">′</mo></mrow>', mathml.convert(tex))


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(mathml.FormulaError, match=r"\\nosuchthing"):
        mathml.convert(r"x + \nosuchthing")


def test_code_and_prices_are_no_formulas() -> None:
    text = (
        "`$x$` costs \\$5 and $y_1$\n\n```sh\necho $HOME $PATH\n```\n\n$$z\n+1$$ $5 or"
    )
    assert [(f.tex, f.block) for f in mathml.find(text)] == [
        ("y_1", False),
        ("z\n+1", True),
    ]


def test_markdown_keeps_everything_but_the_formulas() -> None:
    text = "# Why $\\sqrt{d_k}$\n\n`$x$` and *$a * b$*, $|x|$"
    shown = mathml.in_markdown(text)
    assert shown.startswith("# Why <math>") and "`$x$`" in shown
    inside = "".join(re.findall("<math.*?</math>", shown))
    assert not set("*|_`") & set(inside)
