"""Graders of notebook 04, pretraining step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from helpers.exercises import exercise

_RUNS = Path(__file__).parents[2] / "data" / "runs" / "04_corpora.csv"


@exercise("04.1", "Of nine pairs of near copies one is missed; strangers rarely meet.")
def _twins(answer: float) -> str | None:
    if 0 < answer < 1:
        return "that is a fraction; give a percent, such as 50."
    band = 0.7**4

    def near(expected: float) -> bool:
        return abs(answer - 100 * expected) <= 0.9

    if near(1 - (1 - band) ** 8):
        return None
    if near(band):
        return "that is one band, 0.7 to the power of four; there are eight chances."
    if near((1 - band) ** 8):
        return "that is the chance to miss each other in all eight bands."
    if near(0.7):
        return "0.7 is the chance of a single minimum; a band needs four."
    if near(1 - (1 - 0.7**8) ** 4):
        return "that is four bands of eight: there are eight bands of four."
    if near(1 - 0.7**8):
        return (
            "that is 1 - 0.7**8, as if 0.7 were the chance that a band differs; it "
            "differs with probability 1 - 0.7**4."
        )
    if near(1 - 0.3**8):
        return "that asks for one of eight single minima; a band needs four at once."
    if near(8 * band) or answer > 101:
        return (
            "chances of several bands do not add up: take 1 minus the chance that "
            "all eight bands differ."
        )
    return (
        "a band agrees with probability 0.7**4; at least one of eight is 1 minus the "
        "probability that none does."
    )


_VOCAB = {"a", "un", "unwatch", "watch", "##watch", "##able", "##a", "##b"}
_VOCAB |= {"film", "##s", "f", "[UNK]"}


@exercise("04.2", "Cutting is greedy and needs no model at all.", function="cut")
def _cut(answer: Callable[[str, set[str]], list[str]]) -> str | None:
    whole = answer("film", set(_VOCAB))
    if whole is None:
        return "the function returns None; did its `return` get lost?"
    if isinstance(whole, str):
        return "return a list of pieces, also when there is only one."
    if list(whole)[:1] == ["f"] or list(whole) == ["[UNK]"]:
        return "who begins 'film' with 'f' gets stuck: take the longest piece first."
    if list(whole) != ["film"]:
        return f"'film' is in the vocabulary, so ['film'] is right, not {whole}."
    long = list(answer("unwatchable", set(_VOCAB)))
    if long and long[0] == "un":
        return "'unwatch' is longer than 'un': try the longest piece first."
    if "able" in long or "watch" in long:
        return "a piece that continues a word carries ## in front."
    if long == ["[UNK]"]:
        return "'unwatchable' can be cut: look for '##able' (with ##) after 'unwatch'."
    if long != ["unwatch", "##able"]:
        return f"'unwatchable' should give ['unwatch', '##able'], not {long}."
    stuck = list(answer("filmz", set(_VOCAB)))
    if len(stuck) > 1 and stuck[-1] == "[UNK]":
        return "a word that gets stuck becomes ['[UNK]'] as a whole, without its parts."
    if stuck == ["film"]:
        return "the rest of 'filmz' was dropped; a stuck word becomes ['[UNK]']."
    if stuck != ["[UNK]"]:
        return f"'filmz' cannot be cut and should give ['[UNK]'], not {stuck}."
    return None


@exercise(
    "04.3",
    "Average the losses, token by token, and take the exponential last.",
    function="perplexity",
)
def _perplexity(
    answer: Callable[[Sequence[float], Sequence[int]], float],
) -> str | None:
    losses, counts = [1.0, 3.0, 2.5], [10, 30, 160]
    value = float(answer(losses, counts))
    mean = sum(a * b for a, b in zip(losses, counts, strict=True)) / sum(counts)

    def near(expected: float) -> bool:
        return math.isclose(value, expected, rel_tol=1e-6)

    if near(math.exp(mean)):
        return None
    if near(mean):
        return "that is the mean loss; perplexity is its exponential."
    if near(math.exp(sum(losses) / 3)):
        return "a batch with 160 tokens must count more than one with 10."
    if near(sum(map(math.exp, losses)) / 3):
        return (
            "that is the mean of the batches' perplexities, which is too high: average "
            "the losses first, weighted by counts."
        )
    weighted = sum(math.exp(a) * b for a, b in zip(losses, counts, strict=True))
    if near(weighted / sum(counts)):
        return "the weights are right, but take the exponential last, of the mean loss."
    if near(2**mean):
        return "the losses are in nats, so the base is e, not 2."
    return (
        f"for losses {losses} and counts {counts} the result should be "
        f"{math.exp(mean):.2f}."
    )


@exercise("04.4", "Afterwards it learns its own lines by heart, and unlearns language.")
def _stop(answer: float) -> str | None:
    table = pd.read_csv(_RUNS, comment="#")
    table = table[table["corpus"] == "1/128"]
    losses = table.groupby("step")[["held_out", "own"]].mean()
    best = losses["held_out"].idxmin()
    if answer == best:
        return None
    if abs(answer - losses["held_out"].min()) < 0.02:
        return "that is the lowest loss; give the step at which it was reached."
    if answer == losses["own"].idxmin():
        return (
            "there its OWN text is known best; early stopping looks at held-out text."
        )
    if answer not in losses.index:
        return f"the runs were scored at the steps {losses.index.tolist()}: give one."
    singles = table.loc[table.groupby("seed")["held_out"].idxmin(), "step"]
    if answer in singles.to_list():
        return (
            "that is the best step of a single seed: take the mean of the seeds first."
        )
    return (
        f"at step {answer:.0f} the mean held-out loss is "
        f"{losses['held_out'][answer]:.2f}, and elsewhere it is lower."
    )
