"""A disk that refuses, processes that are killed, and processes that race."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from helpers.assets import store, verify
from helpers.assets.paths import command
from helpers.files import remove_leftovers
from tests.made_up_assets import World, inner_files, write_wheel

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("name", ["fsync", "replace", "rename", "mkdir"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EROFS, "COURSE_CACHE"),
        (errno.EACCES, "COURSE_CACHE"),
        (errno.EIO, "alpha"),
    ],
)
def test_a_disk_that_refuses_leaves_nothing_half_installed(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        error = world.fetch_alpha()
    assert words in str(error)
    assert command("fetch", "alpha") in str(error)
    assert world.state("alpha") == "missing"
    assert not list(world.root.glob("staging/*"))
    assert world.fetch_alpha() is None
    assert world.contents("alpha") == world.files["alpha"]


def test_a_full_disk_while_unpacking(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipExtFile, "read", full)
        assert "is full" in str(world.fetch_alpha())
    world.assert_nothing_left()


def test_a_cache_that_cannot_be_made_names_the_remedy(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.root.write_text("a file where the cache folder should be")
    assert command("fetch", "alpha") in str(world.fetch_alpha())


def test_an_intact_read_only_cache_can_be_used_and_verified(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.fetch_alpha() is None

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "replace", "rename", "rmdir"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr("helpers.assets.store.FileLock", refuse)
    assert world.fetch_alpha() is None
    assert verify(world.asset("alpha"), world.root) == []


KILLED_AT = """
import os, signal
left = [{step}]
def deadly(function, before):
    def call(*args, **options):
        left[0] -= 1
        if left[0] == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*args, **options)
        finally:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    return call
for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
    setattr(os, name, deadly(getattr(os, name), {before}))
report = fetch(["alpha"], source=stick, root=root, manifest=manifest)
sys.exit(0 if not report.failed else 3)
"""


@posix_only
@pytest.mark.parametrize("before", [True, False])
def test_kill_9_at_every_step_leaves_old_new_or_nothing(
    world: World, before: bool
) -> None:
    """Die at the first, second, … change on disk, until a run gets through."""
    kills = 0
    for step in range(1, 60):
        # Each round replaces an installed older revision with a newer one.
        world.files["alpha"] = old = inner_files(f"old {step}")
        write_wheel(world.wheel("alpha"), "alpha", old)
        world.write_manifest()
        assert world.fetch_alpha() is None
        world.files["alpha"] = new = inner_files(f"new {step}", count=4)
        write_wheel(world.wheel("alpha"), "alpha", new)
        world.write_manifest()
        process = world.run(KILLED_AT.format(step=step, before=before))
        _, errors = process.communicate(timeout=60)
        found = world.contents("alpha")
        assert found in (None, old, new)
        if process.returncode == 0:
            assert (world.state("alpha"), found) == ("installed", new)
            break
        assert process.returncode == -signal.SIGKILL, errors
        kills += 1
        if world.state("alpha") == "installed":
            assert found == new
        assert world.fetch_alpha() is None
        assert world.contents("alpha") == new
        assert not list(world.root.glob("staging/*"))
    else:
        pytest.fail("no run got through")
    assert kills >= 8


RACER = """
import os, time
recipe = types.ModuleType("helpers.assets.recipes.slow")
def build(asset, source, target):
    with (root.parent / "builds.txt").open("a") as log:
        log.write(asset.id + "\\n")
    time.sleep(0.3)
    os.rename(source, target)
recipe.build = build
sys.modules[recipe.__name__] = recipe
(root.parent / f"ready{os.getpid()}").touch()
while not (root.parent / "go").exists():
    time.sleep(0.01)
report = fetch(source=stick, root=root, manifest=manifest)
print(len(report.installed), len(report.already), len(report.failed))
"""


def test_processes_that_fetch_at_once_build_each_asset_once(world: World) -> None:
    world.write_manifest(recipe="slow")
    racers = [world.run(RACER) for _ in range(3)]
    while len(list(world.root.parent.glob("ready*"))) < 3:
        assert all(racer.poll() is None for racer in racers)
    (world.root.parent / "go").touch()
    counts = []
    for racer in racers:
        output, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors
        counts.append([int(word) for word in output.splitlines()[-1].split()])
    assert [sum(column) for column in zip(*counts, strict=True)] == [2, 4, 0]
    built = (world.root.parent / "builds.txt").read_text().split()
    assert sorted(built) == ["alpha", "beta"]
    assert world.contents("alpha") == world.files["alpha"]
    assert world.contents("beta") == world.files["beta"]


def test_a_process_that_ends_pulls_no_folder_away_from_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp

    def late(**options: Any) -> str:
        # Between the two steps of this process another one ends, and one begins.
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "mkdtemp", make)
            with store.staging(world.asset("beta"), world.root):
                pass
        remove_leftovers(world.root / "staging", "*")
        return make(**options)

    monkeypatch.setattr(tempfile, "mkdtemp", late)
    assert world.fetch_alpha() is None
    assert world.contents("alpha") == world.files["alpha"]


def test_a_failing_recipe_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any, __: Path, target: Path) -> None:
        target.mkdir()
        (target / "half.bin").write_bytes(b"half")
        raise ZeroDivisionError

    monkeypatch.setattr("helpers.assets.recipes.place.build", broken)
    with pytest.raises(ZeroDivisionError):
        world.fetch_alpha()
    world.assert_nothing_left()
