"""Graders of notebook 20, questions and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from helpers.exercises import exercise

Contenders = Callable[[Mapping[str, float], int], Iterable[str]]


@exercise(
    "20.1",
    "A probe leaves contenders; only training on more labels names the winner.",
    function="contenders",
)
def _contenders(answer: Contenders) -> str | None:
    # The best has a standard error of 0.04, so the line is drawn at 0.72.
    scores = {"a": 0.80, "b": 0.77, "c": 0.73, "d": 0.70, "e": 0.50}
    given = answer(scores, 100)
    if not isinstance(given, (set, frozenset)):
        return f"return a set of names, not a {type(given).__name__}."
    known = {
        frozenset("a"): "only the best is left: keep all within two standard errors.",
        frozenset("ab"): "that is one standard error; the rule says two.",
        frozenset("abcde"): "everybody is left: is n under the root, as count?",
        frozenset("abcd"): "d is 0.10 below the best, more than two standard errors.",
        frozenset("bc"): "the best itself is a contender, too.",
        frozenset(): "nobody is left: compare each score with the best minus 2 SE.",
    }
    if frozenset(given) != frozenset("abc"):
        return known.get(
            frozenset(given),
            "with scores 0.80, 0.77, 0.73, 0.70, 0.50 of 100 examples, the line is at "
            "0.80 - 2 * 0.04 = 0.72.",
        )
    if set(answer(scores, 10_000)) != {"a"}:
        return "with 10,000 examples only the best is left: does the error use count?"
    if set(answer({"a": 0.5, "b": 0.62, "c": 0.98}, 49)) != {"c"}:
        return (
            "near 1 the error is small: use the p of the best score, 0.98, not 0.5 and "
            "not each model's own."
        )
    if set(answer({"x": 1.0, "y": 1.0, "z": 0.9}, 20)) != {"x", "y"}:
        return "two models may share the best score: keep both."
    return None


_BRIEFS = {
    "A": "frozen",
    "B": "zero-shot",
    "C": "full",
    "D": "LoRA",
    "E": "plain",
}
_WHY = {
    "A": """A has few labels and a laptop, and photos are what backbones know: features
        and a linear head take minutes.""",
    "B": """B has no label at all: compare each message's vector with the vectors of
        the five headings.""",
    "C": """C has many labels, a GPU, and pictures unlike the pretraining's: all
        weights should move.""",
    "D": """D needs fifty versions side by side: one frozen model and fifty thin
        additions fit, fifty full copies do not.""",
    "E": """E must show and strike words: a linear model on word counts is its own
        explanation.""",
}


@exercise("20.2", "None of the five needed the largest model.")
def _briefs(answer: Mapping[str, str]) -> str | None:
    if not isinstance(answer, Mapping) or not {str(k).upper() for k in answer} & set(
        _BRIEFS
    ):
        return 'answer with a dict such as {"A": "full", "B": "plain", …}.'
    given = {str(k).upper(): str(v).strip().casefold() for k, v in answer.items()}
    missing = sorted(set(_BRIEFS) - set(given))
    if missing:
        return f"no way for {', '.join(missing)} yet: each brief gets one."
    ways = {way.casefold() for way in _BRIEFS.values()}
    unknown = sorted(set(given.values()) - ways)
    if unknown:
        return f"{unknown[0]!r} is not one of {', '.join(sorted(ways))}."
    if len({given[letter] for letter in _BRIEFS}) < len(_BRIEFS):
        return "each of the five ways is used once."
    for letter, way in _BRIEFS.items():
        if given[letter] != way.casefold():
            return _WHY[letter]
    return None


@exercise("20.3", "Whatever was chosen or learned on the test set has passed it.")
def _leaks(answer: Iterable[int]) -> str | None:
    if not isinstance(answer, (set, frozenset, list, tuple)):
        return "answer with a set of numbers, such as {1, 2}."
    given = {int(number) for number in answer}
    if not given <= set(range(1, 7)):
        return "the numbers go from 1 to 6."
    innocent = {
        1: "1 is fine: ImageNet's mean was fixed long before anybody saw these tests.",
        4: "4 is fine: choosing on validation data is what they are for.",
    }
    guilty = {
        2: "look at 2 again: two sentences of one review share its film and its mood.",
        3: "look at 3 again: the best of ten on the test set was chosen by it.",
        5: "look at 5 again: the quiz and its answers were on the web by 2023.",
        6: "look at 6 again: what decides when to stop has been used for training.",
    }
    for number, hint in innocent.items():
        if number in given:
            return hint
    for number, hint in guilty.items():
        if number not in given:
            return hint
    return None
