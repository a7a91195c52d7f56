"""Google's multilingual universal sentence encoder as a TensorFlow SavedModel.

Strings go in, vectors of length one come out, as in Google's own module: the
SentencePiece tokenizer is part of the graph. Architecture (Yang et al., 2019,
"Multilingual Universal Sentence Encoder", the convolutional model): token embeddings,
two convolutions over 2, 3 and 5 tokens each, the sum over tokens divided by the square
root of their number, and a small residual network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..manifest import Asset
from . import separate
from .card import write_card

CHUNK = 128  # sentences encoded at a time, which bounds the memory
CHUNKS = 17  # blocks of the embedding table: row i is in block i % 17
WIDTHS = {2: 0, 3: 1, 5: 2}  # {tokens a convolution sees: how many are to the left}


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write the SavedModel folder that ``hub.load`` finds, and its card."""
    needs = ("tensorflow", "tensorflow_text")
    separate.convert(asset, "universal_sentence_encoder", source, target, needs)
    write_card(asset, target)


def convert(source: Path, target: Path) -> None:
    """Read ``weights.npz`` and ``sp.model`` of ``source``; runs in its own process."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_text

    class Encoder(tf.Module):
        """(n,) strings -> (n, 512) float32."""

        def __init__(self, weights: Any, pieces: bytes) -> None:
            super().__init__()
            blocks = [weights[f"q{i + 1}"] for i in range(CHUNKS)]
            # (17, 7530, 512) -> (7530, 17, 512): row i of the table is block i % 17.
            table = np.stack(blocks, axis=1).reshape(-1, blocks[0].shape[1])
            # The six-bit codes stay bytes: a quarter of the memory, dequantised by row.
            self.table = tf.Variable(table, trainable=False, name="table")
            self.scale = tf.constant(weights["scale"])
            self.low = tf.constant(weights["lo"])
            self.epsilon = float(weights["eps"])
            skip = {"scale", "lo", "eps", "bits"}
            names = [n for n in weights.files if n not in skip and n[0] != "q"]
            self.parts = {n: tf.Variable(weights[n], name=n) for n in names}
            self.tokenizer = tensorflow_text.SentencepieceTokenizer(
                model=pieces, out_type=tf.int32, add_bos=True, add_eos=True
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
            tokens = self.tokenizer.tokenize(inputs)  # ragged (n, tokens)
            steps = (tf.shape(inputs)[0] + CHUNK - 1) // CHUNK
            vectors = tf.TensorArray(
                tf.float32, steps, element_shape=[None, 512], infer_shape=False
            )
            for i in tf.range(steps):
                tf.autograph.experimental.set_loop_options(parallel_iterations=1)
                some = tokens[i * CHUNK : (i + 1) * CHUNK]
                vectors = vectors.write(i, self.encode(some))
            return tf.ensure_shape(vectors.concat(), [None, 512])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def serve(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            """The named signature that Google's module offers beside the call."""
            return {"outputs": self(inputs)}

        def encode(self, tokens: tf.RaggedTensor) -> tf.Tensor:
            """Ragged (n, tokens) ids -> (n, 512)."""
            p = self.parts
            # All sentences lie in one row, two zero vectors apart: no convolution
            # looks further than two tokens, so none sees a neighbouring sentence.
            gap = tf.fill([tokens.nrows(out_type=tf.int32), 2], -1)
            spaced = tf.concat([tokens, gap], axis=1)
            ids = tf.maximum(spaced.flat_values, 0)
            real = tf.cast(spaced.flat_values >= 0, tf.float32)[:, None]

            codes = tf.cast(tf.gather(self.table, ids), tf.float32)
            scale = tf.gather(self.scale, ids % CHUNKS)[:, None]
            embedded = codes * scale + tf.gather(self.low, ids % CHUNKS)[:, None]
            features = [embedded]
            x = embedded @ self.joined("proj") + self.joined("proj_b")
            # One normalisation for the three branches together, as the packager has it.
            x = real * self.normalise(x, self.joined("ln_g"), self.joined("ln_b"))
            branches = tf.split(x, len(WIDTHS), axis=1)
            for (width, left), x in zip(WIDTHS.items(), branches, strict=True):
                for layer in (f"1_{width}", f"2_{width}"):
                    kernel = tf.reshape(p["w" + layer], [width, 256, 256])
                    padded = tf.pad(x, [[left, width - 1 - left], [0, 0]])
                    y = tf.nn.conv1d(padded[None], kernel, 1, "VALID")[0]
                    x = real * (x + tf.nn.relu(y + p["b" + layer]))
                features.append(x)
            x = real * self.normalise(tf.concat(features, 1), p["ln_g"], p["ln_b"])

            total = tf.reduce_sum(spaced.with_flat_values(x), axis=1)
            count = tf.cast(tokens.row_lengths(), tf.float32)[:, None]
            x = (total @ p["cnn_W"] + count * p["cnn_b"]) * tf.math.rsqrt(count)
            y = tf.nn.relu(x @ p["p1"] + tf.nn.relu(x @ p["d0"]) @ p["d1"])
            z = tf.tanh(y @ p["p3"] + tf.nn.relu(y @ p["d2"]) @ p["d3"])
            return tf.math.l2_normalize(z, axis=1, epsilon=self.epsilon)

        def joined(self, name: str) -> tf.Tensor:
            """The part called ``name`` of the three branches, side by side."""
            return tf.concat([self.parts[f"{name}{n}"] for n in WIDTHS], axis=-1)

        def normalise(self, x: tf.Tensor, gain: Any, bias: Any) -> tf.Tensor:
            """Layer normalisation over the last axis."""
            x -= tf.reduce_mean(x, -1, keepdims=True)
            variance = tf.reduce_mean(tf.square(x), -1, keepdims=True)
            return x * tf.math.rsqrt(variance + self.epsilon) * gain + bias

    weights = np.load(source / "weights.npz", allow_pickle=False)
    encoder = Encoder(weights, (source / "sp.model").read_bytes())
    tf.saved_model.save(encoder, str(target), {"serving_default": encoder.serve})


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
