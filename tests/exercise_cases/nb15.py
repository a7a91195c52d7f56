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
        mistakes=[(25, 25), (50, 25), (25, 12), (26, 51), (10, 20), (25, 40), (5, 9)],
    ),
    "15.2": Case(
        solution=(230, 21),
        mistakes=[
            (210, 20),
            (190, 20),
            (250, 22),
            (440, 22),
            (400, 20),
            (21, 230),
            (230, 20),
            (230, 22),
            (230, 230),
            (17, 3),
            7,
        ],
    ),
    "15.3": Case(
        solution=lambda: _corpus,
        mistakes=[
            lambda: _mean_of_rates,
            lambda: _weighted_rates,
            lambda: _counted,
            lambda: lambda said, heard: _corpus(said, heard, by="heard"),
            lambda: lambda said, heard: _corpus(said, heard, most=1),
            lambda: lambda said, heard: _corpus(said, heard, skip=True),
            lambda: lambda said, heard: 100 * _corpus(said, heard),
        ],
    ),
    "15.4": Case(
        solution=lambda: _mean,
        mistakes=[
            lambda: lambda *given: _mean(*given, all_=True),
            lambda: lambda *given: _mean(*given, up=False),
            lambda: lambda *given: _mean(*given, up=False, extra=1),
            lambda: lambda *given: _mean(*given, divide="places"),
            lambda: lambda *given: _mean(*given, divide="nothing"),
            lambda: lambda states, lengths: states,
            lambda: lambda states, lengths: states[:, 0],
        ],
    ),
}
