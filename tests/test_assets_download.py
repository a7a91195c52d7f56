"""Downloading through pip: from a local index that behaves, stalls, lies or is gone."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.assets import ArchiveError, DownloadError, NoNetwork
from helpers.assets.fetch import Report, collect, fetch
from helpers.assets.paths import command
from tests.made_up_assets import World, inner_files, pip_settings, write_wheel


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.files["alpha"] = {"w0.bin": os.urandom(300_000), "w1.bin": b"small"}
    write_wheel(world.wheel("alpha"), "alpha", world.files["alpha"])
    world.write_manifest()
    return world


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> functools.partial[None]:
    """``only(PIP_…=…)``: pip sees these settings and no others."""

    def apply(**settings: str) -> None:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        for name, value in pip_settings(**settings).items():
            monkeypatch.setenv(name, value)

    return functools.partial(apply)


class Index(ThreadingHTTPServer):
    """A package index of one folder; ``mode`` says how it serves the wheels."""

    mode = "sound"
    sent = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.path.strip("/").removeprefix("simple").strip("/")
        if not name.endswith(".whl"):
            page = "".join(
                f'<a href="/simple/{wheel.name}">{wheel.name}</a>'
                for wheel in self.server.folder.glob(f"{name.replace('-', '_')}-*.whl")
            )
            self._reply(page.encode(), "text/html")
            return
        self._reply((self.server.folder / name).read_bytes(), "application/zip")

    def _reply(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if kind == "text/html" or self.server.mode == "sound":
            self.wfile.write(data)
            return
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.server.sent += 1
        if self.server.mode == "stalled":
            time.sleep(20)

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def index(world: World) -> Iterator[Index]:
    server = Index(world.stick)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def fetch_alpha(world: World) -> Report:
    return fetch(["alpha"], root=world.root, manifest=world.manifest)


def test_pip_brings_a_wheel_that_is_then_dropped(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    report = fetch_alpha(world)
    assert report.installed == ["alpha"], report.failed
    assert world.contents("alpha") == world.files["alpha"]
    assert not list(world.root.rglob("*.whl"))


def test_kept_archives_serve_again_without_network(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    fetch(["alpha"], root=world.root, manifest=world.manifest, keep_archives=True)
    (world.root / "state" / "alpha.json").unlink()
    only(PIP_NO_INDEX="1")
    assert fetch_alpha(world).installed == ["alpha"]


def test_an_unreachable_index_is_one_clear_line(
    world: World, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL="http://127.0.0.1:9/simple")
    report = fetch(root=world.root, manifest=world.manifest)
    error = report.failed["alpha"]
    assert isinstance(error, NoNetwork)
    assert "alpha" in str(error)
    assert "cannot reach the package index" in str(error)
    assert command("fetch", "alpha", "--from", "DIR") in str(error)
    assert "\n" not in str(error)
    # The second asset is not waited for.
    assert "not tried" in str(report.failed["beta"])
    world.assert_nothing_left()


def test_an_index_without_the_package(
    world: World, only: functools.partial[None]
) -> None:
    only(PIP_NO_INDEX="1")
    error = fetch_alpha(world).failed["alpha"]
    assert isinstance(error, DownloadError)
    assert "pip found no such package" in str(error)
    world.assert_nothing_left()


def test_another_file_under_the_same_name_is_refused(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    write_wheel(world.wheel("alpha"), "alpha", inner_files("changed"))
    error = fetch_alpha(world).failed["alpha"]
    assert isinstance(error, DownloadError)
    assert "another SHA-256" in str(error)
    world.assert_nothing_left()


def test_a_transfer_that_breaks_off_leaves_nothing_and_starts_again(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    index.mode = "broken off"
    error = fetch_alpha(world).failed["alpha"]
    assert isinstance(error, DownloadError)
    assert index.sent
    world.assert_nothing_left()
    index.mode = "sound"
    assert fetch_alpha(world).installed == ["alpha"]
    assert world.contents("alpha") == world.files["alpha"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_kill_9_during_a_download_then_again(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    index.mode = "stalled"
    process = world.run(
        "fetch(['alpha'], root=root, manifest=manifest)", start_new_session=True
    )
    while not index.sent:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(world.root.glob("staging/alpha@*"))
    assert world.state("alpha") == "missing"
    index.mode = "sound"
    assert fetch_alpha(world).installed == ["alpha"]
    assert not list(world.root.glob("staging/*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_pip_too(
    world: World, index: Index, only: functools.partial[None]
) -> None:
    only(PIP_INDEX_URL=index.url)
    index.mode = "stalled"
    process = world.run("fetch(['alpha'], root=root, manifest=manifest)")
    while not index.sent:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    world.assert_nothing_left()


def test_a_stick_is_filled_once_and_then_serves(
    world: World, index: Index, only: functools.partial[None], tmp_path: Path
) -> None:
    only(PIP_INDEX_URL=index.url)
    stick = tmp_path / "usb"
    assert collect([], stick, world.manifest).installed == ["alpha", "beta"]
    names = {world.wheel(name).name for name in ("alpha", "beta")}
    assert {path.name for path in stick.iterdir()} == names
    assert not world.root.exists()
    assert collect([], stick, world.manifest).already == ["alpha", "beta"]
    only(PIP_NO_INDEX="1")
    report = fetch(source=stick, root=world.root, manifest=world.manifest)
    assert report.installed == ["alpha", "beta"]
    world.wheel("alpha").replace(stick / world.wheel("beta").name)
    failed = collect(["beta"], stick, world.manifest).failed
    assert isinstance(failed["beta"], ArchiveError)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_stick_is_tidied_after_kill_9_but_not_under_somebody_at_work(
    world: World, index: Index, only: functools.partial[None], tmp_path: Path
) -> None:
    only(PIP_INDEX_URL=index.url)
    index.mode = "stalled"
    stick = tmp_path / "usb"
    process = world.run(
        "from helpers.assets.fetch import collect\n"
        f"collect(['alpha'], pathlib.Path({str(stick)!r}), manifest)",
        start_new_session=True,
    )
    while not index.sent:
        assert process.poll() is None
        time.sleep(0.02)
    (partial,) = stick.glob(".partial@*")
    index.mode = "sound"
    assert collect(["beta"], stick, world.manifest).installed == ["beta"]
    assert partial.is_dir()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert partial.is_dir()
    assert collect([], stick, world.manifest).installed == ["alpha"]
    names = {world.wheel(name).name for name in ("alpha", "beta")}
    assert {path.name for path in stick.iterdir()} == names


def test_a_stick_filled_on_windows_serves_every_platform(
    world: World,
    index: Index,
    only: functools.partial[None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(PIP_INDEX_URL=index.url)
    world.write_manifest(not_on=["win32"])
    monkeypatch.setattr(sys, "platform", "win32")
    report = collect([], tmp_path / "usb", world.manifest)
    assert report.installed == ["alpha", "beta"]


def test_a_folder_without_the_archive_or_no_folder(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    report = fetch(
        ["alpha"],
        source=tmp_path / "empty",
        root=world.root,
        manifest=world.manifest,
    )
    assert world.wheel("alpha").name in str(report.failed["alpha"])
    with pytest.raises(ArchiveError, match="no such folder"):
        fetch(source=tmp_path / "gone", root=world.root, manifest=world.manifest)
