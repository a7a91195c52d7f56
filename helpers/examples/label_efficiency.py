"""How many labels does pretraining save on emoji? Two tables. See notebook 01.

    python -m helpers.examples.label_efficiency

The rival of notebook 01, a small network trained from scratch, plain and with
augmentation: rate, passes and so on are chosen one after the other on the validation
pictures with 20 labels a class; then it learns from draws of 2 to 50 labels a class,
beside heads on MobileNetV2's features of 224 x 224 pictures. A second table says which
of all 998 drawings such a head gets right at two resolutions. About seven minutes with
one thread. Interrupt it when you like: the same command continues after the last
finished row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import mobilenet_v2
from torchvision.transforms import v2

import helpers
from helpers.datasets import openmoji, openmoji_names, openmoji_signs
from helpers.examples import records

__all__ = ["CURVES", "NUM_LABELS", "RESOLUTION", "SIZES", "augment", "augmented_step"]
__all__ += ["changes", "draw", "head", "main", "shrink", "small_cnn"]
__all__ += ["train_from_scratch"]

NUM_LABELS = (2, 5, 10, 20, 50)
DRAWS, DRAWS_TO_CHOOSE = 5, 3
SIZES, REPEATS = (96, 224), 2
CURVES = records.RUNS / "01_label_efficiency.csv"
RESOLUTION = records.RUNS / "01_resolution.csv"
COMMAND = "python -m helpers.examples.label_efficiency"
COLUMNS: tuple[str, ...] = (
    "model",
    "augment",
    "lr",
    "passes",
    "size",
    "labels",
    "draw",
    "seconds",
)
COLUMNS += ("valid", "as drawn", "quarter turn", "grey", "negative", "hits")


def draw(y: torch.Tensor, k: int, seed: int) -> np.ndarray:
    """Positions of k random examples a class; the draws of 5 contain those of 2."""
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(y == c))[:k] for c in y.unique()]
    return np.concatenate(each)


def small_cnn(classes: int = 6) -> nn.Sequential:
    """Three convolutions, pooled to 64 numbers, and a linear layer: 24,000 weights."""
    layers: list[nn.Module] = []
    for c_in, c_out in [(3, 16), (16, 32), (32, 64)]:
        layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(c_out), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(*layers, *head)


def shrink(size: int = 32, by_way_of: int | None = None) -> v2.Compose:
    """Pictures (n, 3, h, w) in 0..1 to what the network takes: small, in -1..1.

    Args:
        by_way_of: shrink to this size first. Each step blurs a little, and a network
            that learned from blurred pictures must also be asked about such.
    """
    first = [v2.Resize(by_way_of)] if by_way_of else []
    return v2.Compose([*first, v2.Resize(size), v2.Normalize([0.5], [0.5])])


def augment(X: torch.Tensor, kind: str = "shapes") -> torch.Tensor:
    """Every picture (n, 3, h, w), in 0..1, changed in its own random way.

    Args:
        kind: "mirror" (half of them, and all moved a little), "shapes" (also turned,
            stretched, slanted), "shapes, colours" (the three colours also weighed).
    """
    turn = 0.0 if kind == "mirror" else 1.0
    most = torch.tensor([[0.3 * turn], [0.2 * turn], [0.2 * turn], [0.1], [0.1]])
    angle, scale, lean, right, down = most * (2 * torch.rand(5, len(X)) - 1)
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    flip = torch.randint(2, (len(X),)) * 2 - 1
    rows = torch.stack([flip * cos, lean - sin, right, flip * sin, cos, down], dim=1)
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(X.shape), False)
    ink = functional.grid_sample(1 - X, grid, align_corners=False)  # the paper: white
    if kind.endswith("colours"):
        ink = ink * (0.6 + 0.8 * torch.rand(len(X), 3, 1, 1))
    return (1 - ink).clamp(0, 1)


def augmented_step(
    model: nn.Module, batch: Sequence[torch.Tensor], kind: str = "shapes, colours"
) -> tuple[torch.Tensor, torch.Tensor]:
    """A step for `fit` on pictures of 64 x 64: change them, then shrink them."""
    X, y = batch
    scores = model(shrink()(augment(X, kind)))
    return functional.cross_entropy(scores, y), scores


def train_from_scratch(
    make_model: Callable[[], nn.Module],
    X: torch.Tensor,
    y: torch.Tensor,
    lr: float,
    seed: int = 0,
    passes: int = 12,
    step: Callable[..., tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> nn.Module:
    """A network trained by a rate that rises, then falls; few examples pass often."""
    helpers.seed_everything(seed)
    model = make_model()
    history = helpers.fit(
        model,
        DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True),
        epochs=max(passes, 100 * passes // len(y)),
        lr=lr,
        scheduler=lambda optimizer, steps: OneCycleLR(optimizer, lr, steps),
        step=step,
        channels_last=X.ndim == 4,
        seed=seed,
    )
    if history.outcome == "interrupted":
        raise KeyboardInterrupt
    return model


def head(C: float = 0.01) -> LogisticRegression:
    """The head of notebook 01: logistic regression; its inputs are scaled before."""
    return LogisticRegression(C=C, solver="newton-cg", max_iter=500)


changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as drawn": lambda X: X,
    "quarter turn": lambda X: X.rot90(dims=(2, 3)),
    "grey": v2.Grayscale(num_output_channels=3),
    "negative": lambda X: 1 - X,
}


@dataclass(frozen=True)
class Setting:
    """How the network from scratch is trained."""

    augment: str
    lr: float
    passes: int
    size: int = 32

    def step(self) -> Callable[..., tuple[torch.Tensor, torch.Tensor]] | None:
        """The step for `fit`: None, or one that augments."""
        if self.augment == "none":
            return None
        return partial(augmented_step, kind=self.augment)


# Where the choice begins, and what it tries, one thing after the other.
Stages = tuple[tuple[str, tuple[object, ...]], ...]
SEARCH: dict[str, tuple[Setting, int, Stages]] = {
    "from scratch": (
        Setting("none", 1e-2, 12),
        5,
        (
            ("lr", (1e-3, 3e-3, 1e-2, 3e-2)),
            ("passes", (12, 40)),
            ("size", (32, 64)),
        ),
    ),
    "from scratch, augmented": (
        Setting("shapes, colours", 1e-2, 40),
        3,
        (
            ("augment", ("mirror", "shapes", "shapes, colours")),
            ("lr", (3e-3, 1e-2)),
        ),
    ),
}


class Table:
    """Rows of a CSV file that are written as soon as they are known."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, records.read(path)

    def find(self, wanted: dict[str, object], test: bool) -> dict[str, str] | None:
        """The row that has these values, if there is one; tested if asked for."""
        for row in self.rows:
            same = all(row[name] == str(value) for name, value in wanted.items())
            if same and (row["hits"] or not test):
                return row
        return None

    def add(self, row: dict[str, object]) -> dict[str, str]:
        """Append a row and write the file."""
        self.rows.append({name: str(row.get(name, "")) for name in COLUMNS})
        total = sum(float(row["seconds"] or 0) for row in self.rows)
        about = [
            "Accuracy on emoji drawings with few labels a class, by draw of the",
            "labels. from scratch: the small network of notebook 01; pretrained:",
            "logistic regression on MobileNetV2's features at 224 x 224. Rows",
            "without hits chose lr, augment, size and passes on the validation",
            "pictures (three draws of 20 labels a class); the others show the test",
            "pictures, as drawn and changed. hits: 1 for each test picture that is",
            "right. seeds: the draws. seconds: of the processor.",
            *_origin(total),
        ]
        records.write(self.path, about, COLUMNS, self.rows)
        print(", ".join(filter(None, list(self.rows[-1].values())[:-1])), flush=True)
        return self.rows[-1]


def curves(
    path: Path,
    *,
    labels: Sequence[int] = NUM_LABELS,
    chances: int = DRAWS_TO_CHOOSE,
    search: dict[str, tuple[Setting, int, Stages]] = SEARCH,
) -> None:
    """Fill ``path`` with the curves from scratch; finished rows are not run again."""
    table, pictures = Table(path), {}
    plain = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    for split in ("train", "valid", "test"):
        data = openmoji(split, plain)
        X = torch.stack([picture for picture, _ in data])
        pictures[split] = X, torch.tensor(data.targets)

    def run(model: str, setting: Setting, k: int, seed: int, test: bool) -> float:
        about = {"model": model, **asdict(setting), "labels": k, "draw": seed}
        if done := table.find(about, test):
            return float(done["valid"])
        X, y = pictures["train"]
        small = shrink(setting.size, 64 if setting.step() else None)
        X = v2.Resize(64)(X) if setting.step() else small(X)
        chosen = draw(y, k, seed)
        start = time.process_time()
        net = train_from_scratch(
            small_cnn,
            X[chosen],
            y[chosen],
            setting.lr,
            seed,
            setting.passes,
            setting.step(),
        )
        seconds = round(time.process_time() - start, 1)

        def right(pictures: torch.Tensor, y: torch.Tensor) -> np.ndarray:
            loader = DataLoader(TensorDataset(small(pictures), y), 100)
            return (helpers.predict(net, loader).argmax(dim=1) == y).numpy()

        new: dict[str, object] = {**about, "seconds": seconds}
        new["valid"] = round(right(*pictures["valid"]).mean(), 4)
        if test:
            X, y = pictures["test"]
            hits = {name: right(change(X), y) for name, change in changes.items()}
            new |= {name: round(values.mean(), 4) for name, values in hits.items()}
            new["hits"] = _digits(hits["as drawn"])
        return float(table.add(new)["valid"])

    for model, (best, draws, stages) in search.items():
        for name, values in stages:
            tried = [replace(best, **{name: value}) for value in values]  # type: ignore[arg-type]
            found = [
                np.mean([run(model, one, 20, s, test=False) for s in range(chances)])
                for one in tried
            ]
            best = tried[int(np.argmax(found))]
        for k in labels:
            for seed in range(draws):
                run(model, best, k, seed, test=True)


def resolution(
    path: Path,
    curves: Path,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    limit: int | None = None,
) -> None:
    """Fill ``path`` with hits by resolution, and ``curves`` with a curve at 224."""
    table, names, rows = Table(curves), openmoji_names(), records.read(path)
    paths = openmoji_signs().set_index("emoji")["path"]
    files = paths[names["emoji"]].tolist()[:limit]
    split = names["split"].to_numpy()[:limit]
    y = torch.tensor(names["category"].astype("category").cat.codes.to_numpy(int))
    y = y[:limit].long()
    train, valid, test = (split == s for s in ("train", "valid", "test"))
    if not rows:
        pairs = zip(names["emoji"], names["split"], strict=True)
        rows = [{"emoji": e, "split": s} for e, s in list(pairs)[:limit]]
    backbone = mobilenet_v2(weights="IMAGENET1K_V1")
    backbone.classifier = nn.Identity()
    backbone.to(memory_format=torch.channels_last)
    for size in sizes:
        if f"folds at {size}" in rows[0]:
            continue
        start = time.process_time()
        look = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(size),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        X = torch.stack([look(Image.open(file).convert("RGB")) for file in files])
        loader = DataLoader(TensorDataset(X, y), batch_size=32)
        features = helpers.cache_features(backbone, loader, progress=False).x.numpy()
        folds, model = np.zeros(len(y), int), make_pipeline(StandardScaler(), head())
        for repeat in range(REPEATS):
            parts = StratifiedKFold(5, shuffle=True, random_state=repeat)
            for learn, ask in parts.split(features, y):
                model.fit(features[learn], y[learn])
                folds[ask] += model.predict(features[ask]) == y[ask].numpy()
        model.fit(features[train], y[train])
        once = model.predict(features) == y.numpy()
        for row, f, o in zip(rows, folds, once, strict=True):
            row[f"folds at {size}"] = str(f)
            row[f"test at {size}"] = str(int(o)) if row["split"] == "test" else ""
        seconds = time.process_time() - start
        about = [
            "Which drawings does a head on MobileNetV2's features get right? By the",
            "side of the square picture in pixels. 'folds at': how often in two",
            "repeats of five folds over all drawings (0, 1, 2); 'test at': with the",
            "head that learned from the training drawings alone (0, 1). seeds: 0 and",
            "1 (folds). seconds: of the processor, for the last size.",
            *_origin(seconds),
        ]
        records.write(path, about, list(rows[0]), rows)
        print(
            f"{size} px: {folds.mean() / REPEATS:.3f}, {once[test].mean():.3f}",
            flush=True,
        )
        if size == 224:
            scaled = StandardScaler().fit(features[train]).transform(features)
            X_train, y_train = scaled[train], y[train]
            for k in NUM_LABELS:
                for seed in range(draws):
                    chosen = draw(y_train, k, seed)
                    fitted = head().fit(X_train[chosen], y_train[chosen])
                    new = {"model": "pretrained", "size": size}
                    new |= {"labels": k, "draw": seed}
                    right = fitted.predict(scaled) == y.numpy()
                    new["valid"] = round(right[valid].mean(), 4)
                    new["as drawn"] = round(right[test].mean(), 4)
                    table.add(new | {"hits": _digits(right[test])})


def _digits(hits: np.ndarray) -> str:
    return "".join(str(int(hit)) for hit in hits)


def _origin(seconds: float) -> list[str]:
    return [
        f"command: {COMMAND}",
        f"machine: {records.machine()}; {seconds:.0f} s",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Fill both tables, or continue them."""

    def fill() -> None:
        curves(CURVES)
        resolution(RESOLUTION, CURVES)

    return records.command(fill, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
