"""Which notebook builds on which: file, drawing, glossary and notebooks agree."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

from tests.course_links import file_of

DATA = Path(__file__).parent.parent / "data"
NEEDS = tomllib.loads((DATA / "needs.toml").read_text(encoding="utf-8"))
EDGES: list[dict[str, str]] = NEEDS["edge"]
NUMBERS = [f"{n:02d}" for n in range(1, 21)]
GLOSSARY = {
    term["en"]: term
    for term in map(
        json.loads, (DATA / "glossary.jsonl").read_text("utf-8").splitlines()
    )
}


def before(number: str) -> set[str]:
    """Everything that a notebook builds on, directly or not."""
    direct = {e["builds_on"] for e in EDGES if e["notebook"] == number}
    return direct.union(*(before(each) for each in direct))


def test_every_notebook_is_reached_from_the_first() -> None:
    assert {n for e in EDGES for n in (e["notebook"], e["builds_on"])} == set(NUMBERS)
    assert all("01" in before(number) for number in NUMBERS[1:])
    assert all(e["builds_on"] < e["notebook"] for e in EDGES), "no circle"


@pytest.mark.parametrize(
    "edge", EDGES, ids=lambda e: f"{e['notebook']}-{e['builds_on']}"
)
def test_an_edge_carries_an_idea(edge: dict[str, str]) -> None:
    """The earlier notebook shows the term (the glossary says so), the later uses it."""
    term = GLOSSARY[edge["idea"]]
    assert term["notebook"] == edge["builds_on"]
    cells = nbformat.read(file_of(edge["notebook"]), as_version=4).cells
    text = " ".join(re.sub(r"\s+", " ", cell.source) for cell in cells).casefold()
    forms = [re.sub(r" \(.*\)", "", term["en"]), *term.get("forms", [])]
    assert any(re.search(rf"(?<![a-z]){re.escape(f.casefold())}", text) for f in forms)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_another_needs_is_not_repeated(number: str) -> None:
    direct = [e["builds_on"] for e in EDGES if e["notebook"] == number]
    assert len(set(direct)) == len(direct)
    for each in direct:
        assert not any(each in before(other) for other in direct if other != each)


def test_the_drawing_shows_these_edges() -> None:
    drawing = (DATA / "drawings" / "20_needs.svg").read_text(encoding="utf-8")
    drawn = re.findall(r'id="needs-(\d\d)-(\d\d)"', drawing)
    assert sorted(drawn) == sorted((e["notebook"], e["builds_on"]) for e in EDGES)
    assert sorted(re.findall(r">(\d\d)</text>", drawing)) == NUMBERS


def test_paths_go_forward() -> None:
    for path in NEEDS["path"]:
        assert path["notebooks"] == sorted(set(path["notebooks"]))
        assert set(path["notebooks"]) <= set(NUMBERS)
    assert len(NEEDS["path"]) >= 3
