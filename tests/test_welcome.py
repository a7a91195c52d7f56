"""JupyterLab opens on the course's page, and opening a notebook changes nothing."""

from __future__ import annotations

import copy
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers.exercises import progress as kept
from helpers.tools import cli, notebooks, tasks, welcome
from helpers.tools.contents import as_in_git, as_in_lab
from tests.browser import browser

ROOT = Path(__file__).parent.parent
THREE = ["05", "09", "14"]
ADDRESS = re.compile(r"(http://localhost:\d+)(/lab\S*)\?token=([0-9a-f]{30,})")


@pytest.fixture
def learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress of nobody, kept in a folder of the test."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))


# --- the page ---------------------------------------------------------------------


def test_the_page_names_every_notebook_once_and_leads_to_it(learner: None) -> None:
    page = welcome.page()
    rows = re.findall(r"^\| \[(\d\d) [^\]]+\]\(([^)]+)\) \|(.*)\|$", page, re.MULTILINE)
    assert [file for _, file, _ in rows] == [path.name for path in notebooks.find()]
    for _, file, rest in rows:
        shows, time, needs, dots = (part.strip() for part in rest.split(" | "))
        assert shows and needs and re.search(r"min", time), file
        assert re.fullmatch(r"○{2,4}", dots), file
    for file in re.findall(r"\]\(([^)]+)\)", page):
        assert (notebooks.NOTEBOOKS / file).is_file(), file
    assert "doctor" in page and "//" not in page


def test_the_page_shows_what_was_solved(
    learner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime

    today = datetime.date(2026, 12, 1)
    solved = {"09.1": kept.Record(1, today), "09.2": kept.Record(2, None)}
    monkeypatch.setattr(welcome.progress, "records", lambda: solved)
    (row,) = (line for line in welcome.page().splitlines() if "| [09 " in line)
    assert row.endswith("| ●◐○○ |")
    assert re.search(r"Exercises: 1 of \d\d solved", welcome.page())


def test_minutes_are_the_measured_ones(tmp_path: Path) -> None:
    assert welcome.minutes(tmp_path / "none.csv") == {}
    table = tmp_path / "seconds.csv"
    table.write_text(
        "# one machine\nnotebook,section,seconds,peak_gib\n"
        "01,1 · Start,12.3,\n01,whole,66.2,1.78\n02,whole,8.1,1\n03,whole,100,1\n"
    )
    measured = {"01": "1 min", "02": "0.5 min", "03": "1.5 min"}
    assert welcome.minutes(table) == measured


def test_a_new_start_replaces_the_page(learner: None, tmp_path: Path) -> None:
    (tmp_path / welcome.NAME).write_text("old")
    assert welcome.arguments(tmp_path) == ["--LabApp.default_url=/lab/tree/welcome.md"]
    assert "# Pretrained models" in (tmp_path / welcome.NAME).read_text("utf-8")
    left = [path.name for path in tmp_path.iterdir() if "@" in path.name]
    assert not left


def test_a_folder_that_cannot_be_written_keeps_nobody_from_working(
    learner: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file in the folder's place refuses root as well.
    folder = tmp_path / "notebooks"
    folder.write_text("")
    assert welcome.arguments(folder) == []
    assert "No welcome page: notebooks/ cannot be written" in capsys.readouterr().err


def test_the_page_is_nobodys_source(tmp_path: Path) -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert "notebooks/welcome.md" in ignored
    assert all(path.suffix == ".ipynb" for path in notebooks.find())


class Started(Exception):
    """Stands for JupyterLab."""


def test_lab_opens_on_the_page_unless_it_is_told_where(
    learner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(command: list[str], *_: object, **__: object) -> int:
        raise Started(" ".join(command))

    monkeypatch.setattr(tasks, "fetch_all", lambda: 0)
    monkeypatch.setattr(os, "execve", lambda _, command, __: start(command))
    monkeypatch.setattr(subprocess, "call", start)
    monkeypatch.setattr(welcome, "arguments", lambda: ["--LabApp.default_url=/page"])
    with pytest.raises(Started, match="default_url=/page"):
        cli.main(["lab"])
    with pytest.raises(Started) as told:
        cli.main(["lab", "--LabApp.default_url=/lab"])
    assert "/page" not in str(told.value)


# --- notebooks on their way to JupyterLab and back ----------------------------------


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem[:2])
def test_what_jupyterlab_is_given_goes_back_as_it_came(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = copy.deepcopy(notebook)
    as_in_lab(notebook)
    assert notebook != before
    as_in_git(notebook)
    assert notebook == before


# --- in a browser -------------------------------------------------------------------


class Lab:
    """A running JupyterLab on a copy of three notebooks, and a browser."""

    def __init__(self, folder: Path, url: str, token: str, page: Any) -> None:
        self.folder, self.url, self.token, self.page = folder, url, token, page

    def open(self, name: str) -> None:
        """Open a notebook in an empty workspace, and wait for its kernel."""
        where = f"{self.url}/lab/workspaces/of-{name[:2]}/tree/{name}"
        with self.page.expect_response(
            lambda answer: "/api/sessions" in answer.url and answer.status == 201,
            timeout=90_000,
        ):
            self.page.goto(f"{where}?token={self.token}")
        self.page.wait_for_selector(
            ".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]",
            timeout=90_000,
        )
        self.page.wait_for_function(
            """async () => (await (await fetch('/api/kernels')).json())
                 .every(kernel => kernel.execution_state == 'idle')""",
            timeout=90_000,
        )
        self.page.wait_for_timeout(2_000)

    def changed(self) -> list[str]:
        """Names of the tabs with a dot: changed, and not saved."""
        dots = self.page.query_selector_all(".lm-TabBar-tab.jp-mod-dirty")
        return [dot.inner_text() for dot in dots]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    shown = folder / "notebooks"
    shown.mkdir()
    for path in notebooks.find(THREE):
        shutil.copy(path, shown)
    env = {**tasks.lab_environment(), "COURSE_PROGRESS": "off"}
    for name in ("RUNTIME_DIR", "CONFIG_DIR", "DATA_DIR"):
        env[f"JUPYTER_{name}"] = str(folder / name)
    for name in ("SETTINGS_DIR", "WORKSPACES_DIR"):
        env[f"JUPYTERLAB_{name}"] = str(folder / name)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    arguments = [*welcome.arguments(shown), "--no-browser", f"--port={port}"]
    command = tasks.lab_command(arguments, folder=shown)
    with browser() as started:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, env=env, text=True, **pipes) as server:  # type: ignore[call-overload]
            try:
                found = next(m for line in server.stdout if (m := ADDRESS.search(line)))
                # A full pipe would stop the server.
                threading.Thread(target=server.stdout.read, daemon=True).start()
                page = started.new_page(viewport={"width": 1400, "height": 900})
                page.goto(found[0])
                yield Lab(shown, found[1], found[3], page)
            finally:
                server.terminate()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_jupyterlab_opens_on_the_page_and_its_links_open_notebooks(lab: Lab) -> None:
    lab.page.wait_for_selector(".jp-MarkdownViewer table", timeout=90_000)
    assert "Start here" in lab.page.inner_text(".jp-MarkdownViewer")
    lab.page.click(".jp-MarkdownViewer table a:has-text('09 Feature extraction')")
    lab.page.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=90_000)
    assert lab.page.url.endswith("/lab/tree/09_practice_feature_extraction.ipynb")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", THREE)
def test_opening_and_saving_a_notebook_changes_nothing(number: str, lab: Lab) -> None:
    (path,) = lab.folder.glob(f"{number}_*.ipynb")
    before = path.read_bytes()
    lab.open(path.name)
    assert lab.changed() == []
    assert path.read_bytes() == before
    saved = path.stat().st_mtime_ns
    lab.page.click(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook")
    lab.page.keyboard.press("Escape")
    with lab.page.expect_response(lambda answer: answer.request.method == "PUT"):
        lab.page.keyboard.press("Control+s")
    assert path.stat().st_mtime_ns > saved, "it was not saved at all"
    assert path.read_bytes() == before
