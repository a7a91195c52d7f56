"""Graders of notebook 01, why pretrain."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.exercises import exercise

_YEARS = 6 * 405e9 * 15.6e12 / 4e14 / (365 * 86_400)


@exercise(
    "01.1",
    "ImageNet holds hundreds of kinds of animals and no smileys: "
    "pretraining helps where it has been before.",
)
def _category(answer: str) -> str | None:
    known = ("activities", "animals", "food", "objects", "smileys", "travel")
    if not isinstance(answer, str) or answer.strip().lower() not in known:
        return f"give the name of one of {', '.join(known)}."
    answer = answer.strip().lower()
    if answer == "animals":
        return None
    if answer == "smileys":
        return (
            "smileys are easy for both, being yellow and round; subtract what the "
            "network from scratch reaches."
        )
    if answer == "travel":
        return "that is where it gains least: take pretrained minus from scratch."
    return (
        "average the difference of the two recalls over the three seeds, with 20 "
        "labels a class, and take the largest."
    )


@exercise(
    "01.2",
    "For topics, which words occur says nearly everything; MiniLM's gain lies in "
    "knowing related words, not in their order.",
)
def _shuffled(answer: Sequence[float]) -> str | None:
    if isinstance(answer, str | int | float) or len(answer) != 2:
        return "give two numbers: (ordered, shuffled), in percent."
    ordered, shuffled = (float(value) for value in answer)
    if not (0 <= ordered <= 100 and 0 <= shuffled <= 100):
        return "accuracies in percent lie between 0 and 100."
    if 0 < max(ordered, shuffled) <= 1:
        return "those are fractions; give percent."
    if abs(ordered - shuffled) < 1e-9:
        return "equal to the last digit: were the shuffled posts embedded at all?"
    if ordered < shuffled:
        return "the first number belongs to the posts in their own order."
    if not 88 <= ordered <= 98:
        return "the ordered posts should reach what section 4 shows for 50 labels."
    if shuffled < 60:
        return "did you shuffle letters instead of words? Split the post first."
    if shuffled < 84:
        return (
            "that loses too much: train the heads on ordered posts, and shuffle the "
            "words within each post, not the posts among each other."
        )
    return None


@exercise("01.3", "That is why thousands of accelerators shared the work.")
def _years(answer: float) -> str | None:
    mistakes = {
        1.0: None,
        1 / 3: "2ND is a forward pass alone; training takes 6ND.",
        1 / 2: "3ND forgets that a multiply-add is two operations; training takes 6ND.",
        365.0: "those are days; divide by 365.",
        365.0 * 86_400: "those are seconds; a year has 365 * 86,400 of them.",
        365.0 * 24: "those are hours; divide by 24 * 365.",
        1e-3: "15.6 trillion tokens are 15.6e12, not e9.",
    }
    for factor, message in mistakes.items():
        if abs(answer / (factor * _YEARS) - 1) < 0.02:
            return message
    return "first C = 6 * N * D in FLOP, then seconds = C / 4e14, then years."
