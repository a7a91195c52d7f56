"""Fetching: what arrives, what is refused, and what an interruption leaves."""

from __future__ import annotations

import errno
import importlib
import json
import os
import random
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.assets import ArchiveError, ManifestError, verify
from helpers.assets.fetch import fetch
from helpers.assets.paths import command
from tests.made_up_assets import REPOSITORY, World, entry, sha256, write_wheel

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_fetch_installs_and_the_second_call_does_nothing(world: World) -> None:
    first = fetch(source=world.stick, root=world.root, manifest=world.manifest)
    assert first.installed == ["alpha", "beta"]
    assert world.contents("alpha") == world.files["alpha"]
    # Without any archive left, a second call still succeeds.
    world.wheel("alpha").unlink()
    second = fetch(source=world.stick, root=world.root, manifest=world.manifest)
    assert (second.already, second.installed, second.failed) == (
        ["alpha", "beta"],
        [],
        {},
    )
    assert not list(world.root.glob("staging/*"))


def test_the_folder_of_archives_is_only_read(world: World) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.stick.iterdir()}
    assert world.fetch_alpha() is None
    assert {path: path.stat().st_mtime_ns for path in world.stick.iterdir()} == before


def test_one_bad_archive_does_not_stop_the_others(world: World) -> None:
    world.wheel("alpha").write_bytes(b"")
    report = fetch(source=world.stick, root=world.root, manifest=world.manifest)
    assert list(report.failed) == ["alpha"]
    assert report.installed == ["beta"]


@pytest.mark.parametrize("name", ["rename", "replace"])
def test_an_asset_that_a_kernel_has_open_names_the_kernel(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.fetch_alpha() is None
    next(world.place("alpha").iterdir()).unlink()
    move = getattr(os, name)

    def refused_as_on_windows(source: Path, target: Path) -> None:
        if world.place("alpha") in (Path(source), Path(target)):
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        move(source, target)

    monkeypatch.setattr(os, name, refused_as_on_windows)
    text = str(world.fetch_alpha())
    assert "alpha" in text and "Access is denied" in text
    assert "Shut down every kernel" in text
    assert "COURSE_CACHE" not in text
    monkeypatch.undo()
    assert world.fetch_alpha() is None
    assert world.contents("alpha") == world.files["alpha"]


def corrupt(world: World, chance: random.Random) -> str:
    """Damage alpha's archive in one of seven ways; the manifest may be fooled too."""
    wheel = world.wheel("alpha")
    data = bytearray(wheel.read_bytes())
    kind = chance.choice(
        ["flip", "flips", "truncate", "append", "empty", "swap", "inner", "fooled"]
    )
    if kind in ("flip", "flips"):
        for _ in range(1 if kind == "flip" else 20):
            position = chance.randrange(len(data))
            data[position] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del data[chance.randrange(len(data)) :]
    elif kind == "append":
        data += chance.randbytes(chance.randint(1, 50))
    elif kind == "empty":
        data.clear()
    elif kind == "swap":
        data = bytearray(world.wheel("beta").read_bytes())
    if kind not in ("inner", "fooled"):
        wheel.write_bytes(data)
        return kind
    files = dict(world.files["alpha"])
    name = chance.choice(list(files))
    content = bytearray(files[name])
    if chance.random() < 0.5:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        content = bytearray(chance.randbytes(chance.randint(0, 2 * len(content))))
    write_wheel(wheel, "alpha", files | {name: bytes(content)})
    if kind == "fooled":
        # As if the archive's hash had been replaced too: the inner hash must hold.
        world.write_manifest()
    return kind


def test_200_random_corruptions_are_refused(world: World) -> None:
    chance = random.Random(0)
    sound = world.wheel("alpha").read_bytes()
    refused: dict[str, int] = {}
    for _ in range(200):
        kind = corrupt(world, chance)
        assert world.wheel("alpha").read_bytes() != sound
        error = world.fetch_alpha()
        assert isinstance(error, ArchiveError), kind
        assert "alpha" in str(error)
        world.assert_nothing_left()
        refused[kind] = refused.get(kind, 0) + 1
        world.wheel("alpha").write_bytes(sound)
        world.write_manifest()
    assert sum(refused.values()) == 200
    assert len(refused) == 8
    assert world.fetch_alpha() is None


def test_a_refusal_leaves_what_was_installed_before(world: World) -> None:
    assert world.fetch_alpha() is None
    world.write_manifest(revision=2)
    world.wheel("alpha").write_bytes(b"damaged")
    assert isinstance(world.fetch_alpha(), ArchiveError)
    assert world.contents("alpha") == world.files["alpha"]


def test_a_refusal_names_file_expected_and_found_hash(world: World) -> None:
    expected = world.asset("alpha").sha256
    wheel = world.wheel("alpha")
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"!")
    message = str(world.fetch_alpha())
    assert wheel.name in message
    assert expected in message
    assert message.count("SHA-256") == 1
    assert command("fetch", "alpha") in message


@pytest.mark.parametrize(
    "member",
    [
        "../evil.txt",
        "alpha/../../evil.txt",
        "/evil/evil.txt",
        "C:/evil.txt",
        "C:evil.txt",
        "..\\evil.txt",
        "\\\\server\\evil.txt",
        "alpha/..",
    ],
)
def test_members_that_leave_the_folder_are_refused(world: World, member: str) -> None:
    write_wheel(world.wheel("alpha"), "alpha", world.files["alpha"], {member: b"evil"})
    world.write_manifest()
    error = world.fetch_alpha()
    assert isinstance(error, ArchiveError)
    assert "leave the target folder" in str(error)
    assert not list(world.root.parent.rglob("evil.txt"))
    world.assert_nothing_left()


def test_symbolic_links_and_duplicates_are_refused(world: World) -> None:
    with zipfile.ZipFile(world.wheel("alpha"), "a") as archive:
        link = zipfile.ZipInfo("alpha/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    world.write_manifest()
    assert "symbolic link" in str(world.fetch_alpha())
    write_wheel(world.wheel("alpha"), "alpha", world.files["alpha"])
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(world.wheel("alpha"), "a") as archive,
    ):
        archive.writestr("alpha/w0.bin", b"another")
    world.write_manifest()
    assert "twice" in str(world.fetch_alpha())
    world.assert_nothing_left()


def test_a_zip_bomb_is_refused_before_it_unpacks(world: World) -> None:
    files = world.files["alpha"]
    bomb = files | {"w0.bin": bytes(50_000_000)}
    write_wheel(world.wheel("alpha"), "alpha", bomb)
    world.write_manifest()
    assert "would unpack to 50,000,000 bytes" in str(world.fetch_alpha())
    # A member whose header lies about its size stops at the size it promised.
    data = world.wheel("alpha").read_bytes()
    lie = data.replace(
        (50_000_000).to_bytes(4, "little"), len(files["w0.bin"]).to_bytes(4, "little")
    )
    world.wheel("alpha").write_bytes(lie)
    world.write_manifest()
    assert isinstance(world.fetch_alpha(), ArchiveError)
    world.assert_nothing_left()


PATTERN = "part*/texts/en.json"


def with_pattern(world: World, files: dict[str, bytes], **changes: object) -> None:
    """Let alpha's wheel hold ``files``; the manifest lists those of PATTERN as one."""
    write_wheel(world.wheel("alpha"), "alpha", files)
    meant = {path: data for path, data in files.items() if path.endswith("/en.json")}
    lines = "".join(f"{sha256(meant[path])}  {path}\n" for path in sorted(meant))
    row: dict[str, object] = {"path": PATTERN, "count": len(meant)}
    row |= {"size": sum(map(len, meant.values())), "sha256": sha256(lines.encode())}
    row |= changes
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in row.items())
    table = entry("alpha", world.wheel("alpha").read_bytes(), {})
    world.manifest.write_text(table.replace("files = []", f"files = [{{ {fields} }}]"))


PARTS = {
    "part2/texts/en.json": b'{"a": 1}',
    "part10/texts/en.json": b'{"b": 22}',
    "part2/texts/de.json": b"{}",
}


def test_files_that_fit_a_pattern_are_taken_out_together(world: World) -> None:
    with_pattern(world, PARTS)
    assert world.fetch_alpha() is None
    place = world.place("alpha")
    found = {path.relative_to(place) for path in place.rglob("*.json")}
    assert found == {Path(path) for path in PARTS if path.endswith("en.json")}
    assert (place / "part2/texts/en.json").read_bytes() == b'{"a": 1}'


@pytest.mark.parametrize(
    ("files", "changes", "complaint"),
    [
        (PARTS, {"count": 3}, "2 files of the archive fit 'alpha/part"),
        (PARTS, {"count": 3}, "instead of 3"),
        (PARTS, {"size": 3}, "would unpack to 17 bytes instead of 3"),
        (PARTS, {"sha256": "0" * 64}, f"expected SHA-256 {'0' * 64}, found"),
        ({"de.json": b"{}"}, {"count": 1}, f"lacks the file 'alpha/{PATTERN}'"),
    ],
)
def test_other_files_than_those_of_the_pattern_are_refused(
    world: World, files: dict[str, bytes], changes: dict[str, object], complaint: str
) -> None:
    with_pattern(world, files, **changes)
    error = world.fetch_alpha()
    assert isinstance(error, ArchiveError)
    assert complaint in str(error)
    world.assert_nothing_left()


def test_a_file_of_a_pattern_that_was_renamed_is_noticed(world: World) -> None:
    with_pattern(world, PARTS)
    (row,) = re.findall(r"files = .*", world.manifest.read_text())
    renamed = {path.replace("10", "11"): data for path, data in PARTS.items()}
    with_pattern(world, renamed)
    text = re.sub(r"files = .*", lambda _: row, world.manifest.read_text())
    world.manifest.write_text(text)
    assert "is not the one the manifest lists" in str(world.fetch_alpha())
    world.assert_nothing_left()


def test_installed_damage_is_found_and_mended(world: World) -> None:
    assert world.fetch_alpha() is None
    asset, chance = world.asset("alpha"), random.Random(1)
    for _ in range(10):
        victim = chance.choice(sorted(world.place("alpha").iterdir()))
        data = bytearray(victim.read_bytes())
        data[chance.randrange(len(data))] ^= 1
        victim.write_bytes(data)
        assert world.state("alpha") == "installed"  # the quick look sees sizes only
        assert verify(asset, world.root) == [victim.name]
        assert world.state("alpha") == "damaged"
        assert world.fetch_alpha() is None
        assert world.state("alpha") == "installed"
        assert verify(asset, world.root) == []
        assert world.contents("alpha") == world.files["alpha"]


def test_a_missing_or_shortened_file_shows_at_once(world: World) -> None:
    assert world.fetch_alpha() is None
    (world.place("alpha") / "w0.bin").write_bytes(b"short")
    assert world.state("alpha") == "damaged"
    assert world.fetch_alpha() is None
    (world.place("alpha") / "w0.bin").unlink()
    assert world.state("alpha") == "damaged"
    assert world.fetch_alpha() is None
    assert world.contents("alpha") == world.files["alpha"]


def test_a_broken_marker_counts_as_missing(world: World) -> None:
    assert world.fetch_alpha() is None
    marker = world.root / "state" / "alpha.json"
    for text in ("", "{", "[]", "null", '{"fingerprint": 3}', '{"fingerprint": "x"}'):
        marker.write_text(text)
        assert world.state("alpha") == "missing"
    assert world.fetch_alpha() is None
    assert world.state("alpha") == "installed"


def test_a_new_revision_is_installed_again(world: World) -> None:
    assert world.fetch_alpha() is None
    world.write_manifest(title="Another title")
    assert world.state("alpha") == "installed"
    world.write_manifest(revision=2)
    assert world.state("alpha") == "missing"
    assert world.fetch_alpha() is None
    assert world.state("alpha") == "installed"


def test_an_unexpected_conversion_is_refused(world: World) -> None:
    text = world.manifest.read_text()
    world.manifest.write_text(
        text.replace("[asset.beta]", f'expect."w0.bin" = "{"0" * 64}"\n[asset.beta]')
    )
    assert "than expected" in str(world.fetch_alpha())
    world.assert_nothing_left()


def test_an_unknown_recipe_is_a_clear_error(world: World) -> None:
    world.write_manifest(recipe="nonsense")
    error = world.fetch_alpha()
    assert isinstance(error, ManifestError)
    assert "no recipe 'nonsense'" in str(error)


@pytest.mark.parametrize("when", ["when imported", "when it runs"])
def test_a_recipe_without_its_package_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def lacking(*_: object) -> None:
        import no_such_package  # noqa: F401

    if when == "when it runs":
        recipe: object = SimpleNamespace(build=lacking)
        monkeypatch.setitem(sys.modules, "helpers.assets.recipes.lacking", recipe)
    else:
        load = importlib.import_module
        monkeypatch.setattr(
            importlib,
            "import_module",
            lambda name, *more: (lacking if "lacking" in name else load)(name, *more),
        )
    text = world.manifest.read_text().replace('"place"', '"lacking"', 1)
    world.manifest.write_text(text)
    report = fetch(source=world.stick, root=world.root, manifest=world.manifest)
    assert report.installed == ["beta"]
    message = str(report.failed["alpha"])
    assert "alpha: its recipe needs the package 'no_such_package'" in message
    assert "pip install -r" in message
    assert str(REPOSITORY / "requirements.txt") in message


def without(world: World, platform: str) -> None:
    """Describe alpha as one that does not work on ``platform``."""
    text = world.manifest.read_text()
    head = "[asset.alpha]\n"
    world.manifest.write_text(text.replace(head, f'{head}not_on = ["{platform}"]\n'))


def test_what_a_platform_lacks_is_left_out_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(world, "win32")
    monkeypatch.setattr(sys, "platform", "win32")
    places = {"source": world.stick, "root": world.root, "manifest": world.manifest}
    report = fetch(**places)
    assert (report.installed, report.failed) == (["beta"], {})
    # Somebody who asks for it by name learns why, and where it works.
    failed = fetch(["alpha"], **places).failed
    assert "Made-up alpha (alpha) does not work on win32" in str(failed["alpha"])
    assert "inside WSL" in str(failed["alpha"])
    monkeypatch.setattr(sys, "platform", "linux")
    assert fetch(**places).installed == ["alpha"]


def test_importing_assets_is_light() -> None:
    code = "import sys, helpers.assets as a; a.require; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "tensorflow", "transformers", "PIL", "numpy", "pandas"}
    assert not heavy & set(output)
