"""What was labelled by hand: it fits the installed texts, and its card is true."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from helpers import datasets
from helpers.assets.paths import REPOSITORY
from helpers.datasets import (
    LabelledSentence,
    Texts,
    course_passages,
    course_questions,
    labelled_entities,
)

FOLDER = REPOSITORY / "data" / "labels"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
KINDS = {"PERSON", "ORG", "PLACE", "DATE", "WORK_OF_ART"}


@pytest.mark.parametrize("labels", ["agreed", "first", "second"])
@pytest.mark.parametrize(("split", "least"), [("valid", 40), ("test", 170)])
def test_entities_are_names_within_their_sentence(
    split: str, least: int, labels: str
) -> None:
    data = labelled_entities(split, labels)
    assert len(data) >= least
    assert len({sentence.text for sentence in data}) == len(data)
    assert sum(bool(sentence.entities) for sentence in data) >= len(data) / 2
    for sentence in data:
        assert sentence.text == sentence.text.strip() != ""
        end = 0
        for start, stop, label in sentence.entities:
            assert end <= start < stop <= len(sentence.text), "entities overlap"
            name = sentence.text[start:stop]
            assert name == name.strip(" \"'")
            assert not name.endswith("'s")
            around = sentence.text[max(start - 1, 0) : stop + 1]
            assert re.fullmatch(rf"\W?{re.escape(name)}\W?", around), around
            assert label in KINDS
            end = stop
    assert {label for s in data for *_, label in s.entities} == KINDS


def test_known_entities() -> None:
    found = {
        (sentence.text[start:stop], label)
        for sentence in labelled_entities("test")
        for start, stop, label in sentence.entities
    }
    assert {
        ("Jean-Marc Barr", "PERSON"),
        ("NATO", "ORG"),
        ("croatia", "PLACE"),
        ("the late '70s", "DATE"),
        ("Saturday Night Fever", "WORK_OF_ART"),
    } <= found


def test_the_file_contains_no_text() -> None:
    for line in (FOLDER / "entities.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert re.fullmatch("[0-9a-f]{64}", row.pop("sha256"))
        assert row.pop("source") in ("imdb", "rotten-tomatoes", "sms-spam")
        assert row.pop("split") in ("valid", "test")
        for reading in ("first", "second", "agreed"):
            assert {label for _, _, label in row.pop(reading)} <= KINDS
        assert row.keys() == {"start", "end"}
        assert all(isinstance(value, int) for value in row.values())


def test_other_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = datasets.sms_spam

    def changed(split: str) -> Texts:
        data = real(split)
        return Texts([text + "!" for text in data.texts], data.labels, data.names)

    monkeypatch.setattr(datasets, "sms_spam", changed)
    message = r"35 of 180 .* sms-spam \(test\).*SHA-256 [0-9a-f]{12}….*fetch --verify"
    with pytest.raises(ValueError, match=message):
        labelled_entities("test")


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="split='train'"):
        labelled_entities("train")
    with pytest.raises(ValueError, match="labels='third'.*'second'"):
        labelled_entities("valid", "third")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_card_tells_the_agreement(split: str) -> None:
    row = re.search(
        rf"^\| {split} \|(.*)\|$", CARD.split("### Agreement")[1], re.MULTILINE
    )
    assert row is not None
    first, second = (labelled_entities(split, name) for name in ("first", "second"))
    agreed = labelled_entities(split)
    same = sum(
        len(set(a.entities) & set(b.entities))
        for a, b in zip(first, second, strict=True)
    )
    f1 = 2 * same / sum(len(s.entities) for s in first + second)
    kappa = cohen_kappa_score(words(first), words(second))
    entities = sum(len(sentence.entities) for sentence in agreed)
    expected = [str(len(agreed)), str(entities), f"{f1:.2f}", f"{kappa:.2f}"]
    assert [cell.strip() for cell in row[1].split("|")] == expected


def words(data: list[LabelledSentence]) -> list[str]:
    """The label of each word or mark, in the order of the text."""
    return [
        next((k for start, stop, k in s.entities if start <= m.start() < stop), "-")
        for s in data
        for m in re.finditer(r"\w+|[^\w\s]", s.text)
    ]


def test_passages_are_what_a_learner_reads() -> None:
    passages = course_passages()
    assert passages.columns.tolist() == ["notebook", "cell", "text"]
    assert sorted(set(passages.notebook)) == [f"{n:02}" for n in range(1, 13)]
    assert passages.groupby("notebook").size().min() >= 10
    assert passages.cell.is_unique
    assert passages.text.str.split().str.len().min() >= 40
    assert not passages.text.str.contains(r"^\*\*08\.1 · |^### 10\.1 · ").any()
    assert not passages.text.str.contains("On other machines").any()
    assert len(course_passages(least=80)) < len(passages) / 2
    with pytest.raises(ValueError, match="least=0"):
        course_passages(least=0)


@pytest.mark.parametrize(("split", "size"), [("valid", 15), ("test", 82)])
def test_every_question_is_answered_by_its_cells(split: str, size: int) -> None:
    questions = course_questions(split)
    assert len(questions) == size
    assert (
        questions.question.is_unique
        and questions.question.str.endswith(("?", ".")).all()
    )
    assert sorted(set(questions.notebook)) == [f"{n:02}" for n in range(1, 13)]
    found = lost(questions, course_passages())
    assert not found, "data/labels/questions.jsonl needs care:\n" + "\n".join(found)


def test_a_question_that_lost_its_answer_is_named() -> None:
    questions, passages = course_questions("test"), course_passages()
    first, other = questions.cells[0][0], questions.cells[1][0]
    gone = passages[passages.cell != first]
    [message] = lost(questions.head(1), gone)
    assert questions.question[0] in message
    assert f"{first} is no passage any more" in message
    passages.loc[passages.cell == other, "text"] = "Something else."
    messages = "\n".join(lost(questions, passages))
    assert questions.question[1] in messages
    assert f"{other} no longer says {questions.evidence[1][0]!r}" in messages


def lost(questions: pd.DataFrame, passages: pd.DataFrame) -> list[str]:
    """What no longer fits, a line each: after an edit of a notebook, read these."""
    texts = {p.cell: " ".join(p.text.split()) for p in passages.itertuples()}
    messages = []
    for q in questions.itertuples():
        assert 1 <= len(q.cells) == len(q.evidence) <= 3
        assert q.notebook == q.cells[0][:2]
        for cell, words in zip(q.cells, q.evidence, strict=True):
            if cell not in texts:
                problem = "is no passage any more (deleted, shortened, or an exercise)"
            elif words not in texts[cell]:
                problem = f"no longer says {words!r}"
            else:
                continue
            messages.append(f"{q.question} Cell {cell} {problem}.")
        if q.answers[0].lower() not in texts.get(q.cells[0], q.answers[0]).lower():
            messages.append(f"{q.question} {q.cells[0]} lacks {q.answers[0]!r}.")
    return messages


def test_summaries_are_shorter_than_their_texts() -> None:
    table = pd.read_json(FOLDER / "summaries.jsonl", lines=True)
    assert set(table.genre) == {"course", "docstring"}
    assert table.genre.value_counts().min() >= 40
    assert table.reference.is_unique
    for row in table.itertuples():
        text = " ".join(row.sentences)
        assert len(row.sentences) >= 3, row.source
        assert row.reference not in text, "the answer stands in the text"
        assert len(row.reference.split()) < len(text.split()) < 300, row.source
