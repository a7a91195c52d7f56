"""The course's small CLIP: it finds unseen drawings by name, and its card is true."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from helpers.datasets import openmoji_names, openmoji_signs
from helpers.examples import train_tiny_clip as recipe

FOLDER = recipe.TARGET
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_folder_is_small_and_the_model_loads() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12_000_000
    model = recipe.load()
    assert model.get_buffer("anchors").shape == (1460, recipe.FEATURES)
    vectors = model.image(torch.randn(3, recipe.FEATURES))
    assert vectors.shape == (3, recipe.WIDTH)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


@pytest.mark.slow
def test_the_weights_give_the_figures_of_the_card(tmp_path: Path) -> None:
    data = recipe.vectors(openmoji_signs("test"), str(tmp_path))
    found = recipe.ranks(recipe.load(), data, torch.arange(len(data.table)))
    for name, rank in found.items():
        row = re.search(rf"\| {name} \| (.*) \|", CARD)
        assert row, name
        for k, cell in zip(recipe.K, row[1].split(" | "), strict=False):
            said, low, high = map(float, re.findall(r"[\d.]+", cell))
            share = (rank <= k).float().mean().item()
            assert abs(share - said) < 0.011, (name, k)
            assert low < share < high


def test_a_reduced_run_leaves_a_model_a_log_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(recipe, "SIZES", (20,))
    recipe.main(tmp_path / "out", epochs=1, every=25)
    log = pd.read_csv(tmp_path / "out" / "log.csv")
    assert set(log["protocol"]) == {"valid", "test", "mixed"}
    assert log.groupby("protocol")["seed"].nunique().eq(3).all()
    sizes = log.loc[log["protocol"] == "test", "signs"]
    assert set(sizes) == {20, sizes.max()}
    model = recipe.load(tmp_path / "out")
    assert len(model.get_buffer("anchors")) == sizes.max()
    assert "| en both |" in capsys.readouterr().out


def test_log_and_card_are_of_this_script() -> None:
    log = pd.read_csv(FOLDER / "log.csv")
    curve = (
        log[log["protocol"] == "test"].groupby("signs")["en R@10"].agg(["mean", "size"])
    )
    assert list(curve.index) == [*recipe.SIZES, 1460]
    assert (curve["size"] == len(recipe.SEEDS)).all()
    assert curve["mean"].iloc[-1] > curve["mean"].iloc[0] + 0.1
    assert log.loc[log["protocol"] == "test", "unseen"].eq(389).all()
    for fact in (f"{recipe.EPOCHS} epochs", "seed 0", "float16", "CC BY-SA 4.0"):
        assert fact in CARD


def test_several_right_answers_share_the_loss() -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    own = torch.arange(4)
    usual = (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
    alone = recipe.multi_positive(scores, torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(alone, usual)
    fits = torch.eye(4, dtype=torch.bool)
    fits[0, 1] = fits[1, 0] = True
    good = torch.where(fits, 5.0, -5.0)
    assert recipe.multi_positive(good, fits) < recipe.multi_positive(good, ~fits | fits)
    worse = good.clone()
    worse[0, 1] = -5.0
    assert recipe.multi_positive(worse, fits) > recipe.multi_positive(good, fits)


def test_what_is_tested_was_never_trained_on() -> None:
    signs, six = openmoji_signs(), openmoji_names()
    split = signs.set_index("codepoints")["split"]
    assert split.index.is_unique
    assert (split[six["codepoints"]].to_numpy() == six["split"].to_numpy()).all()
    tested = signs[signs["split"] == "test"]
    assert len(tested) == 389 and "flags" not in set(tested["category"])
    people = tested[tested["category"] == "people-body"]
    assert not people["emoji"].str.contains("\u200d").any()
    chosen = recipe.parts(signs)
    for rows, unseen in chosen.values():
        assert not set(rows.tolist()) & set(unseen.tolist())
    assert (signs["split"].iloc[chosen["test"][0].numpy()] != "test").all()
    assert (signs["split"].iloc[chosen["valid"][0].numpy()] == "train").all()
