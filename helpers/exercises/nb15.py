"""Graders of notebook 15, applications in speech."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from helpers.exercises import exercise


def _pair(answer: Any) -> list[int] | None:
    """The answer as two whole numbers, None if it is something else."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return None
    numbers = [float(number) for number in answer]
    if not all(math.isfinite(number) for number in numbers):
        return None
    return [round(number) for number in numbers]


@exercise("15.1", "Rows are 40 Hz apart, or 20: sampling rate over frame length.")
def _which_row(answer: tuple[int, int]) -> str | None:
    rows = _pair(answer)
    if rows is None:
        return "give two row numbers as a pair, such as (10, 20)."
    known = {
        (25, 25): "a frame of 400 samples lasts longer at 8,000 samples a second, and "
        "a longer frame parts frequencies more finely.",
        (50, 25): "the two are exchanged: give the row at 16,000 samples first.",
        (
            25,
            12,
        ): "fewer samples a second bring the rows closer: 8,000 / 400.",
        (26, 51): "rows count from 0, and row 0 is 0 Hz.",
        (10, 20): "160 is the hop, which spaces the frames in time; the rows depend on "
        "the length of a frame.",
    }
    if tuple(rows) in known:
        return known[rows[0], rows[1]]
    if rows == [25, 50]:
        return None
    if rows[0] == 25:
        return "the first is right; at 8,000 samples a second, how far apart are rows?"
    return (
        "a frame of 400 samples holds 400 / rate seconds; row k fits k whole periods "
        "into it."
    )


@exercise("15.2", "Eleven times fewer here, and the saving grows with the length.")
def _saved(answer: tuple[int, int]) -> str | None:
    counts = _pair(answer)
    if counts is None:
        return "give two numbers of pieces as a pair, such as (300, 30)."
    without, cached = counts
    known = {
        210: "you forgot the two start pieces, or one of them: the first step already "
        "reads both.",
        190: "the two start pieces run through the blocks in every step, too.",
        250: "the twentieth piece is written, but no step of these twenty reads it.",
        440: "not every step reads all 22: the first reads 2, the next 3, and so on.",
        400: "20 steps of 20 pieces would be so; the first step reads 2, the next 3.",
    }
    if without in known:
        return known[without]
    if without == 21 and cached == 230:
        return "the two are exchanged: give the number without a cache first."
    if without != 230:
        return "without a cache: 2 in the first step, 3 in the second, and so on; add."
    if cached == 20:
        return "with a cache, the first step reads two pieces, not one."
    if cached == 22:
        return "with a cache: two pieces in the first step, one in each other step."
    if cached != 21:
        return "with a cache, each step after the first reads only the newest piece."
    return None


@exercise(
    "15.3",
    "Long sentences weigh more, and the rate may pass 100 %.",
    function="corpus_wer",
)
def _corpus(answer: Callable[[list[str], list[str]], float]) -> str | None:
    said, heard = ["one two three four", "five"], ["one two three four", "six seven"]
    rate = float(answer(said, heard))
    if abs(rate - 1.0) < 1e-6:
        return (
            "that is the mean of the sentences' rates: a sentence of one word counts "
            "as much as one of four. Add edits and words first, then divide."
        )
    if abs(rate - 2 / 6) < 1e-6:
        return "divide by the words that were said, not by those that were heard."
    if abs(rate - 2) < 1e-6:
        return "these are the edits; divide by the number of words said."
    if abs(rate - 40) < 1e-6:
        return "give a share, 0.4 here, not a percentage."
    if abs(rate - 0.4) > 1e-6:
        return f"'{said}' heard as '{heard}' has 2 edits in 5 words, not {rate:.3g}."
    if float(answer(["stop"], ["go go go"])) < 2.9:
        return "three edits for one word said are a rate of 3: nothing stops it at 1."
    try:
        empty = float(answer(["", "go"], ["go", ""]))
    except ZeroDivisionError:
        return "a sentence may be empty: divide once, at the very end."
    if abs(empty - 2) > 1e-6:
        return "words heard where nothing was said are errors as well."
    return None


@exercise(
    "15.4",
    "A short word is no longer drowned in the silence behind it.",
    function="speech_mean",
)
def _speech_mean(answer: Callable[..., torch.Tensor]) -> str | None:
    states = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([320 * 3, 320 * 4 + 1, 320 * 8])
    given = answer(states.clone(), lengths)
    if not isinstance(given, torch.Tensor) or given.shape != (3, 4):
        shape = tuple(getattr(given, "shape", ()))
        return f"return one vector a sound, shape (3, 4) here, not {shape}."

    def mean(counts: list[int]) -> torch.Tensor:
        pairs = zip(states, counts, strict=True)
        return torch.stack([one[:count].mean(dim=0) for one, count in pairs])

    def is_(other: torch.Tensor) -> bool:
        return torch.allclose(given.float(), other, atol=1e-5)

    sums = mean([3, 5, 8]) * torch.tensor([3, 5, 8])[:, None]
    if is_(mean([8, 8, 8])):
        return (
            "that is the mean over all places, silence included. A place is 320 "
            "samples long: which of them hold sound?"
        )
    if is_(mean([3, 4, 8])):
        return "a place with a single sample of sound counts as well: round up."
    if is_(mean([4, 5, 8])):
        return "960 samples fill exactly 3 places: round up, do not add one."
    if is_(sums / 8):
        return "silence is left out of the sum, but you still divide by all places."
    if is_(sums):
        return "that is the sum; divide by the number of places with sound."
    if not is_(mean([3, 5, 8])):
        return "sound i fills lengths[i] / 320 places, rounded up; average those."
    return None
