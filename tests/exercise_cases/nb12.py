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
            _sha1(OTHER),
            _sha1(USE_4 + "/"),
            _sha1(USE_4.removeprefix("https://")),
            hashlib.sha256(USE_4.encode()).hexdigest(),
            hashlib.md5(USE_4.encode()).hexdigest(),
            "google/universal-sentence-encoder/4",
            _sha1(USE_4).upper(),
            _sha1("universal-sentence-encoder/4"),
        ],
    ),
    "12.2": Case(
        solution=lambda: _function(),
        mistakes=[
            lambda: _function(reduce=np.sum),
            lambda: _function(reduce=lambda hits: 100 * hits.mean()),
            lambda: _function(reduce=lambda hits: hits),
            lambda: _function(keep=1),
            lambda: _function(sign=1),
            lambda: _function(swap=True),
            lambda: _function(unit=True),
            lambda: _precision,
            0.6,
        ],
    ),
    "12.3": Case(solution=100, mistakes=[50, 0.97, 20, 80, 250]),
}
