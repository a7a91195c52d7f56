"""Memory kept during a training comes back after it, and pages are not asked anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.loop.allocator import _glibc

if not sys.platform.startswith("linux") or _glibc() is None:
    pytest.skip("only glibc gives memory back in between", allow_module_level=True)

# In a process of its own: what a heap looks like depends on all that came before.
PROGRAM = """
import contextlib, json, psutil, resource, torch
from helpers.loop.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(12 * 2**20)  # 48 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return psutil.Process().memory_info().rss / 2**20

found = {"outside": faults(), "before": resident()}
with contextlib.suppress(RuntimeError), keep_freed_memory():
    with keep_freed_memory():
        faults()
    found["inside"], found["held"] = faults(), resident()
    raise RuntimeError
found["after"] = resident()
print(json.dumps(found))
"""


def test_freed_memory_is_used_again_and_given_back_even_after_an_error() -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["inside"] < found["outside"] / 3
    assert found["held"] > found["before"] + 40
    assert found["after"] < found["before"] + 10
