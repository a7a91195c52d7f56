"""Memory kept during a training comes back after it, and pages are not asked anew."""

from __future__ import annotations

import sys

import psutil
import pytest
import torch

from helpers.allocator import _glibc, keep_freed_memory

if not sys.platform.startswith("linux") or _glibc() is None:
    pytest.skip("only glibc gives memory back in between", allow_module_level=True)

MIB = 2**20


def faults(rounds: int = 8, size: int = 48 * MIB) -> int:
    """Page faults of writing to so many new tensors of ``size`` bytes in a row."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(size // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return psutil.Process().memory_info().rss


def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    outside = faults()
    before = resident()
    with keep_freed_memory():
        faults()
        assert faults() < outside / 3
        assert resident() > before + 40 * MIB
    assert resident() < before + 10 * MIB
    assert faults() > outside / 2


def test_nested_use_ends_with_the_outermost_also_after_an_error() -> None:
    outside, before = faults(), resident()
    with pytest.raises(RuntimeError, match="mine"), keep_freed_memory():
        with keep_freed_memory():
            faults()
        assert faults() < outside / 3
        raise RuntimeError("mine")
    assert resident() < before + 10 * MIB
    assert faults() > outside / 2
