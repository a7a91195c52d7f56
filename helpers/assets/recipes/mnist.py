"""MNIST: from a pickle of floats back to the four official files torchvision reads."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from ..manifest import Asset
from ..unpickle import load_arrays

if TYPE_CHECKING:
    import numpy as np


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``raw/*-ubyte``; the pickle's 50,000 + 10,000 digits are the 60,000."""
    import numpy as np

    with gzip.open(source / asset.files[0].path) as file:
        parts = load_arrays(file)
    (train_x, train_y), (valid_x, valid_y), (test_x, test_y) = parts
    raw = target / "raw"
    raw.mkdir(parents=True)
    _write(raw, "train", np.concatenate([train_x, valid_x]), [*train_y, *valid_y])
    _write(raw, "t10k", test_x, list(test_y))


def _write(raw: Path, name: str, pixels: np.ndarray, labels: list[int]) -> None:
    """IDX format: magic number, sizes (big-endian), then one byte a value."""
    import numpy as np

    # The pickle holds byte / 256; both steps are exact in float32.
    images = np.rint(pixels * 256).astype(np.uint8)
    digits = np.asarray(labels, dtype=np.uint8)
    header = struct.pack(">IIII", 0x803, len(images), 28, 28)
    (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = struct.pack(">II", 0x801, len(digits))
    (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + digits.tobytes())
