"""What a learner needs beside an error: its place in the data, the likely fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["explained", "listed"]

# Words of a library's message, and what most often helps.
_FIXES = {
    r"probabilities, got": "the labels look one-hot: use y.argmax(1) for class "
    "indices, or y.float() for the classes' probabilities.",
    r"multi-target": "labels must have the shape (n,): use y.squeeze(1) for a column, "
    "y.argmax(1) for one-hot labels.",
    r"'indices' to have": "an Embedding takes whole numbers: give it x.long().",
    r"got Float and|Input type \(float\)": "the weights are not in float32 as the data "
    "are: use model.float().",
    r"same dtype|type .* should be the same|expected scalar type": "the layers compute "
    "in float32: let the dataset give x.float() (for an Embedding, x.long()).",
    r"index out of range in self": "an id is beyond the rows of an Embedding: take the "
    "tokenizer that belongs to this model.",
    r"cannot be multiplied|to have \d+ channels|normalized_shape": "compare the "
    "shapes with what the model's first layer takes: in_features, or channels.",
    r"equal size": "the examples of a batch differ in shape: resize or pad them in the "
    "dataset, or give the DataLoader a collate_fn that pads.",
}


@contextmanager
def explained(place: object, batch: Any = None) -> Iterator[None]:
    """Add a note to any error within: its place, the shapes and the likely fix.

    Args:
        place: what is read or used, such as a ``Shard``, by its ``str``.
        batch: the content, as far as it is known.
    """
    try:
        yield
    except Exception as error:
        note = f"In {place}"
        note += f": {_contents(batch)}." if batch is not None else "."
        fixes = (fix for words, fix in _FIXES.items() if re.search(words, str(error)))
        if fix := next(fixes, None):
            note += f"\nLikely fix: {fix}"
        error.add_note(note)
        raise


def _contents(batch: Any) -> str:
    """The dtype and shape of every part: "float32 (8, 4), int64 (8,)"."""
    if hasattr(batch, "items"):
        return ", ".join(f"{k} {_contents(value)}" for k, value in batch.items())
    if isinstance(batch, (tuple, list)):
        return ", ".join(map(_contents, batch[:8]))
    if isinstance(batch, torch.Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
    return type(batch).__name__


def listed(indices: Iterable[int]) -> str:
    """The first few examples by their number: "examples 8, 9, 10, …"."""
    numbers = list(indices)
    more = ", …" if len(numbers) > 8 else ""
    return f"examples {', '.join(map(str, numbers[:8]))}{more}"
