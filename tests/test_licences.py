"""What `pip install` brings may be used and passed on, or README says otherwise."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]

# No permission beyond these is needed to study, change and pass on a package.
PERMISSIVE = re.compile(
    r"Apache|\bMIT\b|BSD|Python Software Foundation|matplotlib"
    r"|Redistribution and use in source and binary forms"  # BSD's first words
)
# These ask for more; README's section on licences names them.
COPYLEFT = {"espeakng-loader": "GPL-3.0", "tqdm": "MPL-2.0"}


def licences(name: str) -> str:
    """Everything a distribution says of its licence: fields, classifiers, files."""
    about = importlib.metadata.metadata(name)
    said = [about.get(field) or "" for field in ("License-Expression", "License")]
    said += [line for line in about.get_all("Classifier") or [] if "License" in line]
    files = importlib.metadata.files(name) or []
    texts = [
        file for file in files if re.match("LICEN|COPYING", file.name, re.IGNORECASE)
    ]
    said += [text.read_text("utf-8")[:400] for text in texts]
    return "\n".join(said)


@pytest.mark.parametrize(
    "requirement", [r for r in NEEDED if r.name not in COPYLEFT], ids=lambda r: r.name
)
def test_a_package_is_under_a_permissive_licence(requirement: Requirement) -> None:
    if requirement.marker and not requirement.marker.evaluate():
        pytest.skip("not installed on this platform")
    assert PERMISSIVE.search(licences(requirement.name)), licences(requirement.name)


def test_readme_names_the_packages_that_ask_for_more() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Licence")[2]
    for licence in [*COPYLEFT.values(), "LGPL-2.1"]:
        assert licence in section


def test_every_needed_package_has_an_exact_version() -> None:
    pinned = (ROOT / "requirements.txt").read_text("utf-8")
    for requirement in NEEDED:
        assert re.search(rf"^{requirement.name}==", pinned, re.MULTILINE)
