"""Solutions and typical mistakes of notebook 12."""

from __future__ import annotations

import hashlib

import numpy as np

from tests.exercise_cases import Case

USE_4 = "https://tfhub.dev/google/universal-sentence-encoder/4"
OTHER = "https://tfhub.dev/google/universal-sentence-encoder-multilingual/3"


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _recall(queries, index, k, *, sign=-1, keep=None, swap=False, unit=False):
    if unit:
        queries, index = (
            x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, index)
        )
    scores = queries @ index.T
    best = (sign * (scores.T if swap else scores)).argsort(axis=1)[:, : keep or k]
    return (best == np.arange(len(queries))[:, None]).any(axis=1)


def _function(reduce=np.mean, **options):
    return lambda queries, index, k: reduce(_recall(queries, index, k, **options))


def _precision(queries, index, k):
    return _recall(queries, index, k).mean() / k


CASES = {
    "12.1": Case(
        solution=_sha1(USE_4),
        mistakes=[
            (_sha1(OTHER), "that is the folder of section"),
            (_sha1(USE_4 + "/"), "one character too many"),
            (_sha1(USE_4.removeprefix("https://")), "the address begins with"),
            (
                hashlib.sha256(USE_4.encode()).hexdigest(),
                "a SHA-1 has 40 hexadecimal digits, this answer has 64",
            ),
            (
                hashlib.md5(USE_4.encode()).hexdigest(),
                "a SHA-1 has 40 hexadecimal digits, this answer has 32",
            ),
            ("google/universal-sentence-encoder/4", "that is the address itself"),
            (_sha1(USE_4).upper(), "right digits, but hub.load"),
            (_sha1("universal-sentence-encoder/4"), "40 digits, but of another"),
        ],
    ),
    "12.2": Case(
        solution=lambda: _function(),
        mistakes=[
            (lambda: _function(reduce=np.sum), "that counts the rows; divide"),
            (
                lambda: _function(reduce=lambda hits: 100 * hits.mean()),
                "a share lies between 0",
            ),
            (lambda: _function(reduce=lambda hits: hits), "return one number, not"),
            (lambda: _function(keep=1), "k makes no difference"),
            (lambda: _function(sign=1), "these are the k smallest"),
            (lambda: _function(swap=True), "rows and columns are swapped"),
            (lambda: _function(unit=True), "that ranks by cosine; the"),
            (lambda: _precision, "you divide by n * k: each"),
            (0.6, "the answer is a function"),
        ],
    ),
    "12.3": Case(
        solution=100,
        mistakes=[
            (50, "about half right is guessing"),
            (0.97, "give a whole percent: 50"),
            (20, "worse than guessing: the"),
            (80, "there is more to find"),
            (250, "the answer is a percentage"),
        ],
    ),
}
