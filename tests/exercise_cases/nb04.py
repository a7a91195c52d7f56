"""Solutions and typical mistakes of notebook 04."""

from __future__ import annotations

import math

import pandas as pd

from helpers.examples.compare_corpora import TARGET
from tests.exercise_cases import Case


def _cut(word, vocab, *, shortest=False, marks=True, whole=True):
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start and marks else ""
        ends = (
            range(start + 1, len(word) + 1) if shortest else range(len(word), start, -1)
        )
        fits = [end for end in ends if prefix + word[start:end] in vocab]
        if not fits:
            return ["[UNK]"] if whole else [*found, "[UNK]"]
        found.append(prefix + word[start : fits[0]])
        start = fits[0]
    return found


def _weighted(values, counts):
    return sum(v * c for v, c in zip(values, counts, strict=True)) / sum(counts)


def _smallest(column):
    table = pd.read_csv(TARGET, comment="#")
    return table[table["corpus"] == "1/128"].groupby("step")[column].mean()


CASES = {
    "04.1": Case(
        solution=88.9,
        mistakes=[
            (24, "that is one band, 0.7 to"),
            (11, "that is the chance to miss"),
            (21, "that is four bands of eight"),
            (70, "0.7 is the chance of a"),
            (70.4, "0.7 is the chance of a"),
            (94, "as if 0.7 were the chance that a band differs"),
            (94.2, "as if 0.7 were the chance that a band differs"),
            (100, "that asks for one of eight single minima"),
            (130, "chances of several bands"),
            (0.89, "that is a fraction; give"),
            (192, "chances of several bands"),
            (50, "a band agrees with probability"),
        ],
    ),
    "04.2": Case(
        solution=lambda: _cut,
        mistakes=[
            (
                lambda: lambda word, vocab: _cut(word, vocab, shortest=True),
                "take the longest piece first",
            ),
            (
                lambda: lambda word, vocab: _cut(word, vocab, marks=False),
                "'unwatchable' can be cut",
            ),
            (
                lambda: lambda word, vocab: _cut(word, vocab, whole=False),
                "a word that gets stuck",
            ),
            (lambda: lambda word, vocab: word, "return a list of pieces"),
            (
                lambda: (
                    lambda word, vocab: [p.replace("##", "") for p in _cut(word, vocab)]
                ),
                "a piece that continues",
            ),
        ],
    ),
    "04.3": Case(
        solution=lambda: lambda losses, counts: math.exp(_weighted(losses, counts)),
        mistakes=[
            (lambda: _weighted, "that is the mean loss"),
            (
                lambda: lambda losses, counts: math.exp(sum(losses) / len(losses)),
                "a batch with 160 tokens",
            ),
            (
                lambda: lambda losses, counts: sum(map(math.exp, losses)) / len(losses),
                "that is the mean of the",
            ),
            (
                lambda: lambda losses, counts: _weighted(map(math.exp, losses), counts),
                "the weights are right",
            ),
            (
                lambda: lambda losses, counts: 2 ** _weighted(losses, counts),
                "the losses are in nats",
            ),
        ],
    ),
    "04.4": Case(
        solution=lambda: _smallest("held_out").idxmin(),
        mistakes=[
            (lambda: _smallest("own").idxmin(), "there its OWN text is known best"),
            (lambda: _smallest("held_out").min(), "that is the lowest loss"),
            (500, "that is the best step of a single seed"),
            (123, "the runs were scored at the steps"),
            (100, "at step 100 the mean held-out loss is"),
        ],
    ),
}
