"""The course's own pretrained checkpoint: it loads, it guesses, its card is true."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from helpers.datasets import movie_reviews
from helpers.examples import pretrain_tiny_bert as recipe
from helpers.layers import count_parameters
from helpers.objectives import mask_tokens

FOLDER = recipe.TARGET


def test_it_guesses_hidden_words_of_unseen_reviews() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForMaskedLM.from_pretrained(FOLDER).eval()
    reviews = movie_reviews("test", "imdb", limit=60).texts
    lines = [recipe.clean(line) for line in recipe.sentences(reviews)]
    blocks = recipe.pack(tokenizer, [line for line in lines if recipe.is_prose(line)])
    inputs, labels = mask_tokens(
        blocks,
        mask_id=tokenizer.mask_token_id,
        vocab_size=len(tokenizer),
        special=blocks < len(recipe.SPECIAL),
        generator=torch.Generator().manual_seed(0),
    )
    hidden = labels != -100
    with torch.inference_mode():
        guesses = model(inputs).logits.argmax(dim=2)
    accuracy = (guesses[hidden] == labels[hidden]).float().mean()
    most_frequent = labels[hidden].bincount().max() / hidden.sum()
    assert hidden.sum() > 1000
    assert accuracy > 0.28 and accuracy > most_frequent + 0.15


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000


def test_log_and_script_agree() -> None:
    log = pd.read_csv(FOLDER / "log.csv")
    assert set(log["seed"]) == {recipe.SEED}
    assert log["step"].iloc[-1] == recipe.STEPS
    assert (log["step"].diff().dropna() == recipe.STEPS_A_ROW).all()
    assert log["valid_loss"].iloc[-1] < log["valid_loss"].iloc[0] - 2


def test_the_checkpoint_is_the_model_that_the_script_builds() -> None:
    built = recipe.build_model()
    loaded = AutoModelForMaskedLM.from_pretrained(FOLDER)
    shapes = {name: p.shape for name, p in built.named_parameters()}
    assert {name: p.shape for name, p in loaded.named_parameters()} == shapes
    assert round(count_parameters(loaded)[1] / 1e6, 1) == 0.9


def test_cleaning_mends_and_keeps() -> None:
    assert (
        recipe.clean("Great!!!!!  see www.a.com &amp; it\x92s") == "Great! see & it’s"
    )
    assert recipe.is_prose("a fine and funny film")
    assert not recipe.is_prose("8/10 *****")
    assert recipe.drop_copies(["A film.", "a film", "Another"]) == [
        "A film.",
        "Another",
    ]


def test_near_copies_go_and_the_first_stays() -> None:
    first = "this is by far the best film that I have seen in all these years"
    lines = [first, first + " again", "a short and quite different line of words"]
    assert recipe.drop_near_copies(lines) == [lines[0], lines[2]]


def test_card_names_what_matters() -> None:
    card = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    for fact in ("6,000 steps", "seed 0", "float32", "Apache-2.0", "unstated"):
        assert fact in card
