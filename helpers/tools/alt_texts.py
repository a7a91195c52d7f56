"""What computed pictures show, in words, for who cannot see them.

The author writes it into the metadata of the code cell, one text a picture:
``"alt": ["Two curves; the pretrained one stays above."]``. `embed` copies it to where
nbconvert and Jupyter's viewers look for it, the metadata of the output.
"""

from __future__ import annotations

from collections.abc import Iterator

from nbformat import NotebookNode

__all__ = ["LEAST_ALT", "embed", "findings"]

LEAST_ALT = 20  # characters
_PNG = "image/png"


def embed(notebook: NotebookNode) -> bool:
    """Copy the cells' texts to their pictures; True if something changed."""
    changed = False
    for cell, pictures in _with_pictures(notebook):
        texts = list(cell.metadata.get("alt", []))
        for number, output in enumerate(pictures):
            wanted = texts[number] if number < len(texts) else None
            about = output.metadata.get(_PNG, {})
            if about.get("alt") == wanted:
                continue
            changed = True
            about = {k: v for k, v in about.items() if k != "alt"}
            if wanted is not None:
                about["alt"] = wanted
            output.metadata[_PNG] = NotebookNode(about)
    return changed


def findings(notebook: NotebookNode) -> Iterator[str]:
    """What is wrong with the texts of a notebook, one sentence each."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        pictures, texts = _pictures(cell), cell.metadata.get("alt", [])
        if isinstance(texts, str) or len(texts) != len(pictures):
            yield (
                f"code cell {count}: {len(pictures)} pictures, and metadata.alt is "
                f"{texts!r}: make it a list with what each of them shows"
            )
            continue
        if any(len(text) < LEAST_ALT for text in texts):
            yield (
                f"code cell {count}: say in metadata.alt what the picture shows, in at "
                f"least {LEAST_ALT} characters"
            )
        if [_alt(output) for output in pictures] != list(texts):
            yield (
                f"code cell {count}: the picture does not carry the text of "
                "metadata.alt: run `python -m helpers drawings`"
            )


def _with_pictures(
    notebook: NotebookNode,
) -> Iterator[tuple[NotebookNode, list[NotebookNode]]]:
    for cell in notebook.cells:
        if cell.cell_type == "code" and (pictures := _pictures(cell)):
            yield cell, pictures


def _pictures(cell: NotebookNode) -> list[NotebookNode]:
    return [output for output in cell.outputs if _PNG in output.get("data", {})]


def _alt(output: NotebookNode) -> str | None:
    text: str | None = output.metadata.get(_PNG, {}).get("alt")
    return text
