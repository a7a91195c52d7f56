"""Embedding 5,000 mixed reviews with MiniLM: batches by length against naive order.

Half are IMDB reviews, cut at 256 tokens, half single sentences of Rotten Tomatoes, well
mixed. Each round takes another 1,000 of them. Naive is what a tutorial does: batches in
the order of the data, padded to their longest text. The rate counts the arithmetic that
real tokens need; padding earns nothing. The machine's own rate is that of a large
matrix product, measured in the same round.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader

import helpers
from benchmarks.common import interleave, machine, markdown, table
from helpers.datasets import Texts, movie_reviews
from helpers.tokens import Tokens, padding_share, token_loader

NAIVE, GROUPED, PRODUCT = "naive order", "grouped by length", "large matrix product"
NAME = "sentence-transformers/all-MiniLM-L6-v2"
ROUND, MAX_LENGTH, BATCH, SIDE = 1_000, 256, 32, 2_048
GOALS = {"faster": 1.5, "share": 0.75}


def mixed_reviews(count: int) -> Texts:
    """Half long, half short, in a fixed random order."""
    half = count // 2
    long = movie_reviews("train", "imdb", limit=half)
    short = movie_reviews("train", limit=half)
    texts = [*long.texts, *short.texts]
    order = random.Random(0).sample(range(count), count)
    labels = torch.cat([long.labels, short.labels])[order]
    return Texts([texts[i] for i in order], labels, long.names)


def part(data: Texts, number: int) -> Texts:
    """The thousand reviews of a round."""
    rows = slice(number * ROUND, (number + 1) * ROUND)
    return Texts(data.texts[rows], data.labels[rows], data.names)


def work(lengths: list[int], config: object) -> float:
    """Floating point operations of an encoder over texts of these lengths.

    A token and layer: 8 d^2 for queries, keys, values and output, 4 d f for the
    feed-forward pair, 4 n d for the two products of attention over n tokens.
    """
    d, f = config.hidden_size, config.intermediate_size  # type: ignore[attr-defined]
    layers = config.num_hidden_layers  # type: ignore[attr-defined]
    return layers * sum(n * (8 * d * d + 4 * d * f + 4 * n * d) for n in lengths)


def main() -> None:
    """Measure and print."""
    from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 6))
    rounds = parser.parse_args().rounds
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    model = AutoModel.from_pretrained(NAME)
    data = mixed_reviews(5 * ROUND)
    collate = DataCollatorWithPadding(tokenizer)
    vectors: dict[tuple[str, int], torch.Tensor] = {}
    shares: dict[str, list[float]] = {NAIVE: [], GROUPED: []}
    flops: list[float] = []

    def naive(number: int) -> DataLoader:
        tokens = Tokens(part(data, number), tokenizer, MAX_LENGTH)
        flops.append(work(tokens.lengths, model.config))
        return DataLoader(tokens, BATCH, collate_fn=collate)

    def grouped(number: int) -> DataLoader:
        some = part(data, number)
        return token_loader(some, tokenizer, batch_size=BATCH, max_length=MAX_LENGTH)

    def embedding(
        name: str, make: Callable[[int], DataLoader]
    ) -> Callable[[int], float]:
        def run(number: int) -> float:
            loader = make(number)
            shares[name].append(padding_share(loader))
            started = time.perf_counter()
            features = helpers.cache_features(
                model, loader, embed=helpers.mean_pool, device="cpu", progress=False
            )
            seconds = time.perf_counter() - started
            vectors[name, number] = features.x
            return seconds

        return run

    a, b = torch.randn(2, SIDE, SIDE)

    def product(number: int) -> float:
        started = time.perf_counter()
        for _ in range(20):
            a @ b
        return time.perf_counter() - started

    product(0)
    runs = {NAIVE: embedding(NAIVE, naive), GROUPED: embedding(GROUPED, grouped)}
    seconds = interleave({**runs, PRODUCT: product}, rounds)
    product_seconds = seconds.pop(PRODUCT)

    print(machine(), end="\n\n")
    print(table(seconds, GROUPED), end="\n\n")
    peak = [20 * 2 * SIDE**3 / s for s in product_seconds]
    rows = []
    for name, values in seconds.items():
        rates = [f / s for f, s in zip(flops, values, strict=True)]
        parts = [r / p for r, p in zip(rates, peak, strict=True)]
        rows.append(
            [
                name,
                f"{statistics.mean(shares[name]):.0%}",
                f"{statistics.median(rates) / 1e9:.0f}",
                f"{statistics.median(parts):.2f} (least {min(parts):.2f})",
            ]
        )
    rows.append([PRODUCT, "", f"{statistics.median(peak) / 1e9:.0f}", "1"])
    heads = ["", "padding", "GFLOP/s over real tokens", "share of the product's"]
    print(markdown(heads, rows), end="\n\n")
    apart = max(
        (vectors[NAIVE, n] - vectors[GROUPED, n]).abs().max().item()
        for n in range(rounds)
    )
    print(f"Largest difference between the two ways' vectors: {apart:.0e}.")
    pairs = zip(seconds[NAIVE], seconds[GROUPED], strict=True)
    faster = statistics.median(slow / fast for slow, fast in pairs)
    _verdict(f"grouped is {GOALS['faster']} times faster", faster, GOALS["faster"])
    _verdict("of the matrix product's rate", statistics.median(parts), GOALS["share"])


def _verdict(what: str, value: float, goal: float) -> None:
    verdict = "met" if value >= goal else "missed"
    print(f"Goal: at least {goal}, {what}: {verdict} ({value:.2f}).")


if __name__ == "__main__":
    main()
