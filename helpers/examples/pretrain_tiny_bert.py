"""Pretrain the course's own tiny BERT. Taught in notebook 04.

    python -m helpers.examples.pretrain_tiny_bert

Film reviews in, a small masked language model out: data/tiny-bert. It takes about
twenty minutes. Interrupt it when you like; the same command continues,
and ends in the same weights. Only the training parts of the reviews are read, and the
validation parts for the losses in the log; no label is.
"""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.trainers import WordPieceTrainer
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

import helpers
from helpers.datasets import movie_reviews
from helpers.objectives import mask_tokens

__all__ = ["adamw", "build_model", "clean", "corpus", "drop_copies"]
__all__ += ["drop_near_copies", "is_prose", "main", "masked_lm", "one_cycle", "pack"]
__all__ += ["plain", "sentences", "start_from_frequencies", "train_tokenizer"]

TARGET = Path(__file__).parents[2] / "data" / "tiny-bert"
SEED = 0
VOCAB_SIZE = 4000
LENGTH = 64  # tokens of a block
BATCH = 32  # blocks of a step
STEPS = 6000
STEPS_A_ROW = 250  # of the log
MAX_LR = 3e-3
SHARE = 0.3  # of the tokens hidden in training: more guesses for the same work
HELD_OUT = 500  # blocks of the validation parts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# Text ----------------------------------------------------------------------------

_END = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")
_ADDRESS = re.compile(r"(https?://|www\.)\S+|\S+@\S+")
_REPEATED = re.compile(r"([^\w\s])\1{2,}")
# Windows-1252 bytes that were read as Latin-1: dashes, dots and quotation marks.
_WINDOWS = {i: bytes([i]).decode("cp1252", "replace") for i in range(0x80, 0xA0)}


def sentences(reviews: Iterable[str]) -> list[str]:
    """One line a sentence, in the order of the reviews."""
    parts = (part.strip() for review in reviews for part in _END.split(review))
    return [part for part in parts if part]


def clean(line: str) -> str:
    """Mend the encoding, drop addresses, shorten "!!!!!!" to "!"."""
    line = unicodedata.normalize("NFKC", html.unescape(line.translate(_WINDOWS)))
    line = _REPEATED.sub(r"\1", _ADDRESS.sub(" ", line))
    return " ".join(line.split())


def is_prose(line: str) -> bool:
    """At least four words, at most 100, and five characters in six are letters."""
    letters = sum(c.isalpha() or c.isspace() for c in line)
    return 4 <= len(line.split()) <= 100 and 6 * letters >= 5 * len(line)


def plain(line: str) -> str:
    """What two copies of a line share: its words in lower case."""
    return " ".join(re.findall(r"\w+", line.lower()))


def drop_copies(lines: Sequence[str]) -> list[str]:
    """Keep the first of all lines with the same words, in the same order."""
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(plain(line), line)
    return list(first.values())


def drop_near_copies(
    lines: Sequence[str], threshold: float = 0.7, bands: int = 8, rows: int = 4
) -> list[str]:
    """Drop lines that share most of their three-word pieces with an earlier line.

    MinHash finds the candidates (Broder 1997), in bands of rows of the signature
    (Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, ch. 3); the exact
    Jaccard similarity of a pair decides.
    """
    hashing = HashingVectorizer(
        ngram_range=(3, 3), n_features=2**22, norm=None, alternate_sign=False,
        binary=True, token_pattern=r"\w+",
    )  # fmt: skip
    pieces = hashing.transform(lines)
    sizes = np.diff(pieces.indptr)
    filled = np.flatnonzero(sizes)
    starts = pieces.indptr[:-1][filled]
    ids = pieces.indices.astype(np.uint64)
    prime = np.uint64(2**31 - 1)
    draw = np.random.default_rng(0).integers(1, int(prime), (2, bands, rows))
    pairs = set()
    for a, b in draw.astype(np.uint64).transpose(1, 0, 2):
        smallest = [
            np.minimum.reduceat((x * ids + y) % prime, starts)
            for x, y in zip(a, b, strict=True)
        ]
        first: dict[bytes, int] = {}
        for line, key in zip(filled.tolist(), np.stack(smallest, 1), strict=True):
            earlier = first.setdefault(key.tobytes(), line)
            if earlier != line:
                pairs.add((earlier, line))
    if not pairs:
        return list(lines)
    left, right = np.array(sorted(pairs)).T
    shared = np.asarray(pieces[left].multiply(pieces[right]).sum(axis=1)).ravel()
    similarity = shared / (sizes[left] + sizes[right] - shared)
    dropped = set(right[similarity >= threshold].tolist())
    return [line for number, line in enumerate(lines) if number not in dropped]


def corpus(split: str) -> list[str]:
    """Clean, distinct lines of the reviews of both sources; the labels stay unread."""
    reviews = [
        t for s in ("imdb", "rotten-tomatoes") for t in movie_reviews(split, s).texts
    ]
    lines = [line for line in map(clean, sentences(reviews)) if is_prose(line)]
    return drop_near_copies(drop_copies(lines))


# Tokens --------------------------------------------------------------------------


def train_tokenizer(
    lines: Iterable[str], vocab_size: int = VOCAB_SIZE
) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer as BERT's: lower case, punctuation apart."""
    learner = _wordpiece({})
    trainer = WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False
    )
    learner.train_from_iterator(lines, trainer)
    # Training numbers the pieces differently every time; their order here is fixed.
    pieces = sorted(set(learner.get_vocab()) - set(SPECIAL))
    tokenizer = _wordpiece({token: i for i, token in enumerate([*SPECIAL, *pieces])})
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=LENGTH, **names
    )


def _wordpiece(vocab: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def pack(
    tokenizer: PreTrainedTokenizerFast, lines: Sequence[str], length: int = LENGTH
) -> torch.Tensor:
    """The lines one after another in blocks (n, length); each begins with [CLS].

    Lines end with [SEP]. Nothing is padded; what does not fill a block is left out.
    """
    encoded = tokenizer.backend_tokenizer.encode_batch(
        list(lines), add_special_tokens=False
    )
    stream: list[int] = []
    for line in encoded:
        stream += line.ids
        stream.append(tokenizer.sep_token_id)
    count = len(stream) // (length - 1)
    blocks = torch.tensor(stream[: count * (length - 1)]).view(count, length - 1)
    return nn.functional.pad(blocks, (1, 0), value=tokenizer.cls_token_id)


# Model ---------------------------------------------------------------------------


def build_model(
    vocab_size: int = VOCAB_SIZE, width: int = 128, layers: int = 2
) -> BertForMaskedLM:
    """A BERT with random weights: two layers, 128 wide, 0.9 million numbers."""
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,  # two passes over the text do not overfit
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,  # BERT's 0.02 is for wide layers
    )
    return BertForMaskedLM(config)


def start_from_frequencies(model: BertForMaskedLM, blocks: torch.Tensor) -> None:
    """Let the untrained model guess each token as often as it occurs in the blocks.

    The output bias becomes log p(token), up to a constant. Otherwise the first hundreds
    of steps learn nothing else.
    """
    bias = model.cls.predictions.bias
    counts = torch.bincount(blocks.flatten(), minlength=len(bias)).float()
    counts[: len(SPECIAL)] = 0
    frequencies = (counts + 1).log()
    with torch.no_grad():
        bias.copy_(frequencies - frequencies.mean())


def masked_lm(
    model: Any, batch: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A step for ``fit``: guess hidden tokens. The others cost no output layer.

    Training hides 30 % (Wettig et al. 2023), validation BERT's 15 %.
    """
    tokens = batch[0]
    inputs, labels = mask_tokens(
        tokens,
        mask_id=SPECIAL.index("[MASK]"),
        vocab_size=model.config.vocab_size,
        special=tokens < len(SPECIAL),
        share=SHARE if model.training else 0.15,
    )
    chosen = labels != -100
    hidden = model.bert(inputs).last_hidden_state[chosen]
    scores = model.cls(hidden)
    return nn.functional.cross_entropy(scores, labels[chosen]), scores


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Up for a tenth of the steps, then down to nothing."""
    lr = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)


def adamw(model: nn.Module, lr: float = MAX_LR) -> torch.optim.Optimizer:
    """AdamW with a shorter memory than usual: it forgives the high learning rate."""
    return torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), fused=True)


def main(target: Path = TARGET) -> None:
    """Make the checkpoint and its log."""
    helpers.setup(seed=SEED, needs=["movie-reviews"])
    lines = corpus("train")
    seen = {plain(line) for line in lines}
    unseen = [line for line in corpus("valid") if plain(line) not in seen]
    tokenizer = train_tokenizer(lines)
    blocks, held_out = pack(tokenizer, lines), pack(tokenizer, unseen)
    held_out = held_out[:: len(held_out) // HELD_OUT][:HELD_OUT]
    print(f"{len(lines):,} lines, {blocks.numel():,} tokens in {len(blocks):,} blocks")

    torch.manual_seed(SEED)
    model = build_model(len(tokenizer))
    start_from_frequencies(model, blocks)
    data = TensorDataset(blocks)
    some = RandomSampler(data, num_samples=STEPS_A_ROW * BATCH)
    history = helpers.fit(
        model,
        DataLoader(data, BATCH, sampler=some),
        DataLoader(TensorDataset(held_out), BATCH),
        epochs=STEPS // STEPS_A_ROW,  # an "epoch" is a row of the log here
        optimizer=adamw(model),
        scheduler=one_cycle,
        step=masked_lm,
        folder="runs/tiny-bert",
        seed=SEED,
    )
    if history.outcome == "interrupted":
        sys.exit("Interrupted. The same command continues from here.")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    table = history.table()
    table.insert(0, "step", table.index * STEPS_A_ROW)
    table.insert(0, "seed", SEED)
    table.to_csv(target / "log.csv", index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
