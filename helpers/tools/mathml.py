"""TeX formulas of Markdown texts as MathML, which browsers draw without a network.

Site and slides share it. The converter is math-core: it keeps to the MathML Core that
browsers implement, and refuses what it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from math_core import LatexToMathML

# What could hold a dollar sign and is no formula comes first: code, and `\$`.
_PIECES = re.compile(
    r"""
    (?P<fence>^[ >]*(?P<bar>`{3,}|~{3,})[^\n]*\n.*?(?:^[ >]*(?P=bar)[^\n]*$|\Z))
  | (?P<code>(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`))
  | (?P<escaped>\\\$)
  | \$\$(?P<block>.+?)\$\$
  | \$(?P<inline>(?![\s$])(?:\\.|[^$\\])+?(?<!\s))\$(?!\d)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

# Characters that Markdown would take for its own signs, inside a formula's text.
_MARKDOWN_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "*_`[]|~\\"}

# A prime as an exponent. Its sign is small and high already, and made small and high
# twice it looks like a dot; fonts for mathematics, which know better, are rare.
_LEAF = r"<m[ino][^>]*>[^<]*</m[ino]>"
_PRIME = r"<mo>([′″‴⁗])</mo>"
_UPRIGHT = r'<mo lspace="0" rspace="0">\g<2></mo>'
_PRIMES = [
    (rf"<msup>({_LEAF}){_PRIME}</msup>", rf"<mrow>\g<1>{_UPRIGHT}</mrow>"),
    (
        rf"<msup>({_LEAF})<mrow>{_PRIME}({_LEAF})</mrow></msup>",
        rf"<msup><mrow>\g<1>{_UPRIGHT}</mrow>\g<3></msup>",
    ),
    (
        rf"<msubsup>({_LEAF}{_LEAF}){_PRIME}</msubsup>",
        rf"<mrow><msub>\g<1></msub>{_UPRIGHT}</mrow>",
    ),
]


class FormulaError(ValueError):
    """A formula that cannot be converted; the message shows it and says why."""


@dataclass(frozen=True)
class Formula:
    """A formula in a text: its TeX, whether it stands in a line of its own, its place.

    `text[start:end]` is the formula with its dollar signs.
    """

    tex: str
    block: bool
    start: int
    end: int


@cache
def _converter() -> LatexToMathML:
    from math_core import LatexToMathML

    return LatexToMathML()


def convert(tex: str, block: bool = False) -> str:
    r"""Return the `<math>` element of a formula, in one line.

    `tex` comes without dollar signs: `\frac{1}{n}`. With `block` it is set large, in a
    line of its own. Raises `FormulaError` for TeX that is wrong or unknown.
    """
    from math_core import LatexError

    try:
        element = _converter().convert_with_local_state(tex, displaystyle=block)
    except LatexError as error:
        raise FormulaError(f"formula {tex!r} does not convert: {error}") from error
    for pattern, better in _PRIMES:
        element = re.sub(pattern, better, element)
    # A selector of letter forms, which many fonts draw as a box.
    return element.replace("\N{VARIATION SELECTOR-1}", "").replace("\n", " ")


def find(text: str) -> Iterator[Formula]:
    """Yield the formulas (`$…$`, `$$…$$`) of a Markdown text; code is left out."""
    for piece in _PIECES.finditer(text):
        tex = piece["block"] or piece["inline"]
        if tex:
            yield Formula(tex.strip(), bool(piece["block"]), *piece.span())


def in_markdown(text: str) -> str:
    """Return a Markdown text whose formulas are MathML, safe from Markdown's signs.

    Inside block quotes the quote's own signs are removed from a formula of several
    lines. Raises `FormulaError` as `convert` does.
    """
    done, parts = 0, []
    for formula in find(text):
        tex = re.sub(r"\n[ ]*>[ ]?", "\n", formula.tex)
        element = convert(tex, formula.block).translate(_MARKDOWN_SIGNS)
        parts += [text[done : formula.start], element]
        done = formula.end
    return "".join([*parts, text[done:]])
