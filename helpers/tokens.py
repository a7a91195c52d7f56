"""Texts as batches of tokens, with little padding: similar lengths go together.

A batch is as long as its longest text, and padding costs as much as words do. On mixed
reviews a random order pads away more than half of the work (`benchmarks/tokens.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from helpers.datasets import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Tokens", "padding_share", "token_loader"]


class Tokens(Dataset[dict[str, Any]]):
    """Tokenised texts: ``data[i]`` is {"input_ids", "attention_mask", …, "labels"}.

    Attributes:
        lengths: number of tokens of every text, special ones included.
    """

    def __init__(
        self, data: Texts, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        self._columns = dict(
            tokenizer(list(data.texts), truncation=True, max_length=max_length)
        )
        self._columns["labels"] = data.labels.tolist()
        self.lengths = [len(ids) for ids in self._columns["input_ids"]]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self._columns.items()}


def token_loader(
    data: Texts,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int = 32,
    shuffle: bool = False,
    max_length: int = 128,
) -> DataLoader:
    """A DataLoader of dict batches for ``fit``, ``evaluate`` or ``cache_features``.

    Each batch is padded to its own longest text, and texts of similar length share a
    batch: sorted by length when reading, and when shuffling by transformers'
    ``LengthGroupedSampler`` (a random order, sorted within fifty batches). Taught in
    notebook 11.

    Args:
        data: n labelled texts; ``cache_features`` and ``predict`` return their rows in
            this order, whatever the order of reading.
        tokenizer: of the model that reads the batches.
        max_length: tokens a text, special ones included; longer ones are cut.

    Raises:
        ValueError: there are no texts, or ``max_length`` is beyond the model's.
    """
    from transformers import DataCollatorWithPadding
    from transformers.trainer_pt_utils import LengthGroupedSampler

    if not len(data):
        raise ValueError("data holds no texts: give at least one.")
    if not 3 <= max_length <= tokenizer.model_max_length:
        raise ValueError(
            f"max_length={max_length}: choose from 3 to the model's own limit of "
            f"{tokenizer.model_max_length} tokens."
        )
    tokens = Tokens(data, tokenizer, max_length)
    lengths = tokens.lengths
    # Longest first: a batch too large for the memory fails at once, not at the end.
    sampler: Any = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    if shuffle:
        draws = torch.Generator()
        sampler = LengthGroupedSampler(batch_size, lengths=lengths, generator=draws)
    collate = DataCollatorWithPadding(tokenizer)
    return DataLoader(tokens, batch_size, sampler=sampler, collate_fn=collate)


def padding_share(loader: DataLoader) -> float:
    """The share of a loader's tokens that are padding, from 0 to 1."""
    real = total = 0
    for batch in loader:
        real += int(batch["attention_mask"].sum())
        total += batch["attention_mask"].numel()
    return 1 - real / total
