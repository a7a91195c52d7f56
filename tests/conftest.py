"""What `make check` leaves to `make test`, and in which order the rest runs."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest

from helpers.assets import load_manifest
from helpers.assets.paths import REPOSITORY

# The longest files come first, so that two processes end at about the same time.
LONGEST = ["site", "go_bigger", "refresh", "assets_tfhub", "assets_text", "editions"]
LONGEST += ["training_hygiene", "welcome", "slides"]
LONGEST += ["nbval_hooks", "assets_speech", "environment", "training_processes"]
LONGEST += ["training_resume", "assets_interrupts", "assets_download", "features"]
LONGEST += ["code_style", "examples", "assets_real"]
LEFT = pytest.StashKey[list[str]]()


@pytest.fixture
def sigint() -> Iterator[None]:
    """Let SIGINT raise again: a shell has its background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_configure(config: pytest.Config) -> None:
    # The tests solve every exercise; the developer's own progress shall not show it.
    os.environ["COURSE_PROGRESS"] = "off"
    config.stash[LEFT] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    for item in items:
        mark = item.get_closest_marker("converted")
        if mark and config.cache.get(key(item), "") == conversion(*mark.args):
            item.add_marker("slow")
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    mark = item.get_closest_marker("converted")
    if mark and report.when == "call" and report.passed:
        item.config.cache.set(key(item), conversion(*mark.args))
    return report


def key(item: pytest.Item) -> str:
    return f"converted/{item.path.stem}-{item.name}"


def conversion(asset: str) -> str:
    """Return a hash of what decides how an asset is converted."""
    digest = hashlib.sha256(load_manifest()[asset].fingerprint.encode())
    for recipe in sorted((REPOSITORY / "helpers/assets/recipes").glob("*.py")):
        digest.update(recipe.read_bytes())
    return digest.hexdigest()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.config.stash[LEFT].append(item.path.stem)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A process of pytest-xdist hands its list to the one that prints.
    output: dict[str, Any] = getattr(session.config, "workeroutput", {})
    output["left"] = session.config.stash[LEFT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Each process collects, and leaves out, the same tests.
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left = config.stash[LEFT]
    if left:
        files = ", ".join(sorted({name.removeprefix("test_") for name in left}))
        terminalreporter.write_line(
            f"left to `make test`: all notebooks, {len(left)} slow tests ({files})"
        )
