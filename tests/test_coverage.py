"""Every question, application and tool of the source documents is shown somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.course_links import broken, file_of, links, section_at

ROOT = Path(__file__).parent.parent
SEEDS = ROOT.parent / "shared" / "seeds"
COVERAGE: dict[str, Any] = tomllib.loads(
    (ROOT / "data" / "coverage.toml").read_text(encoding="utf-8")
)
ROWS: list[dict[str, Any]] = COVERAGE["row"]
DOCUMENTS = ("D0", "D1", "D2", "D3", "D4")
QUESTIONS = {"D0": 3, "D1": 2, "D2": 3, "D3": 3, "D4": 3}
NAMED = """PyTorch · TensorFlow · Keras · PyTorch Lightning · Hugging Face ·
transformers · TensorFlow Hub · spaCy · OpenCV · PIL · ImageNet · MNIST · Wikipedia ·
COCO · CIFAR-10 · BERT · GPT · ResNet · VGG · T5 · MobileNet · DeepSpeech · Wav2Vec ·
Deep Learning with PyTorch · Deep Learning with TensorFlow · Medium ·
Towards Data Science"""
CHAPTERS = {"applications": "应用场景", "tools": "工具和资源推荐", "faq": "常见问题"}


def name(row: dict[str, Any]) -> str:
    return f"{row['document']}-{row['chapter']}-{row['english'][:30]}"


def rows(**wanted: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if all(row[k] == v for k, v in wanted.items())]


def seed(document: str) -> str:
    found = sorted(SEEDS.glob(f"00{document[1]}_*.txt"))
    if not found:
        pytest.skip("the source documents are not beside the course")
    return found[0].read_text(encoding="utf-8")


def chapters(document: str) -> dict[str, str]:
    """Heading and text of each chapter of a source document."""
    text = re.sub(r"```.*?```", "", seed(document), flags=re.DOTALL)
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def chapter(document: str, kind: str) -> str:
    found = [t for h, t in chapters(document).items() if CHAPTERS[kind] in h]
    return found[0] if found else ""


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_it_is_shown_by_a_cell_that_ran(row: dict[str, Any]) -> None:
    assert row["shown"]
    shown = [section_at(place) for place in row["shown"]]
    resolving = [
        target
        for section in shown
        for target in links(section.text)
        if target.startswith("https:") and broken(target) is None
    ]
    read_only = any(kind in row["english"] for kind in ("Tutorials:", "Blogs:"))
    for section in shown:
        assert section.executed or (read_only and resolving), section.heading
    text = "\n".join(section.text for section in shown).casefold()
    for each in row["names"]:
        assert each.casefold() in text, f"{each} is not in {row['shown']}"


@pytest.mark.parametrize("row", rows(kind="question"), ids=name)
def test_a_question_is_quoted_with_its_number(row: dict[str, Any]) -> None:
    number = rows(kind="question", document=row["document"]).index(row) + 1
    quote = f"> **{row['document']}, {number}.** *{row['english']}*"
    first = section_at(row["shown"][0])
    assert row["shown"][0].startswith("20#") and first.executed
    assert quote in first.text


def test_everything_named_has_a_row() -> None:
    wanted = {each.strip() for each in NAMED.replace("\n", " ").split("·")}
    assert {each for row in ROWS for each in row["names"]} == wanted


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_question_has_a_row(document: str) -> None:
    assert len(rows(kind="question", document=document)) == QUESTIONS[document]


def test_chapters_lead_to_notebooks() -> None:
    numbers = {n for row in COVERAGE["chapter"] for n in row["notebooks"]}
    assert numbers == {f"{n:02d}" for n in range(1, 21)}
    assert all(file_of(n).is_file() for n in numbers)


# With the documents at hand.


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_the_original_says_so(row: dict[str, Any]) -> None:
    text = seed(row["document"])
    if row["chapter"] in CHAPTERS:
        text = chapter(row["document"], row["chapter"])
    assert row["original"] in text


@pytest.mark.parametrize("kind", ["applications", "tools"])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_item_of_a_list_has_a_row(document: str, kind: str) -> None:
    items = re.findall(
        r"^ *(?:\d+\.|[-*]) +(.+)$", chapter(document, kind), re.MULTILINE
    )
    listed = rows(document=document, chapter=kind, kind="list")
    assert len(listed) == len(items)
    for item, row in zip(items, listed, strict=True):
        assert row["original"] in item.replace("**", "")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_question_is_counted(document: str) -> None:
    text = chapter(document, "faq")
    asked = re.findall(r"(?:Q\d?[:：]|^### ).*[？?]", text, re.MULTILINE)
    listed = rows(document=document, kind="question")
    assert len(listed) == len(asked)
    for question, row in zip(asked, listed, strict=True):
        assert row["original"] in question


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_chapter_is_listed(document: str) -> None:
    listed = [r for r in COVERAGE["chapter"] if r["document"] == document]
    assert [r["original"] for r in listed] == list(chapters(document))
    assert [r["number"] for r in listed] == list(range(1, len(listed) + 1))
