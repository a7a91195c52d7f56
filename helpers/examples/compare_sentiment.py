"""Tell praise from blame in four ways, with several seeds: a table. See notebook 11.

    python -m helpers.examples.compare_sentiment

MiniLM learns from 750 film review sentences in one pass: with a head on the mean of the
token vectors ("full"), with the library's head on [CLS] ("CLS"), and with LoRA. Each
tries three learning rates with the first seed, and further ones as long as the lowest
validation loss lies at an end of those tried; only with that best rate are the test
sentences read. With the rate of "full", three draws of 100 sentences follow. Last,
SmolLM2 is asked without any label: its prompt is chosen on validation sentences. It
takes about ten minutes with one thread. Interrupt it when you like: the same command
continues after the last finished row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import BertForSequenceClassification as BertClassifier
from transformers.modeling_outputs import SequenceClassifierOutput

import helpers
from helpers.datasets import Texts, movie_reviews
from helpers.examples import records

__all__ = ["LABELS", "PROMPTS", "MeanHead", "adapted", "classifier", "compare"]
__all__ += ["leaning", "main", "read", "sample", "warm_up"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
TARGET = records.RUNS / "11_sentiment.csv"
LABELS = {0: "negative", 1: "positive"}
SEEDS = (0, 1, 2)
RATES = {
    "full": (2e-4, 4e-4, 8e-4),
    "LoRA": (2e-3, 4e-3, 8e-3),
    "CLS": (2e-4, 4e-4, 8e-4),
}
PROMPTS = (
    "Review: {}\nSentiment:",
    "Review: {}\nThe reviewer's opinion of the film is",
)
TRAINED, TESTED, ASKED = 750, 1000, 512  # sentences
COLUMNS: tuple[str, ...] = (
    "method",
    "labels",
    "setting",
    "seed",
    "seconds",
    "valid_loss",
    "valid",
)
COLUMNS += ("test", "right")


class MeanHead(BertClassifier):
    """Scores from the mean over real tokens, as (n, 2)."""

    accepts_loss_kwargs = False  # so that the library's Trainer passes none

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert.pooler = None

    def forward(
        self, labels: torch.Tensor | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        vectors = self.dropout(helpers.mean_pool(self.bert, inputs))
        scores, loss = self.classifier(vectors), None
        if labels is not None:
            loss = nn.functional.cross_entropy(scores, labels)
        return SequenceClassifierOutput(loss, scores)


def classifier(seed: int = 0, kind: type[BertClassifier] = MeanHead) -> Any:
    """MiniLM with a head that is born random."""
    torch.manual_seed(seed)
    return kind.from_pretrained(MINILM, id2label=LABELS)


def adapted(model: nn.Module) -> Any:
    """The same with LoRA on all six matrices of each layer; the head learns, too."""
    parts = ["query", "key", "value", "dense"]
    config = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=parts)
    return get_peft_model(model, config)


def warm_up(
    optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The rate climbs during a tenth of the steps, and then falls to zero."""
    return transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)


def leaning(
    lm: Any, tokenizer: Any, texts: Sequence[str], prompt: str = PROMPTS[0]
) -> torch.Tensor:
    """How much a language model prefers " positive" to " negative" after the prompt.

    Args:
        lm: a causal model of transformers, and its tokenizer.
        texts: n texts, each of which takes the place of "{}" in ``prompt``.

    Returns:
        (n,) differences of two logits.
    """
    bad, good = (tokenizer(f" {word}")["input_ids"][0] for word in LABELS.values())
    margins = torch.empty(len(texts))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for first in range(0, len(order), 32):
        rows = order[first : first + 32]
        batch = tokenizer(
            [prompt.format(texts[i]) for i in rows],
            return_tensors="pt",
            padding=True,
            padding_side="left",  # so that the last position is the prompt's end
        )
        with torch.inference_mode():
            logits = lm(**batch, logits_to_keep=1).logits[:, -1]
        margins[rows] = logits[:, good] - logits[:, bad]
    return margins


def sample(split: str, size: int) -> Texts:
    """Sentences drawn at random, always the same: the first ones are no fair sample.

    A larger sample begins with the smaller one.
    """
    data = movie_reviews(split)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    rows = order[:size].tolist()
    return Texts([data.texts[i] for i in rows], data.labels[rows], data.names)


def read(source: Path = TARGET) -> pd.DataFrame:
    """The table; ``right`` holds one boolean a test sentence, or None.

    The sentences are ``sample("test", TESTED)``; the methods "asked" and "asked,
    median" answer the first ``ASKED`` of them.
    """
    table = pd.read_csv(source, comment="#", dtype={"right": str})
    right = [None if pd.isna(text) else _unpacked(text) for text in table["right"]]
    table["right"] = pd.Series(right, dtype=object)
    return table


def _packed(right: torch.Tensor) -> str:
    return np.packbits(right.numpy()).tobytes().hex()


def _unpacked(text: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).astype(bool)


class _Table:
    """Rows of a file; each is known by its method, labels, setting and seed."""

    def __init__(self, target: Path, limit: int | None) -> None:
        self.target, self.limit = target, limit
        self.rows = records.read(target)

    def find(self, *key: object) -> dict[str, str]:
        """The row of this key, empty if there is none."""
        wanted = tuple(map(str, key))
        rows = (row for row in self.rows if tuple(row.values())[:4] == wanted)
        return next(rows, {})

    def put(self, *key: object, **values: object) -> None:
        """Write the row of this key, new or with further columns."""
        row = self.find(*key)
        if not row:
            row = dict.fromkeys(COLUMNS, "")
            row |= dict(zip(COLUMNS[: len(key)], map(str, key), strict=True))
            self.rows.append(row)
        row |= {name: str(value) for name, value in values.items()}
        print(", ".join(f"{k} {v}" for k, v in row.items() if k != "right"), flush=True)
        total = sum(float(row["seconds"]) for row in self.rows)
        head = [
            "Praise or blame in film review sentences. full, CLS, LoRA: MiniLM, one",
            "pass over 750 sentences; full with 100: five passes over the sentences",
            "100 k to 100 k + 99, k the seed. asked: SmolLM2 without labels, cut at 0",
            "or at the median of 100 validation sentences. setting: learning rate, or",
            "number of the prompt, chosen on validation (530 or 100) with the first",
            "seed; only then the test is read: 1,000 sentences drawn at random, of",
            "which asked reads 512. right: for each of them a bit, as hex digits.",
            "seeds: 0, 1, 2. seconds: of the processor, for training or asking.",
            "command: python -m helpers.examples.compare_sentiment",
            f"machine: {records.machine()}; {total:.0f} s in all",
        ]
        if self.limit:
            head.append(f"limit: {self.limit} sentences a split, a trial run")
        records.write(self.target, head, COLUMNS, self.rows)


class _Trainer:
    """Trains and judges MiniLM on one set of splits."""

    def __init__(self, limit: int | None) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(MINILM)
        self.pool = movie_reviews("train", limit=TRAINED)
        self.valid = sample("valid", limit or 530)
        self.test = sample("test", limit or TESTED)

    def __call__(
        self, method: str, data: Texts, lr: float, seed: int, epochs: int = 1
    ) -> tuple[nn.Module, float]:
        """A trained model, and the processor's seconds."""
        size = 16 if epochs == 1 else 10
        loader = helpers.token_loader(
            data, self.tokenizer, batch_size=size, shuffle=True
        )
        model = classifier(seed, BertClassifier if method == "CLS" else MeanHead)
        model = adapted(model) if method == "LoRA" else model
        start = time.process_time()
        options: dict[str, Any] = {"scheduler": warm_up, "progress": False}
        helpers.fit(model, loader, epochs=epochs, lr=lr, seed=seed, **options)
        return model, round(time.process_time() - start, 1)

    def judged(self, model: nn.Module) -> dict[str, object]:
        """Loss and accuracy on the validation sentences."""
        scores = self.scores(model, self.valid)
        right = (scores.argmax(dim=1) == self.valid.labels).double().mean().item()
        loss = nn.functional.cross_entropy(scores, self.valid.labels).item()
        return {"valid_loss": round(loss, 4), "valid": round(right, 4)}

    def part(self, first: int, size: int) -> Texts:
        """Training sentences ``first`` to ``first + size - 1``."""
        rows = slice(first, first + size)
        return Texts(self.pool.texts[rows], self.pool.labels[rows])

    def scores(self, model: nn.Module, data: Texts) -> torch.Tensor:
        loader = helpers.token_loader(data, self.tokenizer)
        return helpers.predict(model, loader)

    def tested(self, model: nn.Module) -> dict[str, object]:
        right = self.scores(model, self.test).argmax(dim=1) == self.test.labels
        return _columns(right)


def _columns(right: torch.Tensor) -> dict[str, object]:
    return {"test": round(right.double().mean().item(), 4), "right": _packed(right)}


def _fine_tune(
    table: _Table, trainer: _Trainer, method: str, data: Texts, seeds: Sequence[int]
) -> float:
    """Choose the rate with the first seed, then test it with all; the rate."""
    models: dict[tuple[float, int], nn.Module] = {}

    def valid_loss(lr: float, seed: int) -> float:
        key = (method, len(data), f"{lr:g}", seed)
        if not table.find(*key):
            model, seconds = trainer(method, data, lr, seed)
            table.put(*key, seconds=seconds, **trainer.judged(model))
            models[lr, seed] = model
        return float(table.find(*key)["valid_loss"])

    found = {lr: valid_loss(lr, seeds[0]) for lr in RATES[method]}
    while (best := min(found, key=found.__getitem__)) in (min(found), max(found)):
        beyond = 2 * best if best == max(found) else best / 2
        found[beyond] = valid_loss(beyond, seeds[0])
    for seed in seeds:
        key = (method, len(data), f"{best:g}", seed)
        valid_loss(best, seed)
        if not table.find(*key)["test"]:
            model = models.get((best, seed))
            if model is None:  # trained before an interruption
                model, _ = trainer(method, data, best, seed)
            table.put(*key, **trainer.tested(model))
        models = {}
    return best


def _ask(table: _Table, limit: int | None) -> None:
    """SmolLM2 without labels: choose the prompt, then open the test sentences."""
    lm = AutoModelForCausalLM.from_pretrained(SMOLLM)
    tokenizer = AutoTokenizer.from_pretrained(SMOLLM)

    def ask(split: str, size: int, prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
        data = sample(split, size)
        return leaning(lm, tokenizer, data.texts, PROMPTS[prompt]), data.labels

    found = {}
    for prompt in range(len(PROMPTS)):
        start = time.process_time()
        margins, labels = ask("valid", limit or 100, prompt)
        cuts = {"asked": 0.0, "asked, median": margins.median().item()}
        seconds = round((time.process_time() - start) / len(cuts), 1)
        for method, cut in cuts.items():
            valid = ((margins > cut).long() == labels).double().mean().item()
            found[method, prompt] = valid, cut
            values = {"seconds": seconds, "valid": round(valid, 4)}
            table.put(method, 0, prompt, 0, **values)
    best = max(range(len(PROMPTS)), key=lambda prompt: found["asked, median", prompt])
    margins, labels = ask("test", limit or ASKED, best)
    for method in ("asked", "asked, median"):
        right = (margins > found[method, best][1]).long() == labels
        table.put(method, 0, best, 0, **_columns(right))


def compare(
    target: Path, *, seeds: Sequence[int] = SEEDS, limit: int | None = None
) -> None:
    """Fill ``target`` row by row; rows that are there already are not made again.

    Args:
        seeds: the first one chooses each method's learning rate.
        limit: sentences of each split, 750, 530 and 1,000 by default.
    """
    transformers.logging.set_verbosity_error()
    table, trainer = _Table(target, limit), _Trainer(limit)
    data = trainer.part(0, limit or TRAINED)
    rates = {name: _fine_tune(table, trainer, name, data, seeds) for name in RATES}
    few = min(100, limit or 100)
    for seed in seeds:
        key = ("full", few, f"{rates['full']:g}", seed)
        if not table.find(*key):
            draw = trainer.part(few * seed, few)
            model, seconds = trainer("full", draw, rates["full"], seed, epochs=5)
            table.put(*key, seconds=seconds, **trainer.tested(model))
    if not any(row["method"] == "asked" and row["test"] for row in table.rows):
        _ask(table, limit)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison, or continue it."""
    return records.command(lambda: compare(TARGET), __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
