"""The course's own detector: its program runs, its card is true."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torchmetrics.detection import MeanAveragePrecision

from helpers.examples import train_tiny_detector as recipe
from helpers.layers import count_parameters
from helpers.scenes import Scene, Scenes

FOLDER = recipe.TARGET
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
FIGURES = ("mAP50", "any object", "foreground IoU")


@pytest.mark.slow
def test_the_program_runs_and_continues(tmp_path: Path) -> None:
    counts = {"train": 32, "valid": 6, "test": 6}
    recipe.main(tmp_path / "made", tmp_path / "runs", counts, epochs=2, draws=20)
    first = load_file(tmp_path / "made" / recipe.FILES["pretrained"])
    figures = pd.read_csv(tmp_path / "made" / "figures.csv")
    assert set(FIGURES) <= set(figures.columns)
    log = pd.read_csv(tmp_path / "made" / "log.csv")
    assert log["epoch"].tolist() == [1, 2, 1, 2]
    assert (log.groupby("backbone")["train_loss"].agg(np.ptp) > 0.5).all()
    # What was finished is not trained again, and comes out the same.
    recipe.main(tmp_path / "made", tmp_path / "runs", counts, epochs=2, draws=20)
    again = load_file(tmp_path / "made" / recipe.FILES["pretrained"])
    assert all(torch.equal(first[name], again[name]) for name in first)


def row(backbone: str, stage: str) -> list[float]:
    """The figures of one row of the card's table."""
    found = re.search(rf"^\| {backbone} \| {stage} \|(.*)\|$", CARD, re.MULTILINE)
    assert found, f"the card has no row {backbone} | {stage}"
    return [float(cell.split("[")[0]) for cell in found[1].split("|")]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["pretrained", "random"])
def test_the_committed_weights_reproduce_the_card(backbone: str) -> None:
    scenes = Scenes("test", recipe.SCENES["test"])
    network = recipe.backbone(backbone)
    data = recipe.compute_maps(network, scenes)
    rows = recipe.judge(network, *recipe.load(backbone), scenes, data)
    for measured in rows:
        stated = row(backbone, measured["categories from"])
        ours = [float(measured[name].split(" ")[0]) for name in FIGURES]
        assert ours == pytest.approx(stated, abs=0.01)


def test_the_card_keeps_what_was_promised() -> None:
    ours, control = row("pretrained", "second look"), row("random", "second look")
    assert ours[0] >= 0.45 and ours[1] >= 0.85 and ours[2] >= 0.85
    assert all(a > b + 0.05 for a, b in zip(ours, control, strict=True))
    for fact in ("seed 0", "bfloat16", "float16", "Apache-2.0", "CC BY-SA 4.0"):
        assert fact in CARD


def test_half_precision_lost_nothing() -> None:
    table = pd.read_csv(FOLDER / "figures.csv")
    for name in FIGURES:
        table[name] = table[name].str.split(" ").str[0].astype(float)
    wide = table.pivot(
        index=["backbone", "split", "categories from"], columns="weights"
    )
    for name in FIGURES:
        lost = wide[name, "float32"] - wide[name, "float16"]
        assert lost.abs().max() <= 0.005


def test_the_folder_is_small_and_the_log_complete() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12_000_000
    log = pd.read_csv(FOLDER / "log.csv")
    assert set(log["seed"]) == {recipe.SEED}
    for _, part in log.groupby("backbone"):
        assert part["epoch"].tolist() == list(range(1, recipe.EPOCHS + 1))
        assert part["train_loss"].iloc[-1] < part["train_loss"].iloc[0] - 2


def test_the_committed_head_finds_a_drawing() -> None:
    scenes = Scenes("valid", 20)
    network = recipe.backbone()
    head, names = recipe.load()
    assert round(count_parameters(head)[1] / 1e6, 1) == 0.4
    result = recipe.outputs(head, recipe.compute_maps(network, scenes))
    found = recipe.detect(result)
    best = [f["boxes"][:1] for f in found]
    hits = [recipe.matches(box, scenes[i].boxes).all() for i, box in enumerate(best)]
    assert np.mean(hits) > 0.8
    vectors = recipe.look_again(network, scenes, result[3], found)
    again = recipe.rename(found, vectors, names)
    assert [len(f["categories"]) for f in again] == [len(f["boxes"]) for f in found]


def test_average_precision_is_the_library_s() -> None:
    generator = torch.Generator().manual_seed(0)
    scenes, found = [], []
    for _ in range(40):
        k = int(torch.randint(1, 5, (), generator=generator))
        corner = 120 * torch.rand(k, 2, generator=generator)
        boxes = torch.cat([corner, corner + 50], dim=1)
        labels = torch.randint(0, 6, (k,), generator=generator)
        scenes.append(Scene(torch.empty(0), boxes, labels, torch.ones(k, 8, 8) > 0))
        shaken = boxes.repeat(2, 1) + 7 * torch.randn(2 * k, 4, generator=generator)
        scores = torch.rand(2 * k, generator=generator).sort(descending=True)[0]
        logits = 3 * torch.randn(2 * k, 6, generator=generator)
        found.append({"boxes": shaken, "scores": scores, "categories": logits})
    ours = recipe.bootstrap(found, scenes, torch.zeros(40, 4, 4), draws=2, size=8)
    library = MeanAveragePrecision(
        iou_thresholds=[0.5],
        rec_thresholds=np.linspace(0, 1, 101).tolist(),  # its own are single precision
        backend="faster_coco_eval",
    )
    for f, scene in zip(found, scenes, strict=True):
        scores = f["scores"][:, None] * f["categories"].softmax(dim=1)
        guess = {
            "boxes": f["boxes"].repeat_interleave(6, dim=0),
            "scores": scores.flatten(),
            "labels": torch.arange(6).repeat(len(scores)),
        }
        library.update([guess], [{"boxes": scene.boxes, "labels": scene.labels}])
    assert ours["mAP50"][0] == pytest.approx(
        float(library.compute()["map_50"]), abs=1e-6
    )


def test_a_double_is_a_false_alarm() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    found = truth[[0, 0, 1]] + torch.tensor([[0.0], [1.0], [0.0]])
    assert recipe.matches(found, truth).tolist() == [True, False, True]
    assert recipe.matches(found, truth[:0]).tolist() == [False, False, False]


def test_the_heat_has_one_peak_a_drawing() -> None:
    scenes = Scenes("valid", 12)
    boxes = torch.full((12, recipe.MOST, 4), -1.0)
    for i in range(12):
        boxes[i, : len(scenes[i].boxes)] = scenes[i].boxes
    heat = recipe.heat_targets(boxes, 24)
    peaks = (heat == 1).sum(dim=(2, 3))
    assert torch.equal(peaks, (boxes[..., 2] > 0).long())
    assert heat[peaks == 0].max() == 0


def test_distances_give_the_box_back() -> None:
    box = torch.tensor([40.0, 24, 104, 90])
    middle = torch.tensor([9, 7])  # column and row of a cell inside
    x, y = (middle + 0.5) * recipe.STRIDE
    d = torch.stack([x - box[0], y - box[1], box[2] - x, box[3] - y]) / recipe.STRIDE
    boxes = recipe.to_boxes(d[None, :, None, None].expand(1, 4, 24, 24))
    torch.testing.assert_close(boxes[0, middle[1], middle[0]], box)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="kind='resnet'"):
        recipe.backbone("resnet")
