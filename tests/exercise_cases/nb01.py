"""Solutions and typical mistakes of notebook 01."""

from __future__ import annotations

from tests.exercise_cases import Case

_YEARS = 6 * 405e9 * 15.6e12 / 4e14 / (365 * 86_400)

CASES = {
    "01.1": Case(
        solution="animals",
        mistakes=[
            ("smileys", "smileys are easy for both"),
            ("travel", "that is where it gains"),
            ("food", "average the difference of"),
            ("objects", "average the difference of"),
            ("crab", "give the name of one of"),
            (2, "give the name of one of"),
        ],
    ),
    "01.2": Case(
        solution=(94.2, 92.5),
        mistakes=[
            ((0.94, 0.93), "those are fractions; give"),
            ((94.2, 94.2), "equal to the last digit"),
            ((92.5, 94.2), "the first number belongs"),
            ((94.2, 21.0), "did you shuffle letters"),
            ((70.0, 65.0), "the ordered posts should"),
            ((94.2, 75.0), "that loses too much: train"),
            ((94.2,), "give two numbers: (ordered"),
            (93.0, "give two numbers: (ordered"),
        ],
    ),
    "01.3": Case(
        solution=_YEARS,
        mistakes=[
            (_YEARS / 3, "2ND is a forward pass alone"),
            (_YEARS / 2, "3ND forgets that a multiply-add"),
            (_YEARS * 365, "those are days; divide"),
            (_YEARS * 365 * 86_400, "those are seconds; a year"),
            (1.0, "first C = 6 * N * D in"),
        ],
    ),
}
