"""The course's own translator: it translates, its script runs, its card is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sacrebleu.metrics import BLEU
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.datasets import ui_translations
from helpers.examples import train_tiny_translator as recipe
from helpers.layers import count_parameters
from helpers.loop.batches import Batches

FOLDER = recipe.TARGET
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chinese() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def english() -> Any:
    return AutoTokenizer.from_pretrained(recipe.ENCODER)


@pytest.fixture(scope="module")
def model() -> Any:
    return recipe.join(AutoModelForCausalLM.from_pretrained(FOLDER))


def test_it_translates_what_it_has_not_seen(
    model: Any, english: Any, chinese: Any
) -> None:
    test = ui_translations("test", limit=150)
    said = recipe.translate(model, english, chinese, test.en, num_beams=4)
    found = recipe.memory(ui_translations("train"), test.en)
    assert recipe.bleu(said, test.zh) > recipe.bleu(found, test.zh) + 5
    assert sum(bool(re.search("[\u4e00-\u9fff]", line)) for line in said) > 140


def test_batches_do_not_change_a_translation(
    model: Any, english: Any, chinese: Any
) -> None:
    texts = ["Open the window", "The device is not connected to the network.", "Volume"]
    together = recipe.translate(model, english, chinese, texts)
    alone = [recipe.translate(model, english, chinese, [text])[0] for text in texts]
    assert together == alone


def test_any_text_survives_the_tokenizer(chinese: Any) -> None:
    train = ui_translations("train", limit=500)
    for text in [*train.zh, "SMLIGHT 的 Webhook", "ŷ ☃ 龘", "第 12 个 （A/B）"]:
        assert chinese.decode(chinese(text).input_ids, skip_special_tokens=True) == text


def test_the_tokenizer_is_what_the_script_learns(chinese: Any) -> None:
    again = recipe.train_tokenizer(ui_translations("train").zh)
    assert again.get_vocab() == chinese.get_vocab()
    text = "要唤醒的设备的 MAC 地址。"
    assert again.tokenize(text) == chinese.tokenize(text)


def test_the_checkpoint_is_the_model_that_the_script_builds(model: Any) -> None:
    built = recipe.build_decoder()
    loaded = model.decoder
    assert loaded.dtype == torch.float32
    shapes = {name: p.shape for name, p in built.named_parameters()}
    assert {name: p.shape for name, p in loaded.named_parameters()} == shapes
    assert round(count_parameters(loaded)[1] / 1e6, 1) == 5.3
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12_000_000


def test_log_and_script_agree() -> None:
    log = pd.read_csv(FOLDER / "log.csv")
    assert set(log["seed"]) == {recipe.SEED}
    assert log["epoch"].tolist() == list(range(1, recipe.EPOCHS + 1))
    size = len(ui_translations("train"))
    steps = recipe.EPOCHS * -(-size // recipe.BATCH)
    assert log["step"].iloc[-1] == steps
    assert log["valid_loss"].iloc[-1] < log["valid_loss"].iloc[0] - 2


def test_the_script_runs_on_a_few_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "tiny"
    recipe.main(target, epochs=2, limit=200)
    assert len(pd.read_csv(target / "log.csv")) == 2
    first = (target / "model.safetensors").read_bytes()
    # The finished run is found, and gives the same file.
    recipe.main(target, epochs=2, limit=200)
    assert (target / "model.safetensors").read_bytes() == first
    figures = recipe.report(target, limit=20)
    assert figures["translations"].tolist() == ["memory", "greedy", "beam 4"]
    assert (figures["low"] <= figures["high"]).all()
    recipe.compare(target, share=0.1, limit=100)
    table = pd.read_csv(target / "comparison.csv")
    assert set(table["model"]) == {*recipe.ENCODERS, "from scratch"}


def test_batches_hold_every_pair_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, 1000)
    data = recipe.Sentences(
        [torch.zeros(int(n), 4) for n in lengths], [[5] * int(n) for n in lengths]
    )
    loader = DataLoader(
        data, batch_sampler=recipe.LengthBatches(data, 32), collate_fn=recipe.collate
    )
    batches = Batches(loader, "train", seed=0)
    plan = batches.plan(0)
    assert sorted(index for batch in plan for index in batch) == list(range(1000))
    assert plan == batches.plan(0) != batches.plan(1)
    padding = [(batch["mask"] == 0).float().mean() for batch in loader]
    assert np.mean(padding) < 0.1
    batch = next(iter(loader))
    assert (batch["mask"].sum(1) == (batch["wanted"] != -100).sum(1)).all()


def test_the_interval_holds_bleu_and_pairs_the_difference() -> None:
    right = [f"打开第{i}个设备" for i in range(60)]
    good = [line if i % 3 else "关闭设备" for i, line in enumerate(right)]
    bad = [line if i % 3 == 1 else "关闭设备" for i, line in enumerate(right)]
    low, high = recipe.bleu_interval(right, good)
    assert low < recipe.bleu(good, right) < high
    score = BLEU(tokenize="zh").corpus_score(good, [right], n_bootstrap=1000)
    theirs = float(re.findall(r"± ([\d.]+)", score.format())[0])
    assert (high - low) / 2 == pytest.approx(theirs, rel=0.2)
    assert recipe.bleu_interval(right, good, good) == (0, 0)
    low, high = recipe.bleu_interval(right, good, bad)
    assert 0 < low < recipe.bleu(good, right) - recipe.bleu(bad, right) < high


def card_figures() -> dict[str, tuple[float, float]]:
    """BLEU and chrF of each row of the card's table."""
    rows = re.findall(
        r"^\| ([\w ]+) \| ([\d.]+) \([^)]*\) \| ([\d.]+) \|", CARD, re.MULTILINE
    )
    return {name: (float(bleu), float(chrf)) for name, bleu, chrf in rows}


@pytest.mark.slow
def test_the_weights_give_the_figures_of_the_card() -> None:
    figures = recipe.report()
    said = card_figures()
    assert set(figures["translations"]) <= set(said)
    for row in figures.itertuples():
        # Another processor's rounding changes a few words in thousands.
        assert (row.bleu, row.chrf) == pytest.approx(said[row.translations], abs=0.3)
    ahead = figures.set_index("translations").loc["beam 4", "ahead_low"]
    assert ahead > 10


def test_card_names_what_matters() -> None:
    assert len(card_figures()) >= 3
    for fact in ("seed 0", "float16", "Apache-2.0", "1,696", "one thread"):
        assert fact in CARD
    assert f"{recipe.EPOCHS} epochs" in CARD
