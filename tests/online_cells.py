"""Processes in which "Go bigger" cells run: online to helpers, each alone.

Cells on torch are forks of one process that has imported everything, which saves each
of them seconds. TensorFlow, and a system without forks, gets new processes.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

USE_4 = "https://tfhub.dev/google/universal-sentence-encoder/4"


def run_alone(
    work: Callable[..., None], *args: Any, log: Path, env: dict[str, str], warm: bool
) -> tuple[int | None, str]:
    """Call `work(*args)` in another process; its exit status and what it printed."""
    forks = warm and sys.platform == "linux"
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["tests.online_imports"])
    process = context.Process(target=_logged, args=(log, work, *args))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        process.start()
    process.join(timeout=300)
    process.kill()
    process.join()
    return process.exitcode, log.read_text(encoding="utf-8", errors="replace")


def _logged(log: Path, work: Callable[..., None], *args: Any) -> None:
    with log.open("w") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    work(*args)


def build(cache: Path) -> None:
    """Put the stand-ins on torch into `cache`."""
    from tests import stand_ins

    stand_ins.shrink()
    stand_ins.fill(cache)


def run_cell(cell: Path, folder: Path) -> None:
    """Run one cell by itself, in `folder`: no other cell came before it."""
    import tests.online_first  # noqa: F401

    tensorflow = uses_tensorflow(cell)
    if tensorflow:
        make_use_4(Path(os.environ["COURSE_CACHE"]))
    else:
        from tests import stand_ins

        stand_ins.shrink()
    os.chdir(folder)
    runpy.run_path(str(cell), run_name="__main__")
    if tensorflow:
        assert "torch" not in sys.modules


def uses_tensorflow(cell: Path) -> bool:
    return "import tensorflow" in cell.read_text(encoding="utf-8")


def make_use_4(cache: Path) -> None:
    """Stand in for USE 4: strings in, (n, 512) out."""
    import tensorflow as tf

    class Encoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts: Any) -> Any:
            numbers = tf.strings.to_hash_bucket_fast(texts, 1000)
            seeds = tf.cast(numbers, tf.float32)[:, None] + tf.range(512.0)
            return tf.math.l2_normalize(tf.sin(seeds), axis=1)

    place = cache / "tfhub" / hashlib.sha1(USE_4.encode()).hexdigest()
    tf.saved_model.save(Encoder(), str(place))
    place.with_name(f"{place.name}.descriptor.txt").write_text("stand-in")
