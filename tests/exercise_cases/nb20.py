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
            _wrong(errors=1),
            _wrong(root=False),
            _wrong(best_only=True),
            _wrong(errors=3),
            lambda: lambda scores, count: sorted(_contenders(scores, count)),
            lambda: lambda scores, count: max(scores, key=scores.get),
            {"MiniLM"},
        ],
    ),
    "20.2": Case(
        solution=BRIEFS,
        mistakes=[
            BRIEFS | {"A": "full", "C": "frozen"},
            BRIEFS | {"B": "plain", "E": "zero-shot"},
            BRIEFS | {"C": "LoRA", "D": "full"},
            BRIEFS | {"D": "frozen"},
            BRIEFS | {"E": "decision tree"},
            {"A": "frozen"},
            "frozen",
        ],
    ),
    "20.3": Case(
        solution={2, 3, 5, 6},
        mistakes=[{2, 3, 5}, {1, 2, 3, 5, 6}, {2, 3, 4, 5, 6}, {3, 6}, {3, 5, 6}, {7}],
    ),
}
