"""Solutions and typical mistakes of notebook 20."""

from __future__ import annotations

from tests.exercise_cases import Case


def _contenders(scores, count, *, errors=2, root=True, best_only=False, own=False):
    best = max(scores.values())

    def error(p):
        return (p * (1 - p) / (count if root else 1)) ** 0.5

    if best_only:
        return {name for name, score in scores.items() if score == best}
    return {
        name
        for name, score in scores.items()
        if score >= best - errors * error(score if own else best)
    }


def _wrong(**options):
    return lambda: lambda scores, count: _contenders(scores, count, **options)


BRIEFS = {"A": "frozen", "B": "zero-shot", "C": "full", "D": "LoRA", "E": "plain"}

CASES = {
    "20.1": Case(
        solution=lambda: _contenders,
        mistakes=[
            (_wrong(errors=1), "that is one standard error"),
            (_wrong(root=False), "everybody is left: is n"),
            (_wrong(best_only=True), "only the best is left"),
            (_wrong(errors=3), "d is 0.10 below the best"),
            (
                lambda: lambda scores, count: sorted(_contenders(scores, count)),
                "return a set of names, not a list.",
            ),
            (
                lambda: lambda scores, count: max(scores, key=scores.get),
                "return a set of names, not a str.",
            ),
            ({"MiniLM"}, "the answer is a function"),
        ],
    ),
    "20.2": Case(
        solution=BRIEFS,
        mistakes=[
            (BRIEFS | {"A": "full", "C": "frozen"}, "A has few labels and a"),
            (BRIEFS | {"B": "plain", "E": "zero-shot"}, "B has no label at all"),
            (BRIEFS | {"C": "LoRA", "D": "full"}, "C has many labels, a GPU"),
            (BRIEFS | {"D": "frozen"}, "each of the five ways is"),
            (BRIEFS | {"E": "decision tree"}, "'decision tree' is not"),
            ({"A": "frozen"}, "no way for B, C, D, E yet"),
            ("frozen", "answer with a dict such"),
        ],
    ),
    "20.3": Case(
        solution={2, 3, 5, 6},
        mistakes=[
            ({2, 3, 5}, "look at 6 again: what decides"),
            ({1, 2, 3, 5, 6}, "1 is fine: ImageNet's mean"),
            ({2, 3, 4, 5, 6}, "4 is fine: choosing on"),
            ({3, 6}, "look at 2 again: two sentences"),
            ({3, 5, 6}, "look at 2 again: two sentences"),
            ({7}, "the numbers go from 1 to"),
        ],
    ),
}
