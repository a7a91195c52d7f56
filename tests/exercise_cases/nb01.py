"""Solutions and typical mistakes of notebook 01."""

from __future__ import annotations

from tests.exercise_cases import Case

_YEARS = 6 * 405e9 * 15.6e12 / 4e14 / (365 * 86_400)

CASES = {
    "01.1": Case(
        solution=_YEARS,
        mistakes=[_YEARS / 3, _YEARS / 2, _YEARS * 365, _YEARS * 365 * 86_400, 1.0],
    ),
    "01.2": Case(
        solution="animals", mistakes=["smileys", "travel", "food", "objects", "crab", 2]
    ),
    "01.3": Case(
        solution=(94.2, 92.5),
        mistakes=[
            (0.94, 0.93),
            (94.2, 94.2),
            (92.5, 94.2),
            (94.2, 21.0),
            (70.0, 65.0),
            (94.2, 75.0),
            (94.2,),
            93.0,
        ],
    ),
}
