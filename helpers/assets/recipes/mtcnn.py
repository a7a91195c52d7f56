"""MTCNN, three small networks that find faces: from Keras arrays to PyTorch's layout.

Zhang et al. 2016, doi:10.1109/LSP.2016.2603342. Each network becomes one file of
safetensors, so that `load_state_dict` accepts it for modules of these names:

    pnet  conv1 prelu1 pool1(2) conv2 prelu2 conv3 prelu3, then box (4) and face (2),
          1 x 1 convolutions: any height and width from 12 on, a cell every 2 pixels
    rnet  conv1 prelu1 pool1(3) conv2 prelu2 pool2(3) conv3 (2 x 2) prelu3, flatten(1),
          fc prelu4, then box and face, linear: 24 x 24 pixels
    onet  conv1 prelu1 pool1(3) conv2 prelu2 pool2(3) conv3 prelu3 pool3(2)
          conv4 (2 x 2) prelu4, flatten(1), fc prelu5, then box, points (10) and face,
          linear: 48 x 48 pixels

Convolutions are 3 x 3 where nothing is said, without padding, stride 1. Pools have
stride 2 and ``ceil_mode=True`` (TensorFlow's "same" padding gives the same numbers at
these sizes). PReLU has one slope a channel.

Inputs are RGB, (value - 127.5) / 128, with height before width as usual. The package
flattens as (width, height, channel), which the networks have from MATLAB; here the
columns of ``fc`` are in the order of torch's flatten: channel, height, width.

Outputs: ``face`` gives scores before the softmax, of "none" and "face". ``box`` moves
x1, y1, x2, y2 by that share of the box's width and height. ``points`` are five x, then
five y, as shares of the box: left eye, right eye, nose, left and right corner of the
mouth (left and right as one sees them).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArchiveError
from ..manifest import Asset
from ..unpickle import load_joblib_arrays

if TYPE_CHECKING:
    import numpy as np

# Keras lists a layer's kernel and bias, then the slopes of the PReLU behind it.
LAYERS = {
    "pnet": "conv1 prelu1 conv2 prelu2 conv3 prelu3 box face",
    "rnet": "conv1 prelu1 conv2 prelu2 conv3 prelu3 fc prelu4 box face",
    "onet": "conv1 prelu1 conv2 prelu2 conv3 prelu3 conv4 prelu4 fc prelu5 "
    "box points face",
}


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write ``pnet.safetensors``, ``rnet.safetensors`` and ``onet.safetensors``."""
    import lz4.frame
    from safetensors.numpy import save_file

    target.mkdir()
    for name, layers in LAYERS.items():
        data = lz4.frame.decompress((source / f"{name}.lz4").read_bytes())
        arrays = load_joblib_arrays(io.BytesIO(data))
        try:
            weights = rename(arrays, layers.split())
        except ValueError as error:
            raise ArchiveError(f"{asset.id}: {name}.lz4 holds {error}.") from error
        save_file(weights, target / f"{name}.safetensors", metadata={"format": "pt"})


def rename(arrays: list[np.ndarray], layers: list[str]) -> dict[str, np.ndarray]:
    """Keras's list of arrays -> {name of torch's parameter: array in torch's layout}.

    Raises ValueError if the arrays are not those of the layers.
    """
    import numpy as np

    # A convolution or a linear layer has two arrays.
    wanted = sum(1 if layer.startswith("prelu") else 2 for layer in layers)
    if len(arrays) != wanted:
        raise ValueError(f"{len(arrays)} arrays instead of {wanted}")
    left, weights = iter(arrays), {}
    channels = 0
    for layer in layers:
        array = next(left)
        if layer.startswith("prelu"):
            weights[f"{layer}.weight"] = array.reshape(-1)
            continue
        if array.ndim == 4:  # (height, width, in, out)
            channels = array.shape[3]
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim != 2:
            raise ValueError(f"{layer} as an array of shape {array.shape}")
        elif layer == "fc":
            array = array.T.reshape(array.shape[1], *_square(array, channels))
            array = array.transpose(0, 3, 2, 1).reshape(len(array), -1)
        else:
            array = array.T
        weights[f"{layer}.weight"] = array
        weights[f"{layer}.bias"] = next(left)
    return {name: np.ascontiguousarray(array) for name, array in weights.items()}


def _square(array: np.ndarray, channels: int) -> tuple[int, int, int]:
    """(width, height, channels) of the map that a fully connected layer flattens."""
    side = round((len(array) / channels) ** 0.5)
    if side * side * channels != len(array):
        raise ValueError(f"a layer of {len(array)} inputs for {channels} channels")
    return side, side, channels
