"""``fit`` on transformers models and LoRA: what learns, and what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

import helpers
from helpers.datasets import Texts
from helpers.loop.checkpoints import FILE
from helpers.tokens import token_loader

NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def loader():
    words = ["a good film", "a bad film", "good , very good", "bad and very long"] * 8
    texts = Texts(words, torch.tensor([1, 0, 1, 0] * 8), ["negative", "positive"])
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    return token_loader(texts, tokenizer, batch_size=8, shuffle=True)


def small_bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
        )
    )


def with_lora() -> torch.nn.Module:
    settings = LoraConfig(
        task_type="SEQ_CLS", r=4, target_modules=["query", "value"], lora_dropout=0.1
    )
    return get_peft_model(small_bert(), settings)


def test_transformers_model_learns(loader) -> None:
    model = small_bert()
    history = helpers.fit(model, loader, loader, epochs=8, lr=1e-3, progress=False)
    assert history.rows[-1]["valid_accuracy"] == 1


def test_lora_moves_only_adapters_and_head(loader) -> None:
    model = with_lora()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    helpers.fit(model, loader, epochs=2, lr=1e-2, progress=False)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "classifier" in name for name in moved)


def test_checkpoint_holds_only_what_was_trained(loader, tmp_path: Path) -> None:
    model = with_lora()
    helpers.fit(model, loader, lr=1e-2, folder=tmp_path, progress=False)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    with safe_open(tmp_path / FILE, framework="pt") as file:
        names = {k.removeprefix("model/") for k in file.keys() if k[:6] == "model/"}  # noqa: SIM118
    assert trained <= names
    assert not frozen & names
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    assert (tmp_path / FILE).stat().st_size < whole / 10


def test_lora_resumes_to_equal_weights(loader, tmp_path: Path) -> None:
    straight = with_lora()
    helpers.fit(straight, loader, epochs=4, lr=1e-2, progress=False)
    for epochs in (2, 4):
        resumed = with_lora()
        helpers.fit(
            resumed, loader, epochs=epochs, lr=1e-2, folder=tmp_path, progress=False
        )
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_base_model_of_another_run_is_refused(loader, tmp_path: Path) -> None:
    helpers.fit(with_lora(), loader, lr=1e-2, folder=tmp_path, progress=False)
    other = with_lora()
    with torch.no_grad():
        other.base_model.model.bert.embeddings.word_embeddings.weight[0] += 1
    with pytest.raises(ValueError, match="frozen weights"):
        helpers.fit(other, loader, epochs=2, lr=1e-2, folder=tmp_path, progress=False)
