"""Graders of notebook 14, applications in language."""

from __future__ import annotations

from collections.abc import Callable

from helpers.exercises import exercise


@exercise("14.1", "The dearer a missed case, the sooner the alarm.")
def _threshold(answer: float) -> str | None:
    if answer > 1:
        return "that is no probability: give a number between 0 and 1."
    known = {
        20 / 21: "that is the threshold if a false alarm cost 20 times as much; here "
        "silence is the dear mistake.",
        1 / 20: "close, but at p = 1/20 the alarm costs 1 - p = 0.95 and silence "
        "20 p = 1: find the p at which both cost the same.",
        1 / 2: "0.5 would be right if both mistakes cost the same.",
    }
    for value, hint in known.items():
        if abs(answer - value) < 0.0015:
            return hint
    if abs(answer - 1 / 21) < 0.0015:
        return None
    return "an alarm costs 1 - p on average, silence 20 p: at which p are they equal?"


@exercise(
    "14.2",
    "Whole spans are the stricter judge; say which one you report.",
    function="word_f1",
)
def _word_f1(answer: Callable[[list[str], list[str]], float]) -> str | None:
    truth = ["PERSON", "PERSON", "", "", "DATE", "", "", ""]
    guess = ["PERSON", "", "", "PLACE", "DATE", "DATE", "", ""]
    got = answer(truth, guess)
    known = {
        6 / 8: "the empty tags are counted as found, and a tagger that marks nothing "
        "would look good: count only words with a tag.",
        5 / 8: "that is accuracy over all words; most words are no names, so count "
        "only those that carry a tag in the truth or in the guess.",
        2 / 3: "that is recall alone: words marked without need cost nothing.",
        1 / 2: "that is precision alone: words overlooked cost nothing.",
    }
    for value, hint in known.items():
        if abs(got - value) < 1e-9:
            return hint
    if abs(got - 4 / 7) > 1e-9:
        return (
            "F1 is 2 * right / (words marked in truth + words marked in guess); here "
            f"that is 4/7, not {got:.3f}."
        )
    kind = answer(["PERSON"], ["PLACE"])
    if kind:
        return "a word marked with the wrong kind is not found: compare the tags."
    if answer([""], [""]) != 0:
        return "where nothing is marked on either side, return 0."
    return None


@exercise("14.3", "After a dozen times, once more says next to nothing.")
def _saturation(answer: float) -> str | None:
    if 13.4 < answer < 13.6:
        return "that is the point itself; a word occurs a whole number of times."
    known = {
        13: "13 times give 13 / 14.5, just under 90 %: round up.",
        9: "that holds for k1 = 1; here the share is f / (f + 1.5).",
        6: "that is the number of times for 80 %.",
        2: "the weight climbs to k1 + 1 = 2.5, not to 1: take 90 % of 2.5.",
    }
    if round(answer) in known and abs(answer - round(answer)) < 0.01:
        return known[round(answer)]
    if abs(answer - 14) < 0.01:
        return None
    return (
        "with |d| average the weight is f (k1 + 1) / (f + k1); divide by what it "
        "reaches for very large f, and solve for 0.9."
    )


def _next(prefix: tuple[str, ...]) -> dict[str, float]:
    """A toy model in which the best first step is a bad one."""
    if not prefix:
        return {"a": 0.5, "b": 0.4, "c": 0.1}
    if len(prefix) == 1:
        return {"a": {"x": 0.4, "y": 0.35}, "b": {"x": 0.9}, "c": {"z": 1.0}}[prefix[0]]
    return {"end": 0.9, "on": 0.1} if prefix[0] == "b" else {"end": 0.6, "on": 0.4}


@exercise(
    "14.4",
    "A beam of two already escapes the trap that greedy falls into.",
    function="beam",
)
def _beam(answer: Callable[..., tuple[tuple[str, ...], float]]) -> str | None:
    try:
        greedy = answer(_next, 1, 3)
        prefix, probability = greedy
    except KeyError:
        return "next_probs was asked for a prefix it never made: pass the whole tuple."
    if not isinstance(prefix, tuple):
        return "return (prefix, probability), the prefix as a tuple of tokens."
    if len(prefix) != 3:
        return f"with steps=3 the prefix has 3 tokens, not {len(prefix)}."
    if prefix == ("b", "x", "end"):
        return "width=1 must be greedy: keep one prefix after each step."
    if prefix != ("a", "x", "end"):
        return f"greedy goes a, x, end here, not {', '.join(map(str, prefix))}."
    if abs(probability - 0.6) < 1e-9:
        return "that is the last token's probability; a prefix has the product of all."
    if probability > 1 or abs(probability - 1.5) < 1e-9:
        return "the probabilities of the steps are multiplied, not added."
    if abs(probability - 0.12) > 1e-9:
        return f"a, x, end has probability 0.5 * 0.4 * 0.6, not {probability:.3f}."
    prefix, probability = answer(_next, 2, 3)
    if prefix == ("a", "x", "end"):
        return (
            "with width=2 the best is b, x, end (0.324): keep the best two prefixes "
            "over all continuations, not the best continuation of one."
        )
    if prefix != ("b", "x", "end") or abs(probability - 0.324) > 1e-9:
        return "with width=2 the best prefix is b, x, end with probability 0.324."
    return None
