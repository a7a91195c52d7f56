"""The glossary: complete, sorted, bilingual, and every term is where it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.course_links import section_at

FILE = Path(__file__).parent.parent / "data" / "glossary.jsonl"
LINES = FILE.read_text(encoding="utf-8").splitlines()
TERMS: list[dict[str, Any]] = [json.loads(line) for line in LINES]
FIELDS = ["en", "zh", "line", "line_zh", "notebook", "heading"]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_there_are_enough_unique_and_sorted() -> None:
    names = [term["en"] for term in TERMS]
    assert len(names) >= 120
    assert len({name.casefold() for name in names}) == len(names)
    assert names == sorted(names, key=str.casefold)
    definitions = [term["line"] for term in TERMS]
    assert len(set(definitions)) == len(definitions)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term["en"])
def test_a_term_is_complete(term: dict[str, Any]) -> None:
    assert list(term) == FIELDS or list(term) == [*FIELDS, "forms"]
    assert all(term[field].strip() == term[field] != "" for field in FIELDS)
    assert CHINESE.search(term["zh"]) and CHINESE.search(term["line_zh"])
    assert not CHINESE.search(term["en"] + term["line"])
    assert len(term["line"].split()) <= 25 and term["line"].endswith(".")
    assert term["line_zh"].endswith("。")


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term["en"])
def test_a_term_occurs_where_it_leads(term: dict[str, Any]) -> None:
    section = section_at(f"{term['notebook']}#{term['heading']}")
    assert section.heading == term["heading"]
    text = re.sub(r"\s+", " ", section.text.replace("`", "")).casefold()
    plain = re.sub(r" \(.*\)", "", term["en"])
    forms = term.get("forms", [plain])
    # A form is the beginning of a word: "summar" stands for summary and summarise.
    assert any(re.search(rf"(?<![a-z]){re.escape(f.casefold())}", text) for f in forms)


def test_a_chinese_name_stands_for_one_term() -> None:
    names = [term["zh"] for term in TERMS]
    assert len(set(names)) == len(names)
