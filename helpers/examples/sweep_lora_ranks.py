"""Fine-tune half of MiniLM with LoRA of many ranks: a table. See notebook 17.

    python -m helpers.examples.sweep_lora_ranks

The upper three of the six layers learn; what the lower three say of each sentence is
computed once. Rank 0 trains the head alone, rank -1 all weights of the upper half. Each
rank tries three learning rates with the first seed, and further ones as long as the
best of the validation sentences lies at an end of those tried; only with that best rate
are the test sentences read. It takes about twenty minutes with one thread. Interrupt it
when you like: the same command continues after the last finished row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModel, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.trainer_pt_utils import LengthGroupedSampler

import helpers
from helpers.datasets import movie_reviews
from helpers.examples import records

__all__ = ["EVERYTHING", "HEAD", "UpperHalf", "classifier", "half_read", "main"]
__all__ += ["sweep", "train"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TARGET = records.RUNS / "17_lora_ranks.csv"
LOWER = 3  # layers that stand still
HEAD, EVERYTHING = 0, -1
RANKS = (HEAD, 1, 2, 4, 8, 16, 64, EVERYTHING)
SEEDS = (0, 1, 2)
RATES = {HEAD: (3e-3, 1e-2, 3e-2), EVERYTHING: (1e-4, 2e-4, 4e-4)}
LORA_RATES = (1e-3, 2e-3, 4e-3)
COLUMNS = ("rank", "lr", "seed", "trainable", "seconds", "valid", "test")


class UpperHalf(nn.Module):
    """The upper layers of MiniLM and a head on the mean of their token vectors."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        encoder = AutoModel.from_pretrained(MINILM)
        self.layers = encoder.encoder.layer[LOWER:]
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(encoder.config.hidden_size, classes)

    def forward(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Scores (n, classes) from what the lower layers said, (n, length, 384)."""
        mask = attention_mask.bool()
        for layer in self.layers:
            hidden = layer(hidden, mask[:, None, None, :])
        real = mask.unsqueeze(2).to(hidden.dtype)
        vectors = (hidden * real).sum(dim=1) / real.sum(dim=1)
        scores, loss = self.classifier(self.dropout(vectors)), None
        if labels is not None:
            loss = nn.functional.cross_entropy(scores, labels)
        return SequenceClassifierOutput(loss, scores)


class HalfRead(Dataset[dict[str, Any]]):
    """Sentences as the lower layers leave them: (length, 384) each, and a label."""

    def __init__(self, split: str, limit: int | None = None) -> None:
        data = movie_reviews(split, limit=limit)
        tokenizer = AutoTokenizer.from_pretrained(MINILM)
        encoder = AutoModel.from_pretrained(MINILM).eval()
        encoder.encoder.layer = encoder.encoder.layer[:LOWER]
        self.labels = data.labels
        self.hidden: list[torch.Tensor] = [torch.empty(0)] * len(data)
        ids = tokenizer(list(data.texts), truncation=True, max_length=128)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for first in range(0, len(order), 64):
            rows = order[first : first + 64]
            batch = tokenizer.pad(
                {"input_ids": [ids[i] for i in rows]}, return_tensors="pt"
            )
            with torch.inference_mode():
                outputs = encoder(**batch).last_hidden_state
            for row, output in zip(rows, outputs, strict=True):
                self.hidden[row] = output[: len(ids[row])].clone()

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"hidden": self.hidden[index], "labels": self.labels[index]}


def _collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    hidden = [row["hidden"] for row in rows]
    return {
        "hidden": pad_sequence(hidden, batch_first=True),
        "attention_mask": pad_sequence([h.new_ones(len(h)) for h in hidden], True),
        "labels": torch.stack([row["labels"] for row in rows]),
    }


def half_read(split: str, limit: int | None = None) -> DataLoader:
    """Batches of 32 film review sentences for :class:`UpperHalf`, of like length.

    Args:
        split: of ``movie_reviews``; "train" is shuffled.
        limit: keep the first so many sentences.
    """
    data = HalfRead(split, limit)
    lengths = [len(hidden) for hidden in data.hidden]
    sampler: Any = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    if split == "train":
        draws = torch.Generator()
        sampler = LengthGroupedSampler(32, lengths=lengths, generator=draws)
    return DataLoader(data, 32, sampler=sampler, collate_fn=_collate)


def classifier(rank: int, seed: int) -> nn.Module:
    """The upper half with a new head: LoRA of this rank, or HEAD, or EVERYTHING learns.

    All six matrices of each layer are adapted, with alpha = 2 r as in notebook 11.

    Raises:
        ValueError: ``rank`` is below -1.
    """
    if rank < EVERYTHING:
        raise ValueError(f"rank={rank}: give 1 or more, 0 (head) or -1 (everything).")
    torch.manual_seed(seed)  # the head is born random
    model = UpperHalf()
    if rank == HEAD:
        helpers.freeze(model.layers)
    if rank <= HEAD:
        return model
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["query", "key", "value", "dense"],
        modules_to_save=["classifier"],
    )
    return get_peft_model(model, config)


def _warm_up(
    optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    return transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)


def train(rank: int, lr: float, seed: int, loader: DataLoader) -> nn.Module:
    """One pass over ``loader``, the rate climbing for a tenth of it, then falling."""
    model = classifier(rank, seed)
    helpers.fit(model, loader, lr=lr, scheduler=_warm_up, seed=seed, progress=False)
    return model


def sweep(
    target: Path,
    *,
    ranks: Sequence[int] = RANKS,
    seeds: Sequence[int] = SEEDS,
    limit: int | None = None,
) -> None:
    """Fill ``target`` row by row; rows that are there already are not run again.

    Args:
        ranks, seeds: what to try; the first seed chooses each rank's learning rate.
        limit: sentences of each split, 1,500 for training and all others by default.
    """
    transformers.logging.set_verbosity_error()
    loaders = {
        split: half_read(split, limit or (1500 if split == "train" else None))
        for split in ("train", "valid", "test")
    }
    rows = records.read(target)

    def run(rank: int, lr: float, seed: int, test: bool) -> float:
        """Validation accuracy, from the table or from a run; test if asked for."""
        for row in rows:
            done = (int(row["rank"]), float(row["lr"]), int(row["seed"]))
            if done == (rank, lr, seed) and (row["test"] or not test):
                return float(row["valid"])
        start = time.process_time()
        model = train(rank, lr, seed, loaders["train"])
        seconds = time.process_time() - start
        splits = ("valid", "test") if test else ("valid",)
        right = {s: helpers.evaluate(model, loaders[s])["accuracy"] for s in splits}
        new: dict[str, float] = {
            "rank": rank,
            "lr": lr,
            "seed": seed,
            "seconds": round(seconds, 1),
        }
        new["trainable"] = helpers.count_parameters(model)[0]
        new |= {s: round(a, 4) for s, a in right.items()}
        rows.append({name: str(new.get(name, "")) for name in COLUMNS})
        _write(target, rows, limit)
        print(", ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
        return right["valid"]

    for rank in ranks:
        rates = RATES.get(rank, LORA_RATES)
        found = {lr: run(rank, lr, seeds[0], test=False) for lr in rates}
        while (best := max(found, key=found.__getitem__)) in (min(found), max(found)):
            beyond = 2 * best if best == max(found) else best / 2
            found[beyond] = run(rank, beyond, seeds[0], test=False)
        for seed in seeds:
            run(rank, best, seed, test=True)


def _write(target: Path, rows: list[dict[str, str]], limit: int | None) -> None:
    total = sum(float(row["seconds"]) for row in rows)
    rows = sorted(rows, key=lambda row: int(row["rank"]) % 1000)  # -1 comes last
    head = [
        "LoRA of several ranks on the upper half of MiniLM: one pass over 1,500 film",
        "review sentences. rank 0: head alone; rank -1: all its weights. valid, test:",
        "accuracy; test only with the rate chosen on valid with the first seed, from",
        "a grid that grew until its best was no end of it. seeds: 0, 1, 2.",
        "seconds: of the processor, for training.",
        "command: python -m helpers.examples.sweep_lora_ranks",
        f"machine: {records.machine()}; trained {total:.0f} s in all",
    ]
    if limit:
        head.append(f"limit: {limit} sentences a split, a trial run")
    records.write(target, head, COLUMNS, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep, or continue it."""
    return records.command(lambda: sweep(TARGET), __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
