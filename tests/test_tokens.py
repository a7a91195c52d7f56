"""Texts as batches: little padding, every text once, rows in the data's order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding

import helpers
from helpers.datasets import Texts
from helpers.tokens import Tokens, padding_share, token_loader

NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(NAME)


@pytest.fixture
def texts() -> Texts:
    """Sixty texts of 1 to 60 words in no order; the label tells the length."""
    lengths = [1 + (37 * n) % 60 for n in range(60)]
    words = ["film " * length for length in lengths]
    return Texts(words, torch.tensor(lengths), ["a class"])


class Counter(nn.Module):
    """Stands in for an encoder: a text's vector is its number of real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, input_ids, attention_mask, **rest):
        return attention_mask.sum(dim=1, keepdim=True) * self.scale


def count(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch)


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_come_in_the_datas_order(tokenizer, texts, shuffle) -> None:
    loader = token_loader(texts, tokenizer, batch_size=8, shuffle=shuffle)
    features = helpers.cache_features(Counter(), loader, embed=count)
    assert torch.equal(features.y, texts.labels)
    # [CLS] and [SEP] are tokens too.
    assert torch.equal(features.x[:, 0], texts.labels + 2.0)


def test_grouping_saves_most_of_the_padding(tokenizer, texts) -> None:
    data = Tokens(texts, tokenizer, 128)
    collate = DataCollatorWithPadding(tokenizer)
    naive = padding_share(DataLoader(data, 8, collate_fn=collate))
    assert naive > 0.3
    grouped = token_loader(texts, tokenizer, batch_size=8)
    shuffled = token_loader(texts, tokenizer, batch_size=8, shuffle=True)
    assert padding_share(grouped) < naive / 3
    assert padding_share(shuffled) < naive


def test_shuffled_order_follows_the_seed(tokenizer, texts) -> None:
    loader = token_loader(texts, tokenizer, batch_size=8, shuffle=True)

    def order(seed: int) -> list[int]:
        seen: list[int] = []
        model = nn.Linear(1, 2)

        def step(model: nn.Module, batch: dict[str, torch.Tensor]):
            seen.extend(batch["labels"].tolist())
            scores = model(batch["attention_mask"].sum(dim=1, keepdim=True).float())
            return scores.square().mean(), scores

        helpers.fit(model, loader, step=step, seed=seed, progress=False)
        return seen

    first = order(0)
    assert first == order(0)
    assert first != order(1)
    assert sorted(first) == sorted(texts.labels.tolist())


def test_vectors_equal_those_of_the_naive_order(tokenizer) -> None:
    model = AutoModel.from_pretrained(NAME)
    words = ["a film", "a rather long and tiring film about nothing " * 3, "good"] * 4
    texts = Texts(words, torch.arange(12), [])
    grouped = helpers.cache_features(
        model, token_loader(texts, tokenizer, batch_size=4), embed=helpers.mean_pool
    )
    collate = DataCollatorWithPadding(tokenizer)
    naive = DataLoader(Tokens(texts, tokenizer, 128), 4, collate_fn=collate)
    plain = helpers.cache_features(model, naive, embed=helpers.mean_pool)
    assert torch.equal(grouped.y, plain.y)
    torch.testing.assert_close(grouped.x, plain.x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("max_length", [0, 513])
def test_impossible_length_is_refused(tokenizer, texts, max_length) -> None:
    with pytest.raises(ValueError, match=f"max_length={max_length}.*3 to .*512"):
        token_loader(texts, tokenizer, max_length=max_length)


def test_no_texts_are_refused(tokenizer) -> None:
    with pytest.raises(ValueError, match="holds no texts"):
        token_loader(Texts([], torch.tensor([]), []), tokenizer)
