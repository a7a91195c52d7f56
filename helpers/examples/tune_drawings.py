"""A frozen backbone against fine-tuning on the same drawings: a table. See notebook 10.

    python -m helpers.examples.tune_drawings

Both sides see OpenMoji at 96 x 96 pixels. The frozen side is the head of notebook 09, a
ridge classifier on MobileNetV2's vectors. The other side begins with such a head, made
from the same views, and lets blocks learn (Kumar et al. 2022: linear probe, then
fine-tuning), with the statistics of batch norm frozen; `alpha` below 1 is the average
of both ends (WiSE-FT). How many blocks, which rate, which views and which alpha: three
folds of the 698 labelled drawings decide, 99 held out in each. Then the 300 test
drawings are read, with five seeds, and 500 test digits with the same setting. It takes
ten minutes with one thread. Interrupt it when you like: the same command continues
after the last finished row.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.transforms import v2

import helpers
from helpers.datasets import mnist, openmoji
from helpers.examples import records

__all__ = ["Data", "begin", "blend", "main", "ridge_head", "ridge_probe", "sweep"]
__all__ += ["tune", "upper_half"]

TARGET = records.RUNS / "10_fair_fight.csv"
WEIGHTS = MobileNet_V2_Weights.IMAGENET1K_V1
SIDE, EPOCHS, BATCH = 96, 8, 32
SEEDS, FOLDS = (0, 1, 2, 3, 4), (0, 1, 2)
SIZES = (150, 300)  # of the learning curve, besides all
BLOCKS = 19  # of MobileNetV2
RATES = {5: (3e-4,), 12: (1e-4, 3e-4, 1e-3)}
ALPHAS = (0.5, 0.75, 1.0)
VIEWS = ("plain", "mirrored")
SHARPER = 3.0  # ridge scores lie near -1 and 1: too unsure for a softmax
COLUMNS = ["task", "labels", "fold", "seed", "thawed", "lr", "views", "alpha"]
COLUMNS += ["seconds", "valid", "valid_loss", "test", "test_loss", "answers"]


class Data(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures in one or several views: a read draws one view of the picture.

    Args:
        x: (views, n, …) what the frozen lower blocks make of each view.
        y: (n,) labels.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        view = int(torch.randint(len(self.x), ())) if len(self.x) > 1 else 0
        return self.x[view, index], self.y[index]

    def part(self, rows: torch.Tensor) -> Data:
        """The same views of some of the pictures."""
        return Data(self.x[:, rows], self.y[rows])

    def plain(self) -> DataLoader:
        """Batches of the first view, in order: for evaluation."""
        return DataLoader(TensorDataset(self.x[0], self.y), batch_size=100)


def upper_half(thawed: int) -> tuple[nn.Module, nn.Module]:
    """The blocks that stand still, and those that learn; batch norms stand still.

    Returns:
        lower: blocks below, of pretrained MobileNetV2.
        upper: the last ``thawed`` of its 19 blocks, mean over positions, dropout, and a
            new head for six classes.
    """
    model = mobilenet_v2(weights=WEIGHTS).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            helpers.freeze(module)
    cut = BLOCKS - thawed
    upper = nn.Sequential()
    upper.blocks = model.features[cut:]
    upper.pool, upper.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    upper.dropout, upper.head = nn.Dropout(0.2), nn.Linear(model.last_channel, 6)
    return helpers.freeze(model.features[:cut]), upper


def ridge_probe(x: torch.Tensor, y: torch.Tensor) -> Pipeline:
    """Notebook 09's head on vectors (n, d): leave-one-out chooses its strength."""
    ridge = RidgeClassifierCV(alphas=np.logspace(1, 6, 11))
    return make_pipeline(StandardScaler(), ridge).fit(x.numpy(), y.numpy())


def ridge_head(probe: Pipeline, sharper: float = SHARPER) -> nn.Linear:
    """A fitted `ridge_probe` as one layer: the same scores, times ``sharper``."""
    scaler, ridge = probe[0], probe[1]
    weight = ridge.coef_ / scaler.scale_
    bias = ridge.intercept_ - weight @ scaler.mean_
    head = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(sharper * weight))
        head.bias.copy_(torch.from_numpy(sharper * bias))
    return head


def begin(upper: nn.Module, probe: Pipeline) -> nn.Module:
    """A copy of ``upper`` with the probe as its head: it answers as the probe does."""
    upper = copy.deepcopy(upper)
    upper.head = ridge_head(probe)
    return upper


def tune(
    upper: nn.Module, data: Dataset[Any], lr: float, seed: int, epochs: int = EPOCHS
) -> nn.Module:
    """Fine-tune with AdamW; the rate climbs for a tenth of the steps, then falls."""
    learning = [p for p in upper.parameters() if p.requires_grad]
    helpers.fit(
        upper,
        DataLoader(data, BATCH, shuffle=True),
        epochs=epochs,
        optimizer=torch.optim.AdamW(learning, lr=lr),
        scheduler=lambda o, n: OneCycleLR(o, lr, total_steps=n, pct_start=0.1),
        channels_last=True,
        seed=seed,
        progress=False,
    )
    return upper


def blend(start: nn.Module, end: nn.Module, alpha: float) -> nn.Module:
    """WiSE-FT: (1 - alpha) times all weights of ``start``, plus alpha times ``end``."""
    middle = copy.deepcopy(end)
    with torch.no_grad():
        pairs = zip(middle.parameters(), start.parameters(), strict=True)
        for weight, first in pairs:
            weight.lerp_(first.to(weight.device), 1 - alpha)
    return middle


def _transforms(views: str) -> list[Any]:
    """What makes each view; the first one is always the picture as it is."""
    plain = WEIGHTS.transforms(resize_size=SIDE, crop_size=SIDE)
    mirrored = v2.Compose([v2.RandomHorizontalFlip(p=1.0), plain])
    return [plain, mirrored] if views == "mirrored" else [plain]


@cache
def _pictures(task: str, views: str) -> tuple[Data, Data]:
    """Labelled pictures (OpenMoji: "train", then "valid"), and those for the test."""
    changes = _transforms(views)
    parts = []
    for splits in (("train", "valid"), ("test",)):
        stacks = []
        for change in changes if splits != ("test",) else changes[:1]:
            if task == "drawings":
                pairs = [pair for s in splits for pair in openmoji(s, change)]
            else:
                count = 500 if splits == ("test",) else 599
                pixels, labels = mnist(splits[0], limit=count).tensors
                pairs = list(zip(pixels.expand(-1, 3, -1, -1), labels, strict=True))
                pairs = [(change(image), label) for image, label in pairs]
            stacks.append(torch.stack([image for image, _ in pairs]))
        y = torch.tensor([int(label) for _, label in pairs])
        parts.append(Data(torch.stack(stacks), y))
    return parts[0], parts[1]


@cache
def _cached(task: str, views: str, thawed: int) -> tuple[Data, Data]:
    """Both parts behind the frozen lower blocks; ``thawed`` 0: as vectors."""
    if thawed == BLOCKS:
        return _pictures(task, views)
    lower, upper = upper_half(max(thawed, 1))
    if not thawed:
        lower = nn.Sequential(lower, *list(upper.children())[:3])
    lower.to(memory_format=torch.channels_last)
    found = []
    with torch.inference_mode():
        for data in _pictures(task, views):
            rows = [torch.cat([lower(x) for x in view.split(64)]) for view in data.x]
            found.append(Data(torch.stack(rows).clone(), data.y))
    return found[0], found[1]


def _rows(task: str, labels: int, fold: int | None, seed: int) -> list[torch.Tensor]:
    """Which labelled pictures train, and which validate."""
    total = len(_pictures(task, "plain")[0])
    if fold is not None:
        order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
        held = torch.zeros(total, dtype=torch.bool)
        held[order[99 * fold : 99 * (fold + 1)]] = True
        return [(~held).nonzero().flatten(), held.nonzero().flatten()]
    train = torch.arange(599)  # notebook 09's
    if labels < len(train):
        draw = torch.Generator().manual_seed(seed)
        train = train[torch.randperm(len(train), generator=draw)[:labels]]
    return [train, torch.tensor([], dtype=torch.long)]


def _scores(scores: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    right = (scores.argmax(dim=1) == y).float().mean().item()
    return round(right, 4), round(cross_entropy(scores, y).item(), 3)


def run(
    task: str,
    labels: int,
    fold: int | None,
    seed: int,
    thawed: int,
    lr: float,
    views: str,
    alphas: Sequence[float],
) -> list[dict[str, Any]]:
    """One training, one row for each alpha: on a fold, or with the test pictures."""
    train, held = _rows(task, labels, fold, seed)
    vectors, data = _cached(task, views, 0), _cached(task, views, thawed)
    start = time.process_time()
    x = vectors[0].x[:, train]
    probe = ridge_probe(x.flatten(0, 1), vectors[0].y[train].repeat(len(x)))
    models: dict[float, nn.Module] = {0.0: ridge_head(probe)}
    if thawed:
        first = begin(upper_half(thawed)[1], probe)
        tuned = tune(copy.deepcopy(first), data[0].part(train), lr, seed)
        models = {alpha: blend(first, tuned, alpha) for alpha in alphas}
    seconds = round(time.process_time() - start, 1)
    name = "valid" if fold is not None else "test"
    judges = data[0].part(held) if fold is not None else data[1]
    rows = []
    for alpha, model in models.items():
        scores = helpers.predict(model, judges.plain())
        row = dict(zip(COLUMNS, [task, labels, fold, seed, thawed, lr], strict=False))
        row |= {"views": views, "alpha": alpha, "seconds": seconds}
        row[name], row[name + "_loss"] = _scores(scores, judges.y)
        if name == "test":
            answers = scores.argmax(dim=1).tolist()
            row["answers"] = "".join(map(str, answers))
        rows.append(row)
    return rows


def sweep(
    target: Path,
    *,
    rates: Mapping[int, Sequence[float]] = RATES,
    views: Sequence[str] = VIEWS,
    folds: Sequence[int] = FOLDS,
    seeds: Sequence[int] = SEEDS,
    sizes: Sequence[int] = SIZES,
    tasks: Sequence[str] = ("drawings", "digits"),
) -> None:
    """Fill ``target`` row by row; rows that are there already are not run again."""
    table = records.read(target)

    def rows(*what: Any, alphas: Sequence[float] = ALPHAS) -> list[dict[str, Any]]:
        """Rows of the table, or of a new run, for (task, …, views)."""
        key = [str(value) if value is not None else "" for value in what]
        found = [r for r in table if [str(r[c]) for c in COLUMNS[:7]] == key]
        found = [r for r in found if not what[4] or float(r["alpha"]) in alphas]
        if not found:
            found = [
                {c: "" if row.get(c) is None else row[c] for c in COLUMNS}
                for row in run(*(*what, alphas))
            ]
            table.extend(found)
            _write(target, table)
            shown = {k: v for k, v in found[-1].items() if k != "answers"}
            print(", ".join(f"{k} {v}" for k, v in shown.items()), flush=True)
        return found

    def choose(thawed: int, lr: float, kind: str) -> list[tuple[float, Any]]:
        """(mean accuracy on the folds, the setting) for each alpha."""
        judged = [rows("drawings", 599, f, 0, thawed, lr, kind) for f in folds]
        means = [
            np.mean([float(r["valid"]) for r in rs]) for rs in zip(*judged, strict=True)
        ]
        return [
            (float(mean), (thawed, lr, kind, float(row["alpha"])))
            for mean, row in zip(means, judged[0], strict=True)
        ]

    best = {}
    for side, steps in (("frozen", {0: (0.0,)}), ("tuned", rates)):
        found = [
            c
            for thawed, lrs in steps.items()
            for lr in lrs
            for c in choose(thawed, lr, "plain")
        ]
        thawed, lr = max(found)[1][:2]
        found += [c for v in views if v != "plain" for c in choose(thawed, lr, v)]
        best[side] = max(found)[1]
        print(side, "chosen:", best[side], flush=True)
    # From here on the test pictures are read, once for each seed.
    for task in tasks:
        for labels in (599, *sizes) if task == "drawings" else (300,):
            for seed in seeds:
                frozen = seed if labels < 599 else 0  # all labels: no chance in it
                rows(task, labels, None, frozen, 0, 0.0, "plain")
                if best["frozen"][2] != "plain":
                    rows(task, labels, None, frozen, *best["frozen"][:3])
                thawed, lr, kind, alpha = best["tuned"]
                kind = "plain" if task == "digits" else kind  # a mirrored 2 is no 2
                alphas = sorted({alpha, 1.0})
                rows(task, labels, None, seed, thawed, lr, kind, alphas=alphas)


def _write(target: Path, rows: list[dict[str, Any]]) -> None:
    total = sum(float(row["seconds"]) for row in rows if float(row["alpha"]) in (0, 1))
    head = [
        "A frozen MobileNetV2 with notebook 09's head, and the same network fine-tuned",
        f"from that head on, {EPOCHS} epochs, 96 x 96 pixels. labels: how many;",
        "fold: of three, each holds 99 of the 698 labelled drawings out (valid);",
        "without fold: trained on 'train', read on 'test'. seed: of order and dropout,",
        "and of which pictures where labels are fewer. thawed: how many of the 19",
        "blocks learn; 0 is the frozen side. alpha: part of the way from the frozen to",
        "the tuned weights. The setting was chosen on the folds, mean of valid; only",
        "it was tested. answers: the class of each test picture, in order.",
        "seconds: of the processor, for training. seeds: 0 to 4.",
        "command: python -m helpers.examples.tune_drawings",
        f"machine: {records.machine()}; trained {total:.0f} s in all",
    ]
    records.write(target, head, COLUMNS, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep, or continue it."""
    return records.command(lambda: sweep(TARGET), __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
