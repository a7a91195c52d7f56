"""`make` sets up once, continues after a failure, and mends what is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Stands for Python: notes each call, makes a .venv with itself inside, fails on demand.
FAKE = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  "--version") echo "Python 3.11.99" ;;
  *print*) echo runs ;;
  "-m venv --clear .venv")
    [ "$FAIL" = venv ] && exit 1
    rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m venv --clear --without-pip .venv")
    rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m venv --clear --without-pip .venv-docs") mkdir -p .venv-docs ;;
  *"-r requirements-docs.txt") [ "$FAIL" = docs ] && exit 1 ;;
  "-m pip install -r requirements.txt") [ "$FAIL" = pip ] && exit 1 ;;
esac
exit 0
"""
PINS = ("requirements.txt", "requirements-docs.txt")
INSTALL = "-m pip install -r requirements.txt"
CREATE = "-m venv --clear .venv"

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("make"), reason="make is not used here"
)


class Course:
    """A copy of the Makefile beside pins, with a fake Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a course"  # the path may hold a space
        self.folder.mkdir()
        self.calls = folder / "calls"
        self.python = folder / "python"
        self.python.write_text(FAKE)
        self.python.chmod(0o755)
        for name in ("Makefile", "pyproject.toml", *PINS):
            shutil.copy(ROOT / name, self.folder)

    def make(
        self, *arguments: str, fail: str = "", path: str | None = None
    ) -> tuple[int, list[str], str]:
        """Return exit status, what Python was asked to do, and what was printed."""
        self.calls.write_text("")
        env = {**os.environ, "CALLS": str(self.calls), "FAIL": fail}
        # This test may itself run under make.
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            env.pop(name, None)
        make = shutil.which("make") or "make"
        done = subprocess.run(
            [make, "-C", str(self.folder), *arguments],
            env=env if path is None else {**env, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = [x for x in self.calls.read_text().splitlines() if "-c " not in x]
        return done.returncode, calls, done.stdout + done.stderr

    def setup(self, *, fail: str = "") -> tuple[int, list[str]]:
        return self.make("doctor", f"PYTHON={self.python}", fail=fail)[:2]


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course(tmp_path)


def test_second_call_goes_straight_to_work(course: Course) -> None:
    status, calls = course.setup()
    assert status == 0
    assert CREATE in calls
    assert calls[-1] == "-m helpers doctor"
    assert INSTALL in calls
    assert course.setup() == (0, ["-m helpers doctor"])


def test_failed_installation_continues_in_the_same_environment(course: Course) -> None:
    status, calls = course.setup(fail="pip")
    assert status != 0
    assert "-m helpers doctor" not in calls
    status, calls = course.setup()
    assert status == 0
    assert INSTALL in calls
    assert CREATE not in calls


def test_half_written_packages_are_installed_again(course: Course) -> None:
    course.setup(fail="pip")
    packages = course.folder / ".venv/lib/python3.11/site-packages"
    for name, files in (("whole", ["RECORD", "INSTALLER"]), ("half", ["METADATA"])):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
        for file in files:
            (packages / f"{name}-1.0.dist-info" / file).write_text("pip\n")
    assert course.setup()[0] == 0
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_pins_are_installed(course: Course, name: str) -> None:
    course.setup()
    with open(course.folder / name, "a") as stream:
        stream.write("# changed\n")
    assert INSTALL in course.setup()[1]
    assert course.setup()[1] == ["-m helpers doctor"]


def test_moved_course_installs_its_helpers_again(course: Course) -> None:
    course.setup()
    course.folder = course.folder.rename(course.folder.with_name("moved"))
    assert INSTALL in course.setup()[1]


def test_broken_environment_is_made_anew(course: Course) -> None:
    course.setup()
    python = course.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/no/such/python3.11")
    assert CREATE in course.setup()[1]
    assert course.setup()[1] == ["-m helpers doctor"]


def test_python_without_ensurepip_lends_its_own_pip(course: Course) -> None:
    status, calls = course.setup(fail="venv")
    assert status == 0
    assert "-m pip --python .venv/bin/python install -q pip" in calls


def test_missing_python_is_said_plainly(course: Course, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "cksum", "cut"):
        (tools / name).symlink_to(str(shutil.which(name)))
    status, _, printed = course.make("lab", path=str(tools))
    assert status != 0
    assert "Python 3.11, 3.12 or 3.13 is needed" in printed
    assert "make lab PYTHON=/path/to/python3.11" in printed
    assert not (course.folder / ".venv").exists()


def test_run_asks_which_notebook(course: Course) -> None:
    status, _, printed = course.make("run", f"PYTHON={course.python}")
    assert status != 0
    assert "make run NB=09" in printed
    assert course.make("run", "NB=09")[1] == ["-m helpers run 09"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("test",), "-m helpers test"),
        (("test", "VARIANT=avx2"), "-m helpers test --variant avx2"),
        (("test", "VARIANT="), "-m helpers test"),
        (("refresh", "NB=09", "ARGS=--merge"), "-m helpers refresh 09 --merge"),
    ],
)
def test_make_hands_on_which_machine_to_play(
    course: Course, arguments: tuple[str, ...], asked: str
) -> None:
    course.setup()
    status, calls, _ = course.make(*arguments)
    assert status == 0 and calls[-1].split() == asked.split()


@pytest.mark.parametrize("target", ["site", "slides", "test"])
def test_the_packages_of_the_site_are_installed_once_for_what_needs_them(
    course: Course, target: str
) -> None:
    course.setup()
    docs = "-m pip --python .venv-docs/bin/python install -q -r requirements-docs.txt"
    status, calls, _ = course.make(target, fail="docs")
    assert status != 0 and not any("-m helpers" in call for call in calls)
    status, calls, _ = course.make(target)
    assert status == 0 and docs in calls
    status, calls, _ = course.make(target)
    assert status == 0 and docs not in calls


def test_a_learner_needs_no_packages_of_the_site(course: Course) -> None:
    course.setup()
    _, calls, _ = course.make("lab")
    assert not any("docs" in call for call in calls)
