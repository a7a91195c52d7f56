"""What is text worth? One tiny BERT, seven corpora. Long run behind notebook 04.

    python -m helpers.examples.compare_corpora

Pretrains the same small network (64 wide, two layers, 1,000 word pieces, blocks of 16
tokens) for the same number of steps on a clean corpus, on its parts, and on damaged
copies of it, three seeds each. Along the way it is scored on held-out clean lines, on
the same lines with the words in random order, and on lines that it was trained on. The
rows are written to data/runs/04_corpora.csv. It takes about a quarter of an hour on one
core. Interrupt it when you like; the same command continues after the last finished
run.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

import helpers
from helpers.datasets import movie_reviews
from helpers.examples import pretrain_tiny_bert as recipe
from helpers.examples import records
from helpers.objectives import mask_tokens

__all__ = ["CORPORA", "Exam", "constant", "count_neighbours", "hide", "main"]
__all__ += [
    "examiner",
    "neighbour_scores",
    "pretrain",
    "replace_words",
    "score",
    "shuffle_words",
]
__all__ += ["shuffled_lines", "word_order"]

TARGET = records.RUNS / "04_corpora.csv"
LINES = 30_000  # of the whole corpus; the steps read it about once
VOCAB_SIZE = 1000
LENGTH, BATCH, LR = 16, 32, 2e-3
STEPS = 2500
ASKED = (0, 100, 250, 500, 750, 1000, 1250, *range(1500, STEPS + 1, 500))  # scored
SEEDS = (0, 1, 2)
HELD_OUT = 800  # blocks
CORPORA = ("clean", "30 % replaced", "1/32", "shuffled", "1/8", "1/128", "raw")

# Damage --------------------------------------------------------------------------

_TOKEN = re.compile(r"\w+|[^\w\s]")


Line = TypeVar("Line")


def shuffled_lines(lines: Sequence[Line], seed: int = 0) -> list[Line]:
    """The lines in a random order, always the same for a seed."""
    return random.Random(seed).sample(list(lines), len(lines))


def shuffle_words(lines: Sequence[str], seed: int = 0) -> list[str]:
    """The words and signs of each line in a random order."""
    chance = random.Random(seed)
    parts = [_TOKEN.findall(line) for line in lines]
    return [" ".join(chance.sample(words, len(words))) for words in parts]


def replace_words(lines: Sequence[str], share: float = 0.3, seed: int = 0) -> list[str]:
    """Each word with probability ``share`` becomes another one of the same corpus.

    The new word is drawn as often as it occurs, so frequencies stay as they are.
    """
    chance = random.Random(seed)
    parts = [_TOKEN.findall(line) for line in lines]
    bag = [word for words in parts for word in words]
    return [
        " ".join(chance.choice(bag) if chance.random() < share else w for w in words)
        for words in parts
    ]


def word_order(
    blocks: torch.Tensor, tokenizer: PreTrainedTokenizerFast, seed: int = 0
) -> torch.Tensor:
    """A random order of the words of each line, for ``blocks.gather(1, order)``.

    The pieces of a word stay together; [CLS] and [SEP] stay where they are.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    goes_on = torch.tensor([piece.startswith("##") for piece in pieces])[blocks]
    goes_on[:, 0] = False
    word = (~goes_on).cumsum(dim=1) - 1
    draws = torch.Generator().manual_seed(seed)
    key = torch.rand(blocks.shape, generator=draws).gather(1, word)
    ends = blocks == tokenizer.sep_token_id
    key[ends], key[blocks == tokenizer.cls_token_id] = 1.0, -1.0
    line = ends.cumsum(dim=1) - ends.long()
    return (key + 3 * line).argsort(dim=1, stable=True)


# Scores --------------------------------------------------------------------------


def hide(
    blocks: torch.Tensor, vocab_size: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide 15 % of the tokens, always the same for a seed: (inputs, labels)."""
    return mask_tokens(
        blocks,
        mask_id=recipe.SPECIAL.index("[MASK]"),
        vocab_size=vocab_size,
        special=blocks < len(recipe.SPECIAL),
        generator=torch.Generator().manual_seed(seed),
    )


def score(model: BertForMaskedLM, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean loss of the guesses at the hidden places, in nats."""
    chosen = labels != -100
    with torch.inference_mode():
        scores = model.cls(model.bert(inputs).last_hidden_state[chosen])
    return nn.functional.cross_entropy(scores, labels[chosen]).item()


Exam = Callable[[BertForMaskedLM], dict[str, float]]


def examiner(
    tokenizer: PreTrainedTokenizerFast, held_out: torch.Tensor, own: torch.Tensor
) -> Exam:
    """Score a model on held-out blocks, on the same with mixed words, on its own."""
    size = len(tokenizer)
    inputs, labels = hide(held_out, size)
    order = word_order(held_out, tokenizer)
    seen = hide(own[:: max(1, len(own) // 400)][:400], size)
    return lambda model: {
        "held_out": score(model, inputs, labels),
        "word_shuffled": score(model, inputs.gather(1, order), labels.gather(1, order)),
        "own": score(model, *seen),
    }


def count_neighbours(
    blocks: torch.Tensor, vocab_size: int, smooth: float = 100.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How likely each token is: anywhere, after, and before each other token.

    Returns:
        log p(x) (vocab_size,), log p(x | left) and log p(x | right), each
        (vocab_size, vocab_size) with a row a neighbour. ``smooth`` counts are added to
        each row, dealt out by p(x); a neighbour that never occurs says nothing.
    """
    flat = blocks[:, :-1] * vocab_size + blocks[:, 1:]
    pairs = torch.bincount(flat.flatten(), minlength=vocab_size**2).float()
    pairs = pairs.view(vocab_size, vocab_size)
    words = torch.bincount(blocks.flatten(), minlength=vocab_size).float()
    words[: len(recipe.SPECIAL)] = 0  # they are never asked
    p = (words + 1) / (words + 1).sum()
    tables = []
    for counts in (pairs, pairs.T):
        counts = counts.clone()
        counts[:, : len(recipe.SPECIAL)] = 0
        total = counts.sum(dim=1, keepdim=True)
        tables.append(((counts + smooth * p) / (total + smooth)).log())
    return p.log(), tables[0], tables[1]


def neighbour_scores(
    tables: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    inputs: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Log chances of each hidden token, from the token on its left and on its right.

    Naive Bayes: p(x | left) p(x | right) / p(x), made to sum to one.
    """
    p, after, before = tables
    padded = nn.functional.pad(inputs, (0, 1), value=recipe.SPECIAL.index("[PAD]"))
    rows, places = (labels != -100).nonzero(as_tuple=True)
    left, right = padded[rows, places - 1], padded[rows, places + 1]
    return (after[left] + before[right] - p).log_softmax(dim=1)


# Training ------------------------------------------------------------------------


def constant(optimizer: torch.optim.Optimizer, warm_up: int = 200) -> LambdaLR:
    """Up for 200 steps, then level: every step could be the last of a run."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))


def pretrain(
    blocks: torch.Tensor,
    vocab_size: int,
    exam: Exam,
    *,
    steps: int = STEPS,
    seed: int = 0,
    lr: float = LR,
    asked: Sequence[int] = ASKED,
) -> tuple[BertForMaskedLM, pd.DataFrame]:
    """Train a new network on random batches of ``blocks``; ``exam`` it as asked.

    Returns:
        The model, and a table with a row for each step of ``asked`` that was reached.
    """
    torch.manual_seed(seed)
    model = recipe.build_model(vocab_size, width=64)
    recipe.start_from_frequencies(model, blocks)
    optimizer = recipe.adamw(model, lr)
    scheduler = constant(optimizer)
    rows = []
    for step in range(steps + 1):
        if step in asked:
            rows.append({"step": step} | exam(model.eval()))
            model.train()
        if step == steps:
            break
        batch = blocks[torch.randint(len(blocks), (BATCH,))]
        loss, _ = recipe.masked_lm(model, [batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return model.eval(), pd.DataFrame(rows)


def _raw() -> list[str]:
    sources = ("imdb", "rotten-tomatoes")
    return recipe.sentences(t for s in sources for t in movie_reviews("train", s).texts)


def _lines(name: str, clean: Sequence[str]) -> list[str]:
    if name == "raw":
        return shuffled_lines(_raw())[: len(clean)]
    if name == "30 % replaced":
        return replace_words(clean)
    if name == "shuffled":
        return shuffle_words(clean)
    return list(clean)[: len(clean) // int(name.removeprefix("1/"))]


def main(target: Path = TARGET, steps: int = STEPS, lines: int = LINES) -> None:
    """Fill ``target`` run by run; runs that are there already are not run again."""
    helpers.setup(seed=0, needs=["movie-reviews"])
    everything = recipe.corpus("train")
    clean = shuffled_lines(everything)[:lines]
    seen = {recipe.plain(line) for line in everything}
    unseen = [x for x in recipe.corpus("valid") if recipe.plain(x) not in seen]
    tokenizer = recipe.train_tokenizer(clean, VOCAB_SIZE)
    size = len(tokenizer)
    some = shuffled_lines(unseen)[:2000]
    held_out = recipe.pack(tokenizer, some, LENGTH)[:HELD_OUT]

    table = pd.read_csv(target, comment="#") if target.exists() else pd.DataFrame()
    jobs = sorted(product(SEEDS, CORPORA), key=lambda job: job[1] == "raw")
    for seed, name in jobs:
        if len(table) and ((table.corpus == name) & (table.seed == seed)).any():
            continue
        text = clean if name == "clean" else _lines(name, clean)
        blocks = recipe.pack(tokenizer, text, LENGTH)
        exam = examiner(tokenizer, held_out, blocks)
        start = time.process_time()
        _, rows = pretrain(blocks, size, exam, steps=steps, seed=seed)
        rows["seconds"] = round(time.process_time() - start, 1)
        rows.insert(0, "seed", seed)
        rows.insert(0, "corpus", name)
        rows.insert(2, "blocks", len(blocks))
        table = pd.concat([table, rows], ignore_index=True)
        _write(target, table)
        print(rows.tail(1).to_string(index=False, header=False), flush=True)


def _write(target: Path, table: pd.DataFrame) -> None:
    total = table.groupby(["corpus", "seed"])["seconds"].first().sum()
    head = [
        "One small BERT (64 wide, 2 layers, 1,000 word pieces, blocks of 16 tokens)",
        "pretrained on several corpora, each for the same steps of 32 blocks with the",
        f"same rate ({LR}, level after 200 steps); blocks: size of the corpus.",
        "held_out: loss in nats on 800 clean held-out blocks, 15 % hidden;",
        "word_shuffled: on the same blocks with the words of a line in random order;",
        "own: on blocks of the run's own corpus. seeds: 0, 1, 2 (start, order, masks).",
        "seconds: of the processor, for one whole run.",
        "command: python -m helpers.examples.compare_corpora",
        f"machine: {records.machine()}; trained {total:.0f} s in all",
    ]
    records.write_frame(target, head, table)


if __name__ == "__main__":
    main()
