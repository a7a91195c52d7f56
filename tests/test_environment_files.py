"""pip and conda install the same, and the pins satisfy the package's ranges."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NAMED_BY_THE_COURSE = {
    "ipywidgets",
    "jupyterlab",
    "nbval",
    "tensorflow-hub",
    "torch",
    "torchvision",
    "transformers",
}


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def project() -> dict[str, object]:
    with open(ROOT / "pyproject.toml", "rb") as stream:
        return dict(tomllib.load(stream)["project"])


def test_every_line_pins_one_exact_version() -> None:
    for line in requirements():
        assert re.fullmatch(r"==[\w.+!]+", str(line.specifier)), str(line)
        assert line.url is None


def test_no_file_names_a_package_index() -> None:
    for name in ("requirements.txt", "environment.yml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"^\s*-?\s*(--|-i\b|-f\b)|https?://", text, re.MULTILINE)


def test_conda_installs_the_same_pins_as_pip() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)
    assert environment["name"] == "pretrained-models"
    *packages, with_pip = environment["dependencies"]
    assert packages == ["python=3.11", "pip"], "conda brings Python and pip, no more"
    assert with_pip == {"pip": ["-r requirements.txt", "-e ."]}
    python = packages[0].partition("=")[2]
    assert f"{python}.0" in SpecifierSet(str(project()["requires-python"]))


def test_pins_lie_within_the_ranges_of_the_package() -> None:
    pins: dict[str, list[str]] = {}
    for line in requirements():
        version = str(line.specifier).removeprefix("==")
        pins.setdefault(canonicalize_name(line.name), []).append(version)
    settings = project()
    wanted = list(settings["dependencies"])  # type: ignore[call-overload]
    wanted += settings["optional-dependencies"]["test"]  # type: ignore[index]
    for text in wanted:
        need = Requirement(text)
        versions = pins.get(canonicalize_name(need.name))
        assert versions, f"{need.name} has no pin: run `make pins`"
        assert all(version in need.specifier for version in versions), text
    assert pins.keys() >= NAMED_BY_THE_COURSE


def test_one_tensorflow_wheel_only() -> None:
    names = {canonicalize_name(line.name) for line in requirements()}
    variants = {"tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos", "tf-nightly"}
    assert "tensorflow" in names
    assert not names & variants


def test_cuda_packages_stay_on_linux() -> None:
    for line in requirements():
        if line.name.startswith(("nvidia-", "cuda-", "triton")):
            assert line.marker is not None
            assert not line.marker.evaluate({"sys_platform": "darwin"}), str(line)
            assert not line.marker.evaluate({"sys_platform": "win32"}), str(line)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_without_a_target_lists_the_commands() -> None:
    done = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in ("lab", "test", "run", "check", "refresh", "bench", "fetch", "clean"):
        assert f"make {target} " in done.stdout
