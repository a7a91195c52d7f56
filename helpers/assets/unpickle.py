"""Read a pickle that may hold NumPy arrays and plain containers, and nothing else."""

from __future__ import annotations

import gzip
import math
import pickle
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    # Python 2 pickles rebuild their bytes through this function.
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}; only NumPy arrays are read"
            )
        # NumPy 2 moved the module; the old name only warns.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays(file: BinaryIO | gzip.GzipFile) -> Any:
    """Unpickle arrays, tuples, lists, numbers and strings from ``file``.

    Raises pickle.UnpicklingError for anything else. Call it only after the hash of the
    file was checked: this is the second lock on the door, not the first.
    """
    return _ArraysOnly(file, encoding="latin1").load()


def load_joblib_arrays(file: BinaryIO) -> list[np.ndarray]:
    """Read the list of arrays that ``joblib.dump`` wrote (version 1.2 and later).

    joblib puts the raw numbers of each array behind the piece of pickle that describes
    it: one byte n, n bytes of padding, the numbers. joblib's own reader would import
    whatever the file names; this one knows the description as a stand-in, `_Described`.

    Args:
        file: the decompressed file, e.g. an ``io.BytesIO``.

    Raises:
        pickle.UnpicklingError: anything else is in the file, or it ends too early.
    """
    found = _JoblibArrays(file, encoding="latin1").load()
    if not isinstance(found, list):
        raise pickle.UnpicklingError(f"a list of arrays was expected, not {found!r}")
    arrays = []
    for item in found:
        if not isinstance(item, _Described):
            raise pickle.UnpicklingError(f"an array was expected, not {item!r}")
        arrays.append(item.array)
    return arrays


class _Described:
    """Stands for one array; reads its numbers when its description is complete."""

    file: BinaryIO
    array: np.ndarray

    def __setstate__(self, state: dict[str, Any]) -> None:
        import numpy as np

        dtype, shape, order = np.dtype(state["dtype"]), state["shape"], state["order"]
        if dtype.hasobject or "numpy_array_alignment_bytes" not in state:
            raise pickle.UnpicklingError(f"an array of {dtype} cannot be read")
        self.file.read(self.file.read(1)[0])
        size = math.prod(shape) * dtype.itemsize
        data = self.file.read(size)
        if len(data) != size:
            raise pickle.UnpicklingError("the file ends inside an array")
        self.array = np.frombuffer(data, dtype).reshape(shape, order=order)


class _JoblibArrays(_ArraysOnly):
    def __init__(self, file: BinaryIO, **options: Any) -> None:
        super().__init__(file, **options)
        # A class for this file alone: the pickle makes the objects, without arguments.
        self.described = type("_Described", (_Described,), {"file": file})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return self.described
        return super().find_class(module, name)
