"""Sphinx extension: formulas as MathML, search in Chinese, words for pictures.

Runs in the environment of requirements-docs.txt.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.util.logging import getLogger

from helpers.tools import mathml

# Signs of a formula in a line of text that may not fit on a phone.
WIDE = 24
_CJK = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")


class formula(nodes.Inline, nodes.TextElement):
    """A formula: MathML for the page, its signs as text for titles and search."""


class Formulas(SphinxTransform):
    """Convert the formulas that MyST found."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Replace each math node; a formula that fails is a warning, so an error."""
        for node in [
            *self.document.findall(nodes.math),
            *self.document.findall(nodes.math_block),
        ]:
            block = isinstance(node, nodes.math_block)
            try:
                element = mathml.convert(node.astext(), block)
            except mathml.FormulaError as error:
                getLogger(__name__).warning(str(error), location=node)
                continue
            plain = html.unescape(re.sub(r"<[^>]+>", "", element))
            new = formula(plain, plain, mathml=element, block=block)
            node.replace_self(new)


class Pictures(SphinxTransform):
    """Give the pictures of an output the texts that its cell's metadata holds."""

    default_priority = 210

    def apply(self, **kwargs: Any) -> None:
        """Pair pictures and texts in their order."""
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") != "cell_code":
                continue
            texts = cell.get("cell_metadata", {}).get("alt", [])
            for image, text in zip(cell.findall(nodes.image), texts, strict=False):
                image["alt"] = text


class Prints(SphinxTransform):
    """Let printed sentences wrap; what has columns keeps its lines and scrolls."""

    default_priority = 215

    def apply(self, **kwargs: Any) -> None:
        """Set a class."""
        for output in self.document.findall(nodes.container):
            if output.get("nb_element") != "cell_code_output":
                continue
            for block in output.findall(nodes.literal_block):
                if not re.search(r"\S {2,}\S", block.astext()):
                    block["classes"].append("wraps")


class Callouts(SphinxTransform):
    """Name a quotation that opens with a bold word by it: tip, careful, …"""

    default_priority = 220

    def apply(self, **kwargs: Any) -> None:
        """Set a class."""
        for quote in self.document.findall(nodes.block_quote):
            first = next(iter(quote.findall(nodes.strong)), None)
            name = first.astext() if first is not None else ""
            quote["classes"] += ["callout", nodes.make_id(name) or "plain"]


class CourseSearch(SearchEnglish):
    """English words by their stems; Chinese by its characters and pairs of them.

    A browser cannot tell Chinese words apart. Pairs find every word, and both sides
    can make them.
    """

    lang = "course"
    js_splitter_code = """
function splitQuery(query) {
  const pieces = query.match(/[CJK]+|[^CJK\\s]+/gu) || [];
  return pieces.flatMap((piece) => {
    if (!/^[CJK]/u.test(piece))
      return piece.split(/[^\\p{Letter}\\p{Number}_]+/gu).filter((word) => word);
    const signs = Array.from(piece);
    if (signs.length === 1) return signs;
    return signs.slice(1).map((sign, i) => signs[i] + sign);
  });
}
""".replace("CJK", _CJK)

    def split(self, input: str) -> list[str]:
        """Return words, and for each run of Chinese its characters and pairs."""
        words: list[str] = []
        for run in _RUN.findall(input):
            if re.match(rf"[{_CJK}]", run):
                words += run
                words += [run[i : i + 2] for i in range(len(run) - 1)]
            else:
                words.append(run)
        return words


def visit_formula(self: Any, node: formula) -> None:
    """Write the MathML; wide ones scroll inside their own box."""
    element = node["mathml"]
    name = "formula" if node["block"] else ""
    if not node["block"] and len(node.astext()) > WIDE:
        name = "formula-wide"
    self.body.append(f'<span class="{name}">{element}</span>' if name else element)
    raise nodes.SkipNode


def depart_formula(self: Any, node: formula) -> None:
    """Nothing follows."""


def scrolling(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Wrap each table in a box that scrolls, so that a phone's page does not."""
    if app.builder.format != "html":
        return
    for table in list(doctree.findall(nodes.table)):
        box = nodes.container(classes=["scrolls"])
        table.replace_self(box)
        box += table


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is above."""
    app.add_node(formula, html=(visit_formula, depart_formula))
    app.add_transform(Formulas)
    app.add_transform(Callouts)
    app.add_transform(Pictures)
    app.add_transform(Prints)
    app.add_search_language(CourseSearch)
    app.connect("doctree-resolved", scrolling)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
