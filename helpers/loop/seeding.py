"""Seeds made from numbers, fast seeding, repeatable sums, and all of it given back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["deterministic_algorithms", "mix", "own_randomness", "reseed"]

# What torch itself accepts as making cuBLAS repeat its sums.
_CUBLAS = (":4096:8", ":16:8")


def mix(*numbers: int) -> int:
    """One 63-bit seed from several whole numbers (the mixer of splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & (2**64 - 1))) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return state >> 1


def reseed(seed: int) -> None:
    """Set Python's, NumPy's and torch's generators, in microseconds.

    ``torch.manual_seed`` walks through every backend and costs 0.1 ms on a CUDA build
    without a GPU, more than a small model's forward pass; hence the generators' own.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Whatever is seeded within, the caller's random numbers go on as before.

    Enter it after the model was placed: a GPU that starts within has no state to keep.
    """
    python, numbers = random.getstate(), np.random.get_state()
    on_cpu = torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    on_mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_rng_state(on_cpu)
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)
        if on_mps is not None:
            torch.mps.set_rng_state(on_mps)


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """Only algorithms that add in the same order every time; put back at the end.

    Raises:
        ValueError: cuBLAS was started with another setting, which it reads only once.
    """
    cublas = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if device.type == "cuda" and cublas not in _CUBLAS:
        raise ValueError(
            f"deterministic=True: CUBLAS_WORKSPACE_CONFIG is {cublas!r}, so sums on "
            "this GPU may differ from run to run. Restart the kernel and import "
            "helpers before CUDA is used, or set it to ':4096:8' before Python starts."
        )
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
