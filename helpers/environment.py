"""Where a notebook runs: cache folders, offline or online, seeds, threads, device."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import platform
import random
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal

from helpers.assets.paths import cache_root, data_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

__all__ = ["cache_root", "configure", "data_root", "device", "interactive", "online"]
__all__ += ["seed_everything", "setup"]

online: bool = os.environ.get("COURSE_ONLINE", "0") == "1"
"""True when COURSE_ONLINE=1 was set before Python started: downloads are allowed."""

# These read their folders and switches once, when they are imported.
_TOO_EARLY = ("huggingface_hub", "tensorflow_hub", "tensorflow")


def configure() -> None:
    """Point the frameworks to the course's caches; called by ``import helpers``.

    Raises:
        ImportError: a framework that reads its settings only once was imported first.
    """
    early = [name for name in _TOO_EARLY if name in sys.modules]
    root = cache_root()
    # Not HF_HOME: a saved login to the Hub lies there, and gated models ask for it.
    kept = ("hub", "assets", "xet", "modules")
    wanted = {f"HF_{k.upper()}_CACHE": str(root / "huggingface" / k) for k in kept}
    if early and any(os.environ.get(name) != wanted[name] for name in wanted):
        raise ImportError(
            f"{', '.join(early)} was imported before helpers and would look for models "
            "in the wrong folder. Restart the kernel and import helpers first."
        )
    os.environ["TORCH_HOME"] = str(root / "torch")
    os.environ.update(wanted)
    os.environ["TFHUB_CACHE_DIR"] = str(root / "tfhub")
    for switch in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[switch] = "0" if online else "1"
    if not online:
        # Nothing is downloaded, and a bar for half a second of loading is litter.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # torchao, which transformers imports, calls what torch will refuse one day.
    pytree = logging.getLogger("torch.utils._pytree")
    pytree.addFilter(lambda record: "is an Enum subclass" not in str(record.msg))
    # Waiting OpenMP threads that spin cost a busy two-core machine a factor of ten.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # For fit(deterministic=True); cuBLAS reads it once, when CUDA starts.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def interactive() -> bool:
    """False when COURSE_INTERACTIVE=0: no progress bars, widgets as still pictures."""
    return os.environ.get("COURSE_INTERACTIVE", "1") != "0"


def device() -> torch.device:
    """The device that ``fit`` uses by default: CUDA, else Apple's MPS, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def seed_everything(seed: int, framework: str = "torch") -> None:
    """Seed Python, NumPy and one framework ("torch" or "tensorflow").

    Raises:
        ValueError: ``framework`` is another one.
    """
    import numpy as np

    if framework not in ("torch", "tensorflow"):
        raise ValueError(f"framework={framework!r}: use 'torch' or 'tensorflow'.")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if framework == "torch":
        import torch

        torch.manual_seed(seed)
    else:
        _tensorflow().random.set_seed(seed)


def setup(
    seed: int = 0,
    *,
    needs: Iterable[str] = (),
    framework: Literal["torch", "tensorflow"] = "torch",
) -> None:
    """Make a notebook reproducible and print one line that says where it runs.

    Args:
        seed: seeds Python's, NumPy's and the framework's random numbers.
        needs: ids of the assets this notebook reads, as in ``helpers fetch --list``.
        framework: the one that is seeded and reported; the other is not imported.

    Raises:
        MissingAsset: one of ``needs`` is not there; the message names the command.
        ValueError: COURSE_THREADS is not a positive whole number, or ``framework`` is
            another one.
    """
    from helpers.assets import require

    for asset in needs:
        require(asset)
    threads = _threads_wanted()
    seed_everything(seed, framework)
    # tensorflow-hub's import warns about pkg_resources with a path of the machine.
    warnings.filterwarnings("ignore", message=".*pkg_resources.*")
    where = _torch_line(threads) if framework == "torch" else _tensorflow_line(threads)
    mode = "online" if online else "offline (COURSE_ONLINE=1 before starting: online)"
    print(f"Python {platform.python_version()} · {where} · {mode}")


def _threads_wanted() -> int | None:
    text = os.environ.get("COURSE_THREADS")
    if text is None:
        return None
    threads = whole_number(text)
    if threads is None:
        raise ValueError(f"COURSE_THREADS={text!r}: give a whole number of threads.")
    return threads


def whole_number(text: str) -> int | None:
    """The number that a setting's ``text`` means, None unless whole and at least 1."""
    return int(text) if text.isdecimal() and int(text) >= 1 else None


def _torch_line(threads: int | None) -> str:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = device()
    name = "cpu" if chosen.type == "cpu" else str(chosen)
    if chosen.type == "cuda":
        name = torch.cuda.get_device_name(chosen)
    version = torch.__version__.split("+")[0]
    return f"torch {version} · {name}, {torch.get_num_threads()} threads"


@contextlib.contextmanager
def _without_native_stderr() -> Iterator[None]:
    """Hide what compiled code writes; Python's own errors and warnings still show.

    TensorFlow greets with lines about CUDA before any setting of its own is read.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _tensorflow() -> Any:
    # Loaded after TensorFlow, Triton's library kills Python without a word, and torch's
    # optimizers, torchvision and transformers load it. Not every system has it.
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")
    with _without_native_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")
    return tf


def _tensorflow_line(threads: int | None) -> str:
    tf = _tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    name = f"{len(gpus)} GPU" if gpus else f"cpu, {threads or os.cpu_count()} threads"
    return f"tensorflow {tf.__version__} · {name}"
