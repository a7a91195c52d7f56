"""The command line: what it starts, what it prints, what it costs to import."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.assets import Asset
from helpers.assets.paths import command, pip_install
from helpers.tools import cli, doctor, notebooks, tasks

ROOT = Path(__file__).parent.parent


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_helpers_loads_nothing_heavy() -> None:
    heavy = ("torch", "tensorflow", "transformers", "matplotlib", "pandas", "nbformat")
    loaded = python("import sys, helpers; print(*sys.modules)").split()
    assert not set(heavy) & set(loaded)


def test_importing_helpers_costs_little_beside_torch() -> None:
    # In the same process, so that a busy machine slows both; benchmarks.imports
    # has the seconds.
    code = "import time; a = time.perf_counter(); import helpers; "
    code += "b = time.perf_counter(); import torch; c = time.perf_counter(); "
    code += "print((b - a) / (c - b))"
    assert min(float(python(code)) for _ in range(3)) < 0.15


# find


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("01_background", "09_features", "10_tuning"):
        (tmp_path / f"{name}.ipynb").touch()
    monkeypatch.setattr(notebooks, "find", lambda names: find(names, tmp_path))
    return tmp_path


find = notebooks.find


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("9", "09_features"),
        ("09", "09_features"),
        ("1", "01_background"),
        ("10_tuning", "10_tuning"),
        ("notebooks/10_tuning.ipynb", "10_tuning"),
    ],
)
def test_notebook_is_found_by_number_or_name(
    shelf: Path, name: str, found: str
) -> None:
    assert [path.stem for path in find([name], shelf)] == [found]


def test_every_notebook_comes_in_order(shelf: Path) -> None:
    assert [path.stem[:2] for path in find([], shelf)] == ["01", "09", "10"]


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("name", ["11", "nothing", "", "5x"])
def test_unknown_notebook_lists_what_there_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", name]) == 2
    assert "01_background, 09_features, 10_tuning" in capsys.readouterr().err


# run


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cells = [
        new_markdown_cell("# Title\n\n## 1 · Counting"),
        new_code_cell("import os\nprint('six')", execution_count=7),
        new_code_cell("6 * 7"),
        new_markdown_cell("## 2 · Environment"),
        new_code_cell("print(os.environ['COURSE_ONLINE'])"),
        new_code_cell("{}[os.environ['COURSE_ONLINE']] if FAIL else 0"),
    ]
    path = tmp_path / "60_run.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.mark.parametrize("fails", [False, True])
def test_run_shows_progress_results_and_errors(
    notebook: Path,
    fails: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = notebook.read_text(encoding="utf-8").replace("FAIL", str(fails))
    notebook.write_text(source, encoding="utf-8")
    monkeypatch.setenv("COURSE_ONLINE", "1")
    assert cli.main(["run", str(notebook)]) == int(fails)
    shown = capsys.readouterr()
    expected = (
        "[1/4] 1 · Counting\n    six\n[2/4] …\n    42\n[3/4] 2 · Environment\n    1"
    )
    assert expected in shown.out
    if fails:
        assert "60_run.ipynb: code cell 4 ('2 · Environment') failed" in shown.err
        assert "KeyError: '1'" in shown.err
        assert "\x1b" not in shown.err
    else:
        assert re.search(r"done: .*\d s, peak memory \d\.\d\d GiB", shown.out)
    assert notebook.read_text(encoding="utf-8") == source, "the file stays as it was"


# lab

URL = re.compile(r"(http://localhost:\d+)/lab\?token=[0-9a-f]{30,}")


def test_lab_stays_on_this_machine_and_off_the_network() -> None:
    command = " ".join(tasks.lab_command(["--", "--port=9000"]))
    assert f"root_dir={ROOT / 'notebooks'}" in command
    assert "--ServerApp.ip=localhost" in command
    assert "token" not in command, "JupyterLab makes its own token"
    assert "NeverCheckForUpdate" in command
    assert command.endswith("--port=9000")


@pytest.mark.parametrize(
    ("platform", "display", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_browser_opens_only_where_there_is_a_display(
    platform: str,
    display: dict[str, str],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in display.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert ("--no-browser" in tasks.lab_command()) is not expected


def test_lab_hands_further_arguments_to_jupyterlab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[str] = []
    monkeypatch.setattr(tasks, "lab", lambda extra: given.extend(extra) or 0)
    assert cli.main(["lab", "--port=9000", "--debug"]) == 0
    assert given == ["--port=9000", "--debug"]


def test_unknown_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--port=9000"])
    assert "unrecognized arguments: --port=9000" in capsys.readouterr().err


class Called(Exception):
    """Stands for a program that would have been started."""


def test_the_tests_play_the_machine_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(command: list[str], env: dict[str, str], **_: object) -> int:
        raise Called(env["COURSE_VARIANT"])

    monkeypatch.setattr(tasks, "fetch_all", lambda: 0)
    monkeypatch.setattr(tasks.subprocess, "call", call)
    for asked, played in [([], "one-thread"), (["--variant", "avx2"], "avx2")]:
        with pytest.raises(Called, match=played):
            cli.main(["test", *asked])
        told = capsys.readouterr().out
        assert f"This run plays: {played} on " in told
        assert "Outputs saved by: two-threads on " in told
    with pytest.raises(Called) as drawn:
        cli.main(["test", "--variant", "another"])
    assert str(drawn.value) != "two-threads"


def test_an_unknown_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["test", "--variant", "avx3"])
    assert "'avx2'" in capsys.readouterr().err


def test_lab_waits_for_the_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "fetch_all", lambda: 1)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("JupyterLab started"))
    assert cli.main(["lab"]) == 1


def fetch_page(url: str) -> str:
    """Return a page of a server that has just said where it will be."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=20) as page:
                return str(page.read().decode())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
    raise TimeoutError(url)


@pytest.mark.timeout(60)
def test_jupyterlab_starts_with_its_token_and_asks_for_no_news(tmp_path: Path) -> None:
    env = {**tasks.lab_environment(), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        free_port = probe.getsockname()[1]
    command = [*tasks.lab_command(), "--no-browser", f"--port={free_port}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=env, text=True, **pipes) as server:  # type: ignore[call-overload]
        try:
            url = next(found for line in server.stdout if (found := URL.search(line)))
            html = fetch_page(url[0])
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(url[1] + "/api/contents", timeout=20)
        finally:
            server.kill()
    disabled = re.search(r'"disabledExtensions": (\[.*?\]|\{.*?\})', html, re.DOTALL)
    assert disabled
    assert "apputils-extension:announcements" in disabled[1]


# doctor


def levels(findings: Iterator[doctor.Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_doctor_finds_missing_and_different_packages(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text(
        "# a comment\nnot-a-package-of-ours==1.0\npytest==0.1\n"
        "appnope==1.0 ; sys_platform == 'no-such-system'\n"
    )
    missing, different, *_ = doctor.check_packages(pins)
    assert missing.level == "fault"
    assert "1 packages missing: not-a-package-of-ours" in missing.text
    assert different.level == "warning"
    assert f"pytest {pytest.__version__} instead of 0.1" in different.text
    assert missing.fix
    assert different.fix


def test_doctor_is_content_with_what_is_installed() -> None:
    assert levels(doctor.check_python()) == ["ok"]
    assert "fault" not in levels(doctor.check_packages())
    assert "fault" not in levels(doctor.check_device())


def test_doctor_explains_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    *_, last = doctor.check_packages()
    assert last.level == "warning"
    assert "notebooks 12, 18 and a part of 02 need WSL" in last.text


def test_doctor_misses_nothing_that_windows_cannot_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def all_but_one(asset: Asset, _: Path) -> str:
        return "missing" if asset.id == "use-multilingual-3" else "installed"

    monkeypatch.setattr(doctor, "state", all_but_one)
    assert levels(doctor.check_assets()) == ["fault"]
    monkeypatch.setattr(sys, "platform", "win32")
    assert levels(doctor.check_assets()) == ["ok"]


@pytest.mark.parametrize("package", ["psutil", "packaging", "filelock"])
def test_doctor_says_which_package_keeps_it_from_starting(package: str) -> None:
    # None in sys.modules is how Python notes a package that cannot be imported.
    code = f"import sys; sys.modules[{package!r}] = None\n"
    code += "from helpers.__main__ import main; sys.exit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ""
    fault, fix = done.stdout.splitlines()
    assert fault == f"fault    packages missing: {package}"
    assert fix.strip() == f"fix: {pip_install()}"


def test_doctor_names_the_command_that_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    finding, *_ = doctor.check_assets()
    assert finding.level == "fault"
    assert "mobilenet-v2" in finding.text
    assert finding.fix.startswith(command("fetch", "mobilenet-v2"))


@pytest.mark.parametrize(
    ("value", "level"), [("two", "fault"), ("0", "fault"), ("9999", "warning")]
)
def test_doctor_questions_odd_thread_settings(
    value: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_THREADS", value)
    first, *_ = doctor.check_threads()
    assert first.level == level
    assert first.fix == "unset COURSE_THREADS"


def test_doctor_warns_of_little_memory_and_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = SimpleNamespace(available=2**30, total=2**32)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert levels(doctor.check_memory()) == ["warning"]
    usage = SimpleNamespace(free=2**29)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert "warning" in levels(doctor.check_disk())


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("warning", 0), ("fault", 1)])
def test_doctor_fails_only_on_faults(
    level: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finding = doctor.Finding(level, "a finding", "a command")  # type: ignore[arg-type]
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([finding]),))
    assert cli.main(["doctor"]) == status
    assert "fix: a command" in capsys.readouterr().out
