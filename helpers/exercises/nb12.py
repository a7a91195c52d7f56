"""Graders of notebook 12: TensorFlow Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.exercises import exercise

_USE_4 = "https://tfhub.dev/google/universal-sentence-encoder/4"
_MULTILINGUAL = "https://tfhub.dev/google/universal-sentence-encoder-multilingual/3"


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@exercise("12.1", "The name of a cached module depends on every letter of its address.")
def _folder(answer: str) -> str | None:
    if not isinstance(answer, str):
        return "the answer is the folder's name, a string."
    if answer == _sha1(_USE_4):
        return None
    if answer == _sha1(_MULTILINGUAL):
        return "that is the folder of section 2's module; here it is USE 4."
    if answer in (_sha1(_USE_4 + "/"), _sha1(_USE_4 + "\n")):
        return "one character too many at the end of the address."
    if answer == _sha1(_USE_4.removeprefix("https://")):
        return "the address begins with https://, and that counts."
    if "/" in answer or "universal" in answer:
        return "that is the address itself; what does hub.load make of it (section 2)?"
    if len(answer) != 40:
        return (
            f"a SHA-1 has 40 hexadecimal digits, this answer has {len(answer)}: is it "
            "another hash?"
        )
    if answer.lower() == _sha1(_USE_4):
        return "right digits, but hub.load writes them in small letters."
    return "40 digits, but of another text: hash the address exactly as it is printed."


def _cases() -> tuple[np.ndarray, np.ndarray]:
    """Rows whose partner is first, second, third, … nearest, with unequal lengths."""
    random = np.random.default_rng(0)
    index = random.normal(size=(60, 6)) * random.uniform(0.5, 2.0, size=(60, 1))
    return index + random.normal(size=(60, 6)), index


def _recall(scores: np.ndarray, k: int) -> float:
    best = (-scores).argsort(axis=1)[:, :k]
    return float((best == np.arange(len(scores))[:, None]).any(axis=1).mean())


@exercise(
    "12.2",
    "The right name is often among the first few when it is not first.",
    function="recall_at_k",
)
def _recall_at_k(answer: Callable[..., Any]) -> str | None:
    queries, index = _cases()
    scores = queries @ index.T
    wanted = [_recall(scores, k) for k in (1, 4)]
    given = [np.asarray(answer(queries.copy(), index.copy(), k)) for k in (1, 4)]
    if any(value.size != 1 for value in given):
        return f"return one number, not an array of shape {given[0].shape}."
    shares = [float(value.item()) for value in given]
    if np.allclose(shares, wanted):
        return None
    if np.allclose(shares, np.multiply(wanted, len(index))):
        return "that counts the rows; divide by their number."
    if np.allclose(shares, np.multiply(wanted, 100)):
        return "a share lies between 0 and 1; these are percents."
    if np.allclose(shares, [wanted[0], wanted[0]]):
        return "k makes no difference: look at the k best rows, not only the best."
    if np.allclose(shares, np.divide(wanted, (1, 4))):
        return "you divide by n * k: each query has one right answer, so divide by n."
    if np.allclose(shares, [_recall(-scores, k) for k in (1, 4)]):
        return "these are the k smallest products: argsort starts with the smallest."
    if np.allclose(shares, [_recall(scores.T, k) for k in (1, 4)]):
        return "rows and columns are swapped: rank the index for each query."
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(index, axis=1))
    if np.allclose(shares, [_recall(scores / lengths, k) for k in (1, 4)]):
        return "that ranks by cosine; the task says dot product, so do not normalise."
    return (
        f"on a small example recall@4 is {wanted[1]:.2f}, your function says "
        f"{shares[1]:.2f}."
    )


@exercise("12.3", "The word is in the vector; the cosine gives it little weight.")
def _negation(answer: float) -> str | None:
    if not 0 <= answer <= 100:
        return "the answer is a percentage between 0 and 100."
    if 0 < answer <= 1:
        return "give a whole percent: 50, not 0.5."
    if answer >= 90:
        return None
    if 35 <= answer <= 65:
        return (
            "about half right is guessing: do the labels stand in the same order as "
            "the rows, first all plain, then all negated?"
        )
    if answer < 35:
        return "worse than guessing: the labels of the test are swapped."
    return (
        "there is more to find: regularise less (C=100), and take the same rows of "
        "plain and negated."
    )
