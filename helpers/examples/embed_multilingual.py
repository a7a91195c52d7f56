"""Sentences of any language to vectors, in a process of its own. Used in notebook 02.

python -m helpers.examples.embed_multilingual VECTORS.npy < SENTENCES.txt

TensorFlow and PyTorch in one process cost twice the memory and may fight over threads.
So a notebook that runs on PyTorch starts this program and reads the file it leaves.
"""

from __future__ import annotations

import sys

import numpy as np

import helpers


def main() -> None:
    """Read one sentence a line from standard input, write (n, 512) float32 vectors."""
    helpers.require("use-multilingual-3")
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401 (the module needs its tokenizer)

    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sentences = sys.stdin.read().splitlines()
    embed = hub.load(
        "https://tfhub.dev/google/universal-sentence-encoder-multilingual/3"
    )
    np.save(sys.argv[1], embed(sentences).numpy())


if __name__ == "__main__":
    main()
