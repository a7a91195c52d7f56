"""Read a pickle that may hold NumPy arrays and plain containers, and nothing else."""

from __future__ import annotations

import gzip
import pickle
from typing import Any, BinaryIO

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
