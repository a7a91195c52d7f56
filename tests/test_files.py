"""Leftovers of dead processes are removed; what somebody writes now is kept."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.files import remove_leftovers, replacing, temporary_prefix

DEAD = 999_999_999


@pytest.fixture
def left_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that leaves a half-written file as that process on that host would."""
    unfinished = []

    def leave(pid: int, host: str = "", seconds_ago: float = 0) -> Path:
        with monkeypatch.context() as there:
            there.setattr(os, "getpid", lambda: pid)
            if host:
                there.setattr(socket, "gethostname", lambda: host)
            writing = replacing(tmp_path / f"file-{pid}")
            temporary = writing.__enter__()
        unfinished.append(writing)
        temporary.write_text("half")
        then = time.time() - seconds_ago
        os.utime(temporary, (then, then))
        return temporary

    return leave


def test_a_file_that_another_host_is_writing_is_kept(
    tmp_path: Path, left_by: Callable[..., Path]
) -> None:
    temporary = left_by(DEAD, host="node-7.cluster")
    remove_leftovers(tmp_path)
    assert temporary.exists()


def test_what_another_host_left_long_ago_is_removed(
    tmp_path: Path, left_by: Callable[..., Path]
) -> None:
    left_by(os.getpid(), host="node-7", seconds_ago=2 * 24 * 60 * 60)
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_dead_process_left_is_removed_and_a_living_ones_work_stays(
    tmp_path: Path, left_by: Callable[..., Path]
) -> None:
    living = {left_by(os.getpid()), left_by(os.getppid())}
    left_by(DEAD)
    work = tmp_path / f"{temporary_prefix('alpha')}x"
    gone = tmp_path / work.name.replace(str(os.getpid()), str(DEAD))
    for folder in (work, gone):
        (folder / "inside").mkdir(parents=True)
    ours = tmp_path / "someone@example.org"
    ours.touch()
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == living | {work, gone, ours}
    remove_leftovers(tmp_path, "*")
    assert set(tmp_path.iterdir()) == living | {work, ours}


def test_a_process_that_was_given_a_dead_ones_number_is_not_its_writer(
    tmp_path: Path, left_by: Callable[..., Path]
) -> None:
    left_by(os.getpid(), seconds_ago=24 * 60 * 60)
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no zombies")
def test_a_killed_process_nobody_waited_for_is_dead(
    tmp_path: Path, left_by: Callable[..., Path]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        writing = left_by(process.pid)
        remove_leftovers(tmp_path)
        assert writing.exists()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        remove_leftovers(tmp_path)
        assert not writing.exists()
