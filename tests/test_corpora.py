"""The two long runs behind notebook 04: damages, rivals, and what was committed."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer

from helpers.examples import compare_corpora as corpora
from helpers.examples import fine_tune_tiny_bert as tuning
from helpers.examples import pretrain_tiny_bert as recipe

LINES = ["The unwatchable film was directed by John Ford.", "He's a great man, I say!"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(recipe.TARGET)


def test_mixing_words_keeps_words_whole_and_lines_apart(tokenizer) -> None:
    blocks = recipe.pack(tokenizer, LINES * 20, length=24)
    mixed = blocks.gather(1, corpora.word_order(blocks, tokenizer))
    assert not torch.equal(mixed, blocks)
    ends = blocks == tokenizer.sep_token_id
    assert torch.equal(mixed == tokenizer.sep_token_id, ends)
    assert (mixed[:, 0] == tokenizer.cls_token_id).all()
    assert torch.equal(mixed.sort(dim=1).values, blocks.sort(dim=1).values)
    pieces = tokenizer.tokenize("unwatchable")
    first, second = tokenizer.convert_tokens_to_ids(pieces[:2])
    rows, places = (mixed[:, 1:-1] == first).nonzero(as_tuple=True)
    assert len(rows) and (mixed[rows, places + 2] == second).all()


def test_damaged_lines_keep_their_length() -> None:
    lines = LINES * 200
    for damage in (corpora.shuffle_words, corpora.replace_words):
        damaged = damage(lines)
        assert damaged != lines and damaged == damage(lines)
        assert len(damaged) == len(lines)
    words = [
        w for line in corpora.replace_words(lines, share=0.0) for w in line.split()
    ]
    changed = [w for line in corpora.replace_words(lines) for w in line.split()]
    share = sum(a != b for a, b in zip(words, changed, strict=True)) / len(words)
    assert 0.2 < share < 0.31  # some are replaced by themselves
    shuffled = [sorted(line.split()) for line in corpora.shuffle_words(LINES)]
    kept = [sorted(x.split()) for x in corpora.replace_words(LINES, share=0.0)]
    assert shuffled == kept


def test_neighbours_guess_what_stands_between_them() -> None:
    blocks = torch.tensor([[2, 5, 6, 7, 5, 6, 7, 3]] * 50)
    tables = corpora.count_neighbours(blocks, vocab_size=10)
    inputs, labels = blocks[:1].clone(), torch.full((1, 8), -100)
    inputs[0, 2], labels[0, 2] = 4, 6
    scores = corpora.neighbour_scores(tables, inputs, labels)
    assert scores.exp().sum().item() == pytest.approx(1)
    assert scores.argmax().item() == 6 and scores.max().exp() > 0.8
    # A neighbour that never occurs says nothing.
    assert torch.allclose(tables[1][9], tables[0], atol=1e-5)


def test_a_short_run_is_scored_as_asked(tokenizer) -> None:
    blocks = recipe.pack(tokenizer, LINES * 40, length=16)
    exam = corpora.examiner(tokenizer, blocks[:8], blocks)
    size = len(tokenizer)
    model, rows = corpora.pretrain(blocks, size, exam, steps=4, asked=(0, 2, 9))
    assert rows["step"].tolist() == [0, 2] and not model.training
    assert rows["held_out"].iloc[1] < rows["held_out"].iloc[0]


def test_committed_corpora_agree_with_the_script() -> None:
    table = pd.read_csv(corpora.TARGET, comment="#")
    assert set(table["corpus"]) == set(corpora.CORPORA)
    for _, run in table.groupby(["corpus", "seed"]):
        assert run["step"].tolist() == list(corpora.ASKED)
    assert set(table["seed"]) == set(corpora.SEEDS)


def test_names_are_words_with_a_capital_within_a_line(tokenizer) -> None:
    data, asked = tuning.names(LINES, tokenizer)
    _, _, y = data.tensors
    said = {word: name for line in asked for word, _, _, name in line}
    assert said["john"] == said["ford"] == 1
    assert said["film"] == said["unwatchable"] == 0
    assert "the" not in said and "i" not in said and "." not in said
    assert (y >= 0).sum() == sum(map(len, asked))


def test_the_table_of_words_votes() -> None:
    train = [[("ford", "<", "is", 1), ("is", "ford", ">", 0)], [("ford", "a", ">", 1)]]
    judges = [[("ford", "<", ">", 1), ("is", "<", ">", 0), ("new", "<", ">", 1)]]
    assert tuning.look_up(train, judges, unknown=0) == [1, 0, 0]
    assert tuning.look_up(train, judges, unknown=1) == [1, 0, 1]


def test_committed_fine_tuning_agrees_with_the_script() -> None:
    table = pd.read_csv(tuning.TARGET, comment="#")
    assert set(table["task"]) == {"names", "sentiment"}
    assert set(table["labels"]) == set(tuning.LABELS)
    keys = ["task", "labels", "rival", "passes"]
    for _, part in table.groupby(keys):
        assert part["seed"].tolist() == list(tuning.SEEDS)
        assert part["setting"].nunique() == 1
