"""Other machines, played by this one: threads, instruction sets, and jitter.

A number that a training made differs between processors in its last digits, or more.
Each variant makes this machine add numbers in another order, or round them otherwise,
as another machine would; what moves under them is what a learner will see move.
"""

from __future__ import annotations

import platform
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SAVING", "TESTED", "VARIANTS", "Variant", "another", "variant"]


@dataclass(frozen=True)
class Variant:
    """One way to run the notebooks.

    Attributes:
        name: as in ``make test VARIANT=name``.
        threads: of torch, TensorFlow and the numeric libraries.
        environment: variables that limit the libraries' instruction sets.
        jitter: (seed, size) of the relative noise put on the weights after each
            optimizer step, or None.
        startup: a program that a kernel runs before the first cell, or None.
    """

    name: str
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    jitter: tuple[int, float] | None = None
    startup: Path | None = None

    def variables(self) -> dict[str, str]:
        """The environment of a kernel that plays this variant."""
        threads = str(self.threads)
        found = {"COURSE_THREADS": threads, "OMP_NUM_THREADS": threads}
        found |= {"OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if self.jitter is not None:
            found["COURSE_JITTER"] = "{}:{}".format(*self.jitter)
        return found | dict(self.environment)


# The switches of x86 processors; elsewhere torch would warn of values it does not know.
_X86 = platform.machine().lower() in ("x86_64", "amd64")
_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
_BASELINE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
}
# 1e-7 is the rounding of one float32 operation; 1e-6 a machine further away.
_PLAYED = (
    Variant("two-threads", threads=2),
    Variant("one-thread"),
    Variant("avx2", threads=2, environment=_AVX2 if _X86 else {}),
    Variant("baseline", environment=_BASELINE if _X86 else {}),
    Variant("jitter-1", jitter=(1, 1e-7)),
    Variant("jitter-2", jitter=(2, 1e-7)),
    Variant("jitter-3", jitter=(3, 1e-6)),
    Variant("jitter-4", jitter=(4, 1e-6)),
)
VARIANTS: Mapping[str, Variant] = {played.name: played for played in _PLAYED}
SAVING = VARIANTS["two-threads"]
"""The variant whose outputs are committed."""
TESTED = VARIANTS["one-thread"]
"""The variant of `make test`: kernels side by side, one thread each."""


def variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant {name!r}: use one of {', '.join(VARIANTS)}.")
    return VARIANTS[name]


def another(turn: int) -> Variant:
    """One of the variants that do not save, by ``turn``: over time all of them."""
    others = [played for played in _PLAYED if played is not SAVING]
    # Not turn % 7: a job that runs once a week would always get the same.
    return others[zlib.crc32(str(turn).encode()) % len(others)]
