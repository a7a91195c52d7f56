"""Train the course's small CLIP: drawings and names in one space. See notebook 18.

    python -m helpers.examples.train_tiny_clip
    python -m helpers.examples.train_tiny_clip --every 20 --folder runs/try

Frozen MobileNetV2 reads the drawings, frozen MiniLM English, the frozen multilingual
sentence encoder English and Chinese. Drawings are described by their likeness to those
trained on; linear maps into one space are all that is trained. The vectors are kept in
runs/tiny-clip, so an interrupted run does not read the drawings again.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

import helpers
from helpers.datasets import openmoji_signs
from helpers.files import replacing

__all__ = ["TinyClip", "Vectors", "bootstrap", "card_rows", "evaluate", "load", "main"]
__all__ += ["multi_positive", "parts", "ranks", "read_drawings", "read_texts", "start"]
__all__ += ["train", "vectors"]

TARGET = Path(__file__).parents[2] / "data" / "tiny-clip"
CACHE = "runs/tiny-clip"
VIEWS = ((96, 96), (200, 160))  # pixels of the picture, and of its middle that is read
FEATURES = 1280 * len(VIEWS)
TEXTS = {"english": 384, "multilingual": 512}
WIDTH = 256  # of the shared space
SEEDS = (0, 1, 2)
SIZES = (175, 350, 700, 1050)  # drawings of the scaling curve, before all 1,460
EPOCHS = 20
BATCH = 512
MAX_LR = 1e-4
DROPOUT = 0.2  # of the likenesses
RIDGE = 0.2
GAMMA = 3.0  # sharpness of the likeness exp(GAMMA (cosine - 1))
K = (1, 5, 10)


# Vectors of the frozen models -----------------------------------------------------


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Drawings for MobileNetV2; the label is the row."""

    def __init__(self, paths: Sequence[str], view: tuple[int, int]) -> None:
        self.paths = list(paths)
        resize, crop = view
        weights = MobileNet_V2_Weights.IMAGENET1K_V1
        self.transform = weights.transforms(resize_size=resize, crop_size=crop)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), index


def read_drawings(paths: Sequence[str], folder: str | None = CACHE) -> Tensor:
    """MobileNetV2's pooled features of each view side by side: (n, 2 x 1280)."""
    model = mobilenet_v2(weights=MobileNet_V2_Weights.IMAGENET1K_V1)
    model.classifier = nn.Identity()
    model = helpers.freeze(model)
    parts = [
        helpers.cache_features(
            model, DataLoader(_Pictures(paths, view), 64), folder=folder
        ).x
        for view in VIEWS
    ]
    return torch.cat([torch.as_tensor(part) for part in parts], dim=1)


def read_texts(texts: Sequence[str], folder: str = CACHE) -> tuple[Tensor, Tensor]:
    """Unit vectors of MiniLM (n, 384) and of the multilingual encoder (n, 512).

    TensorFlow runs in a process of its own; both are kept in ``folder``.
    """
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = Path(folder) / f"texts-{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        other = path.with_suffix(".use.npy")
        subprocess.run(
            [sys.executable, "-m", "helpers.examples.embed_multilingual", str(other)],
            input="\n".join(texts) + "\n",
            encoding="utf-8",
            check=True,
        )
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, english=_minilm(texts), multilingual=np.load(other))
        other.unlink()
    kept = np.load(path)
    english, multilingual = (torch.from_numpy(kept[key]) for key in kept.files)
    return functional.normalize(english), functional.normalize(multilingual)


def _minilm(texts: Sequence[str]) -> np.ndarray:
    from transformers import AutoModel, AutoTokenizer

    name = "sentence-transformers/all-MiniLM-L6-v2"
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModel.from_pretrained(name).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                list(texts[start : start + 64]), padding=True, return_tensors="pt"
            )
            parts.append(helpers.mean_pool(model, batch))
    return torch.cat(parts).numpy()


@dataclass(frozen=True)
class Vectors:
    """All that training reads.

    Attributes:
        table: n signs, the columns of `openmoji_signs`.
        image: (n, 2560).
        english, multilingual: vectors of the texts, (m, 384) and (m, 512).
        captions: rows of the texts of each sign; the English name, the Chinese name,
            then keywords.
        fits: (n, m) True where a text belongs to a sign, whoever else shares it.
    """

    table: pd.DataFrame
    image: Tensor
    english: Tensor
    multilingual: Tensor
    captions: list[list[int]]
    fits: Tensor


def vectors(table: pd.DataFrame, folder: str = CACHE) -> Vectors:
    """Read the drawings and texts of the signs in ``table``."""
    words = [
        [en, zh, *filter(None, keywords.split("; "))]
        for en, zh, keywords in table[["en", "zh", "keywords"]].to_numpy()
    ]
    texts = sorted({word for row in words for word in row})
    number = {text: index for index, text in enumerate(texts)}
    captions = [[number[word] for word in row] for row in words]
    fits = torch.zeros(len(table), len(texts), dtype=torch.bool)
    for row, own in enumerate(captions):
        fits[row, own] = True
    english, multilingual = read_texts(texts, folder)
    image = read_drawings(table["path"].tolist(), folder)
    return Vectors(table, image, english, multilingual, captions, fits)


# Model ------------------------------------------------------------------------------


class TinyClip(nn.Module):
    """Three linear maps into one space, from what three frozen models see.

    ``model.image(x)``, ``model.english(t)`` and ``model.multilingual(t)`` give unit
    vectors (n, 256); their products are cosines, to be multiplied by ``exp(scale)``.
    A drawing enters as its likeness to each of the ``anchors``, the drawings of the
    training: a hidden layer that is not trained (a network of radial basis functions,
    Broomhead & Lowe 1988).
    """

    def __init__(self, anchors: int) -> None:
        super().__init__()
        widths = {"image": anchors, **TEXTS}
        self.maps = nn.ModuleDict(
            {name: nn.Linear(size, WIDTH, bias=False) for name, size in widths.items()}
        )
        for name, size in widths.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
        self.register_buffer("feature_mean", torch.zeros(FEATURES))
        self.register_buffer("feature_std", torch.ones(FEATURES))
        self.register_buffer("anchors", torch.zeros(anchors, FEATURES))
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def weight(self, name: str) -> Tensor:
        """The matrix (256, width) of one map."""
        return self.maps.get_submodule(name).get_parameter("weight")

    def directions(self, x: Tensor) -> Tensor:
        """Standardised features; each view of equal length, together of length one."""
        x = (x - self.get_buffer("feature_mean")) / self.get_buffer("feature_std")
        views = functional.normalize(x.unflatten(1, (len(VIEWS), -1)), dim=2)
        return views.flatten(1) / len(VIEWS) ** 0.5

    def prepared(self, name: str, x: Tensor) -> Tensor:
        """What the map ``name`` reads: centred texts, or centred likenesses."""
        if name == "image":
            cosines = self.directions(x) @ self.get_buffer("anchors").T
            x = (GAMMA * (cosines - 1)).exp()
        return x - self.get_buffer(f"{name}_mean")

    def mapped(self, name: str, prepared: Tensor) -> Tensor:
        """Unit vectors (n, 256)."""
        return functional.normalize(prepared @ self.weight(name).T, dim=1)

    def image(self, x: Tensor) -> Tensor:
        """(n, 2560), as `read_drawings` gives it, to (n, 256)."""
        return self.mapped("image", self.prepared("image", x))

    def english(self, x: Tensor) -> Tensor:
        """(n, 384), MiniLM's unit vectors, to (n, 256)."""
        return self.mapped("english", self.prepared("english", x))

    def multilingual(self, x: Tensor) -> Tensor:
        """(n, 512), the multilingual encoder's unit vectors, to (n, 256)."""
        return self.mapped("multilingual", self.prepared("multilingual", x))


def load(folder: Path = TARGET) -> TinyClip:
    """The committed model, float32 in memory."""
    weights = load_file(folder / "model.safetensors")
    model = TinyClip(len(weights["anchors"]))
    model.load_state_dict({name: x.float() for name, x in weights.items()})
    return model.eval()


def multi_positive(scores: Tensor, fits: Tensor) -> Tensor:
    """InfoNCE where a row or column may have several right answers.

    -log softmax, averaged over the right answers of a row, then over rows, and the same
    over columns (SupCon's first form, Khosla et al. 2020, equation 2).

    Args:
        scores: (n, n) cosines times exp(scale).
        fits: (n, n) bool; True on the diagonal at least.
    """
    right = fits.float()
    rows = (scores.log_softmax(1) * right).sum(1) / right.sum(1)
    columns = (scores.log_softmax(0) * right).sum(0) / right.sum(0)
    return -(rows.mean() + columns.mean()) / 2


# Training ---------------------------------------------------------------------------


@torch.no_grad()
def start(data: Vectors, rows: Tensor) -> TinyClip:
    """A model with the statistics of the training signs and ridge regression's maps.

    The goal of all three maps: the first principal components of the signs' mean text
    vectors of both encoders.
    """
    model = TinyClip(len(rows))
    seen = data.image[rows]
    model.get_buffer("feature_mean").copy_(seen.mean(0))
    model.get_buffer("feature_std").copy_(seen.std(0) + 1e-6)
    model.get_buffer("anchors").copy_(model.directions(seen))
    means = {}
    for name in TEXTS:
        texts = getattr(data, name)
        own = [data.captions[i] for i in rows.tolist()]
        # MiniLM reads no Chinese: caption 1 is the Chinese name.
        chosen = [[row[0], *row[2:]] if name == "english" else row for row in own]
        means[name] = torch.stack([texts[row].mean(0) for row in chosen])
    for name, x in {"image": seen, **means}.items():
        model.get_buffer(f"{name}_mean").copy_(model.prepared(name, x).mean(0))
    both = torch.cat([model.prepared(name, x) for name, x in means.items()], dim=1)
    _, axes = torch.linalg.eigh(both.T @ both)
    axes = axes[:, -WIDTH:].T
    left = TEXTS["english"]
    model.weight("english").copy_(axes[:, :left])
    model.weight("multilingual").copy_(axes[:, left:])
    likeness = (
        GAMMA * (model.get_buffer("anchors") @ model.get_buffer("anchors").T - 1)
    ).exp()
    solved = torch.linalg.solve(likeness + RIDGE * torch.eye(len(rows)), both @ axes.T)
    model.weight("image").copy_(solved.T)
    return model


def train(
    data: Vectors, rows: Tensor, seed: int = 0, epochs: int = EPOCHS
) -> tuple[TinyClip, float]:
    """Fit the maps on the signs ``rows``: (model, loss of the last epoch).

    Every epoch shows each sign once, with one of its captions in each encoder.
    """
    torch.manual_seed(seed)
    model = start(data, rows)
    with torch.no_grad():
        image = model.prepared("image", data.image[rows])
        texts = {name: model.prepared(name, getattr(data, name)) for name in TEXTS}
    optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR, weight_decay=0.1)
    steps = max(2, epochs * -(-len(rows) // BATCH))
    schedule = OneCycleLR(optimizer, MAX_LR, total_steps=steps, pct_start=0.1)
    last = float("nan")
    for _ in range(epochs):
        losses = []
        for batch in torch.randperm(len(rows)).split(BATCH):
            drawings = model.mapped("image", functional.dropout(image[batch], DROPOUT))
            own = data.fits[rows[batch]]
            loss = torch.zeros(())
            for name, prepared in texts.items():
                chosen = _draw(
                    data.captions, rows[batch], chinese=name == "multilingual"
                )
                found = model.mapped(name, prepared[chosen])
                scores = drawings @ found.T * model.scale.exp()
                loss = loss + multi_positive(scores, own[:, chosen]) / len(texts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        last = float(np.mean(losses))
    return model.eval(), last


def _draw(captions: list[list[int]], rows: Tensor, *, chinese: bool) -> Tensor:
    """One caption of each sign; the two names as likely as all keywords together."""
    chosen = []
    for row, luck in zip(rows.tolist(), torch.rand(len(rows), 2).tolist(), strict=True):
        english, zh, *more = captions[row]
        names = [english, zh] if chinese else [english]
        pool = names if luck[0] < 0.5 or not more else more
        chosen.append(pool[int(luck[1] * len(pool))])
    return torch.tensor(chosen)


# Evaluation -------------------------------------------------------------------------


@torch.inference_mode()
def ranks(model: TinyClip, data: Vectors, rows: Tensor) -> dict[str, Tensor]:
    """Rank (from 1) of the right drawing for each name, among the signs ``rows``.

    "en": MiniLM; "zh": multilingual encoder; "en both": the mean of both encoders'
    vectors of the English name.
    """
    english, chinese = (
        torch.tensor([data.captions[i][k] for i in rows.tolist()]) for k in (0, 1)
    )
    gallery = model.image(data.image[rows])
    one = model.english(data.english[english])
    two = model.multilingual(data.multilingual[english])
    queries = {
        "en": one,
        "zh": model.multilingual(data.multilingual[chinese]),
        "en both": one + two,
    }
    found = {}
    for name, query in queries.items():
        scores = query @ gallery.T
        found[name] = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    return found


def evaluate(model: TinyClip, data: Vectors, rows: Tensor) -> dict[str, float]:
    """Recall@1, 5 and 10 and the median rank for each kind of query."""
    figures = {}
    for name, rank in ranks(model, data, rows).items():
        for k in K:
            figures[f"{name} R@{k}"] = (rank <= k).float().mean().item()
        figures[f"{name} median"] = rank.float().median().item()
    return figures


def bootstrap(hits: np.ndarray, draws: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean of ``hits`` (n,), resampling queries."""
    chance = np.random.default_rng(0)
    means = [chance.choice(hits, len(hits)).mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# The program ------------------------------------------------------------------------


def parts(table: pd.DataFrame) -> dict[str, tuple[Tensor, Tensor]]:
    """{protocol: (rows to train on, unseen rows)} of the table of all signs.

    "valid" is for choosing. "test" trains on train and valid. "mixed" is an easier
    test, kept for comparison: a sixth of the signs, no flags, drawn by hash, whose
    siblings (a man and a woman at the same work) may have been trained on.
    """
    split = table["split"].to_numpy()
    digests = [
        "flag" if category == "flags" else hashlib.sha256(key.encode()).hexdigest()
        for key, category in zip(table["codepoints"], table["category"], strict=True)
    ]
    mixed = np.isin(np.arange(len(table)), np.argsort(digests)[: len(table) // 6])
    chosen = {
        "valid": (split == "train", split == "valid"),
        "test": (split != "test", split == "test"),
        "mixed": (~mixed, mixed),
    }
    return {
        name: (torch.from_numpy(np.flatnonzero(a)), torch.from_numpy(np.flatnonzero(b)))
        for name, (a, b) in chosen.items()
    }


def main(target: Path = TARGET, epochs: int = EPOCHS, every: int = 1) -> None:
    """Make the model, its log and its figures; from every so many-th sign only."""
    needs = ["mobilenet-v2", "all-minilm-l6-v2", "use-multilingual-3", "openmoji"]
    helpers.setup(seed=0, needs=needs)
    data = vectors(openmoji_signs().iloc[::every].reset_index(drop=True), CACHE)
    log = []
    target.mkdir(parents=True, exist_ok=True)
    for protocol, (rows, unseen) in parts(data.table).items():
        smaller = [size for size in SIZES if size < len(rows)]
        for seed in SEEDS:
            order = torch.Generator().manual_seed(seed)
            shuffled = rows[torch.randperm(len(rows), generator=order)]
            for size in [*(smaller if protocol == "test" else []), len(rows)]:
                model, loss = train(data, shuffled[:size], seed, epochs)
                figures = evaluate(model, data, unseen)
                log.append(
                    {"protocol": protocol, "unseen": len(unseen), "seed": seed}
                    | {"signs": size, "loss": loss}
                    | figures
                )
                if protocol == "test" and seed == SEEDS[0] and size == len(rows):
                    weights = {k: v.half() for k, v in model.state_dict().items()}
                    with replacing(target / "model.safetensors") as temporary:
                        save_file(weights, temporary)
    frame = pd.DataFrame(log)
    frame.to_csv(target / "log.csv", index=False, float_format="%.4g")
    print(frame.round(3).to_string(index=False))
    unseen = parts(data.table)["test"][1]
    print("\n".join(card_rows(ranks(load(target), data, unseen))))


def card_rows(found: dict[str, Tensor]) -> list[str]:
    """The card's table: Recall@1, 5 and 10, each with its 95 % interval."""
    rows = []
    for name, rank in found.items():
        cells = []
        for k in K:
            hits = (rank <= k).float().numpy()
            low, high = bootstrap(hits)
            cells.append(f"{hits.mean():.3f} ({low:.2f} to {high:.2f})")
        rows.append(f"| {name} | {' | '.join(cells)} | {rank.median().item()} |")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--folder", type=Path, default=TARGET)
    parser.add_argument("--every", type=int, default=1)
    words = parser.parse_args()
    main(words.folder, words.epochs, words.every)
