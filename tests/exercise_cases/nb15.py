"""Solutions and typical mistakes of notebook 15."""

from __future__ import annotations

import torch

from tests.exercise_cases import Case


def _edits(said: str, heard: str) -> int:
    a, b = said.split(), heard.split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, start=1):
        new = [i]
        for j, other in enumerate(b, start=1):
            swap = row[j - 1] + (word != other)
            new.append(min(row[j] + 1, new[-1] + 1, swap))
        row = new
    return row[-1]


def _corpus(said, heard, *, by="said", most=float("inf"), skip=False):
    pairs = [(s, h) for s, h in zip(said, heard, strict=True) if s or not skip]
    total = sum(_edits(s, h) for s, h in pairs)
    words = sum(len((s if by == "said" else h).split()) for s, h in pairs)
    return min(most, total / words)


def _mean_of_rates(said, heard):
    pairs = list(zip(said, heard, strict=True))
    return sum(_edits(s, h) / len(s.split()) for s, h in pairs) / len(pairs)


def _weighted_rates(said, heard):
    words = sum(len(s.split()) for s in said)
    pairs = zip(said, heard, strict=True)
    rates = [_edits(s, h) / len(s.split()) * len(s.split()) for s, h in pairs]
    return sum(rates) / words


def _counted(said, heard):
    return sum(map(_edits, said, heard))


def _mean(states, lengths, *, up=True, extra=0, all_=False, divide="sound"):
    counts = -(-lengths // 320) if up else lengths // 320
    counts = torch.full_like(counts, states.shape[1]) if all_ else counts + extra
    counts = counts.clamp(max=states.shape[1])
    inside = torch.arange(states.shape[1]) < counts[:, None]
    total = (states * inside[..., None]).sum(dim=1)
    by = {"sound": counts[:, None], "places": states.shape[1], "nothing": 1}
    return total / by[divide]


CASES = {
    "15.1": Case(
        solution=(25, 50),
        mistakes=[
            ((25, 25), "a frame of 400 samples lasts"),
            ((50, 25), "the two are exchanged"),
            ((25, 12), "fewer samples a second"),
            ((26, 51), "rows count from 0, and"),
            ((10, 20), "160 is the hop, which spaces"),
            ((25, 40), "the first is right; at"),
            ((5, 9), "a frame of 400 samples holds"),
        ],
    ),
    "15.2": Case(
        solution=(230, 21),
        mistakes=[
            ((210, 20), "you forgot the two start"),
            ((190, 20), "the two start pieces run"),
            ((250, 22), "the twentieth piece is"),
            ((440, 22), "not every step reads all"),
            ((400, 20), "20 steps of 20 pieces would"),
            ((21, 230), "the two are exchanged"),
            ((230, 20), "with a cache, the first"),
            ((230, 22), "with a cache: two pieces"),
            ((230, 230), "with a cache, each step"),
            ((17, 3), "without a cache: 2 in the"),
            (7, "give two numbers of pieces"),
        ],
    ),
    "15.3": Case(
        solution=lambda: _corpus,
        mistakes=[
            (lambda: _mean_of_rates, "that is the mean of the"),
            (lambda: _weighted_rates, "a sentence may be empty"),
            (lambda: _counted, "these are the edits; divide"),
            (
                lambda: lambda said, heard: _corpus(said, heard, by="heard"),
                "divide by the words that",
            ),
            (
                lambda: lambda said, heard: _corpus(said, heard, most=1),
                "three edits for one word",
            ),
            (
                lambda: lambda said, heard: _corpus(said, heard, skip=True),
                "words heard where nothing",
            ),
            (
                lambda: lambda said, heard: 100 * _corpus(said, heard),
                "give a share, 0.4 here",
            ),
        ],
    ),
    "15.4": Case(
        solution=lambda: _mean,
        mistakes=[
            (
                lambda: lambda *given: _mean(*given, all_=True),
                "that is the mean over all",
            ),
            (
                lambda: lambda *given: _mean(*given, up=False),
                "a place with a single sample",
            ),
            (
                lambda: lambda *given: _mean(*given, up=False, extra=1),
                "960 samples fill exactly",
            ),
            (
                lambda: lambda *given: _mean(*given, divide="places"),
                "silence is left out of",
            ),
            (
                lambda: lambda *given: _mean(*given, divide="nothing"),
                "that is the sum; divide",
            ),
            (lambda: lambda states, lengths: states, "return one vector a sound"),
            (lambda: lambda states, lengths: states[:, 0], "sound i fills lengths[i]"),
        ],
    ),
}
