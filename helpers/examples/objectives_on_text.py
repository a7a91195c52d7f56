"""Pretrain two tiny language models on film reviews, at length: notebook 03's text.

    python -m helpers.examples.objectives_on_text

The notebook writes both objectives by hand and trains each for a few passes over 6,000
sentences. Here are its network, its tokenizer and its two questions, and the long run:
each objective from three seeds on some 75,000 of the same kind, then the probe, and the
same probe on SmolLM2 (causal) and MiniLM (masked, then contrastive), which others
pretrained for weeks. Ten minutes with one thread. The rows go to data/runs/03_text.csv.
Interrupt it when you like: the same command continues.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifierCV
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

import helpers
from helpers.datasets import Texts, movie_reviews
from helpers.examples import records
from helpers.examples.objectives_on_digits import SEEDS, Table, best, draw, probe
from helpers.features import Features
from helpers.objectives import mask_tokens

__all__ = ["LENGTH", "MASK", "WORDS", "Reader", "TinyLM", "causal", "encode"]
__all__ += ["main", "masked", "pool", "read", "run", "shuffle_half", "train_tokenizer"]

WORDS, LENGTH = 2000, 22  # of the vocabulary, of a sentence
PAD, UNKNOWN, MASK, BEGIN = range(4)
LABELS = 100  # of each class
POOL = 500  # sentences to draw them from
RATES = (1e-3, 3e-3)  # of the rivals
TASKS = ("sentiment", "word order")
BIG = {
    "SmolLM2": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "MiniLM": "sentence-transformers/all-MiniLM-L6-v2",
}


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token a word, for the most frequent words; 22 tokens a sentence."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = ["[PAD]", "[UNK]", "[MASK]", "[BOS]"]
    trainer = trainers.WordLevelTrainer(vocab_size=WORDS, special_tokens=names)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Iterable[str]) -> Tensor:
    """Every sentence as 22 numbers, (n, 22): its first words after [BOS]."""
    batch = tokenizer.encode_batch([f"[BOS] {text}" for text in texts])
    return torch.tensor([sentence.ids for sentence in batch])


class TinyLM(nn.Module):
    """A Transformer of two layers, 64 wide: tokens (n, 22) -> scores (n, 22, 2000)."""

    def __init__(self, causal: bool = False, width: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.places = nn.Parameter(0.1 * torch.randn(LENGTH, width))
        nn.init.normal_(self.words.weight, std=0.5)
        options: dict[str, Any] = {"dropout": 0.0, "batch_first": True}
        options["norm_first"] = True
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, **options)
        options = {"norm": nn.LayerNorm(width), "enable_nested_tensor": False}
        self.body = nn.TransformerEncoder(layer, 2, **options)
        self.scores = nn.Linear(width, WORDS)
        size = (LENGTH, LENGTH)
        ahead = torch.ones(size, dtype=torch.bool).triu(1) if causal else None
        self.register_buffer("ahead", ahead)

    def hidden(self, tokens: Tensor) -> Tensor:
        """The vector at every place, (n, 22, 64)."""
        x = self.words(tokens) + self.places
        return self.body(x, mask=self.ahead, src_key_padding_mask=tokens == PAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """The scores of all words at every place."""
        return self.scores(self.hidden(tokens))


def masked(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """Hide 20 % of the words as BERT does; score only those places."""
    tokens = batch[0]
    options: dict[str, Any] = {"mask_id": MASK, "vocab_size": WORDS}
    inputs, labels = mask_tokens(tokens, **options, special=tokens <= BEGIN, share=0.2)
    chosen = labels >= 0
    scores = model.scores(model.hidden(inputs)[chosen])
    return functional.cross_entropy(scores, labels[chosen]), scores


def causal(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """Every place says the next word; unknown words and padding do not count."""
    tokens = batch[0]
    targets = tokens[:, 1:]
    real = targets > BEGIN
    scores = model.scores(model.hidden(tokens)[:, :-1][real])
    return functional.cross_entropy(scores, targets[real]), scores


def shuffle_half(tokens: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Every second sentence with its words shuffled, and 1 where they were."""
    rng = torch.Generator().manual_seed(seed)
    key = torch.rand(tokens.shape, generator=rng)
    key[:, 0], key[tokens == PAD] = -1, 2  # [BOS] stays first, padding last
    shuffled = tokens.gather(1, key.argsort(dim=1))
    y = torch.arange(len(tokens)) % 2
    return torch.where(y[:, None] == 1, shuffled, tokens), y


def pool(model: Any, batch: Any) -> Tensor:
    """A sentence's features: the mean of its hidden vectors, padding left out."""
    real = (batch[0] > PAD).unsqueeze(2)
    return (model.hidden(batch[0]) * real).sum(dim=1) / real.sum(dim=1)


def read(model: TinyLM, tokens: Tensor, y: Tensor) -> Features:
    """The vectors of sentences, with their labels."""
    return helpers.cache_features(
        model, DataLoader(TensorDataset(tokens, y), 500), embed=pool
    )


class Reader(nn.Module):
    """A TinyLM with a classifier on its pooled vectors, to train as a whole."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.model, self.head = TinyLM(), nn.Linear(64, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (n, classes)."""
        return self.head(pool(self.model, [tokens]))


def more_text(limit: int) -> list[str]:
    """IMDb reviews in the spelling of the short ones, cut into sentences."""
    found = []
    for text in movie_reviews("train", "imdb", limit).texts:
        spaced = re.sub(r"([^\w\s'])", r" \1 ", text.lower())
        found += re.findall(r"[^.!?]{20,}[.!?]", spaced)
    return found


def train(
    step: Callable[..., Any],
    tokens: Tensor,
    *,
    ahead: bool = True,
    epochs: int = 1,
    seed: int = 0,
    lr: float = 3e-3,
) -> TinyLM:
    """A new TinyLM, pretrained; the rate climbs for a twentieth, then falls to zero.

    Args:
        ahead: may a place see the words after it? False for a causal model.
    """
    torch.manual_seed(seed)
    model = TinyLM(causal=not ahead)
    loader = DataLoader(TensorDataset(tokens), batch_size=64, shuffle=True)
    helpers.fit(
        model, loader, epochs=epochs, lr=lr, step=step, seed=seed, scheduler=_warm_up
    )
    return model


def newborn(seed: int) -> TinyLM:
    """A TinyLM that has learned nothing."""
    torch.manual_seed(seed)
    return TinyLM()


def _warm_up(optimizer: torch.optim.Optimizer, steps: int) -> Any:
    return get_linear_schedule_with_warmup(optimizer, steps // 20, steps)


def train_reader(
    tokens: Tensor, y: Tensor, *, epochs: int, seed: int, lr: float = 3e-3
) -> Reader:
    """The rival: the same network trained on labelled sentences alone."""
    helpers.seed_everything(seed)
    model, data = Reader(), TensorDataset(tokens, y)
    loader = DataLoader(data, batch_size=100, shuffle=True)
    helpers.fit(model, loader, epochs=epochs, lr=lr, seed=seed)
    return model


FIELDS = ["split", "task", "start", "setting", "seed", "loss", "accuracy", "seconds"]
HEAD = (
    "Two tiny language models pretrained on film reviews; notebook 03. split: valid",
    "(a setting tried) or test (chosen; 2,000 sentences, for SmolLM2 the first 400).",
    "task: sentiment, word order, or language (its loss on the test sentences). start:",
    "what was pretrained, or the rival. setting: one pass over so many sentences; of",
    "rivals what was chosen on valid. accuracy: of a linear probe on 100 labels a",
    "class of the first 500 sentences, for each draw of labels (fully supervised: all",
    "6,000, for each seed). seed: of pretraining. seconds: of the processor.",
    "command: python -m helpers.examples.objectives_on_text",
)
Part = tuple[Tensor, Tensor]


class LongRun:
    """What is measured, into one table; ``brisk`` makes it a trial run."""

    def __init__(self, folder: Path, brisk: bool) -> None:
        self.brisk = brisk
        self.table = Table(folder / "03_text.csv", FIELDS, HEAD)
        self.seeds = SEEDS[:1] if brisk else SEEDS
        self.draws = range(2 if brisk else 10)
        self.tries = range(100, 103)  # draws for choosing, used for nothing else
        limit = 400 if brisk else None
        self.reviews = {
            split: movie_reviews(split, limit=limit)
            for split in ("train", "valid", "test")
        }
        self.tokenizer = train_tokenizer(self.reviews["train"].texts)
        self.tokens = {
            split: encode(self.tokenizer, part.texts)
            for split, part in self.reviews.items()
        }

    def part(self, task: str, split: str, count: int | None = None) -> Part:
        """The first sentences of a split, with the labels of a task."""
        tokens = self.tokens[split][:count]
        if task == "word order":
            return shuffle_half(tokens, ("train", "valid", "test").index(split))
        return tokens, self.reviews[split].labels[:count]

    def language_models(self) -> None:
        """Both objectives at length, from each seed, and what learned nothing."""
        tokens = encode(self.tokenizer, more_text(20 if self.brisk else 6_000))
        for seed, step in itertools.product(self.seeds, (masked, causal)):
            key = {"split": "test", "start": f"{step.__name__} LM", "seed": str(seed)}
            key |= {"setting": f"sentences {len(tokens)}"}
            make = functools.partial(
                train, step, tokens, ahead=step is masked, seed=seed
            )
            self.judge(key, functools.cache(make), step)
        for seed in self.seeds:
            key = {"split": "test", "start": "random weights", "seed": str(seed)}
            self.judge(key, functools.partial(newborn, seed))

    def judge(
        self, key: dict[str, str], make: Callable[[], TinyLM], step: Any = None
    ) -> None:
        """The loss on unseen sentences, if there is an objective, and both probes."""
        if step is not None:
            self.table.row(key | {"task": "language"}, self.loss, make, step)
        for task in TASKS:
            self.table.row(key | {"task": task}, self.probed, make, task)

    def loss(self, make: Callable[[], TinyLM], step: Any) -> dict[str, Any]:
        """The objective's loss on the test sentences."""
        unseen = DataLoader(TensorDataset(self.tokens["test"]), 500)
        return {"loss": helpers.evaluate(make(), unseen, step=step, metrics={})["loss"]}

    def probed(self, make: Callable[[], TinyLM], task: str) -> dict[str, Any]:
        """The probe's accuracy for every draw."""
        seen = read(make(), *self.part(task, "train", POOL))
        unseen = read(make(), *self.part(task, "test"))
        return {"accuracy": probe(seen, unseen, LABELS, self.draws)}

    def rivals(self) -> None:
        """Networks that learn from labels alone; settings chosen on validation."""
        grids = {
            "from scratch": (LABELS, self.tries, self.draws, (8, 16, 32)),
            "fully supervised": (None, range(100, 101), self.seeds, (2, 4)),
        }
        for task, start in itertools.product(TASKS, grids):
            labels, tries, finals, lengths = grids[start]
            rows: list[dict[str, str]] = []
            settings = {}
            for epochs, lr in itertools.product(lengths, RATES):
                if self.brisk and rows:
                    break
                key = {"split": "valid", "task": task, "start": start}
                key |= {"setting": f"epochs {epochs} lr {lr:g}"}
                settings[key["setting"]] = how = {"epochs": epochs, "lr": lr}
                trial = (task, "valid", labels, tries, how)
                rows.append(self.table.row(key, self.learned, *trial))
            key = {"split": "test", "task": task, "start": start}
            final = (task, "test", labels, finals, settings[best(rows)])
            self.table.row(key | {"setting": best(rows)}, self.learned, *final)

    def learned(
        self, task: str, split: str, labels: int | None, draws: Iterable[int], how: Any
    ) -> dict[str, Any]:
        """Accuracies of networks trained on draws of labels, or on all (None)."""
        x, y = self.part(task, "train", POOL if labels else None)
        unseen = DataLoader(TensorDataset(*self.part(task, split)), 500)
        found = []
        for seed in draws:
            few = draw(y, labels, seed) if labels else slice(None)
            model = train_reader(x[few], y[few], seed=seed, **how)
            found.append(helpers.evaluate(model, unseen)["accuracy"])
        return {"accuracy": found}

    def count_words(self) -> dict[str, Any]:
        """TF-IDF, whose table of words has seen all 6,000 sentences without labels."""
        words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        words.fit(self.reviews["train"].texts)
        x, x_test = (
            words.transform(self.reviews[split].texts).toarray()
            for split in ("train", "test")
        )
        y, found = self.reviews["train"].labels[:POOL], []
        for seed in self.draws:
            few = draw(y, LABELS, seed)
            head = RidgeClassifierCV(alphas=np.logspace(-2, 2, 9)).fit(x[few], y[few])
            found.append(head.score(x_test, self.reviews["test"].labels))
        return {"accuracy": found}

    def read_big(self, name: str, task: str) -> dict[str, Any]:
        """The same probe on the mean of a big model's last vectors, its own tokens."""
        tokenizer = AutoTokenizer.from_pretrained(BIG[name])
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        model, parts = AutoModel.from_pretrained(BIG[name]), []
        counts = {"train": POOL, "test": 400 if name == "SmolLM2" else None}
        for number, (split, count) in enumerate(counts.items()):
            data = self.reviews[split]
            cut = [text.split()[: LENGTH - 1] for text in data.texts[:count]]
            y = data.labels[:count]
            if task == "word order":
                rng, y = np.random.default_rng(number), torch.arange(len(cut)) % 2
                cut = [
                    list(rng.permutation(w)) if i % 2 else w for i, w in enumerate(cut)
                ]
            texts = Texts([" ".join(words) for words in cut], y)
            loader = helpers.token_loader(texts, tokenizer)
            parts.append(helpers.cache_features(model, loader, embed=helpers.mean_pool))
        return {"accuracy": probe(parts[0], parts[1], LABELS, self.draws)}

    def big(self, name: str) -> None:
        """What others pretrained."""
        for task in TASKS:
            key = {"split": "test", "task": task, "start": name}
            self.table.row(key, self.read_big, name, task)


def run(folder: Path = records.RUNS, brisk: bool = False) -> None:
    """Measure what is missing in 03_text.csv."""
    torch.set_num_threads(1)
    long = LongRun(folder, brisk)
    long.rivals()
    key = {"split": "test", "task": "sentiment", "start": "TF-IDF"}
    long.table.row(key, long.count_words)
    long.language_models()
    if not brisk:
        long.big("MiniLM")
        long.big("SmolLM2")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all of it, or continue."""
    return records.command(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
