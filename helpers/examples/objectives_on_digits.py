"""Pretrain one small encoder on MNIST in five ways, at length: notebook 03's digits.

    python -m helpers.examples.objectives_on_digits

The notebook writes each objective by hand and trains it for a few epochs with one seed.
Here are its networks and its judge, and the long run: every objective from three seeds,
settings chosen on the validation digits, the official test set opened for the chosen
ones alone; then the same fifty labelled pictures learned from three starts in three
ways. A quarter of an hour with one thread. The rows go to data/runs/03_digits.csv, the
GAN's samples to 03_gan_samples.safetensors. Interrupt it when you like: the same
command continues.
"""

from __future__ import annotations

import copy
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import helpers
from helpers.datasets import mnist
from helpers.examples import records
from helpers.features import Features
from helpers.files import replacing
from helpers.objectives import contrastive_loss, info_nce

__all__ = [
    "Gan",
    "Table",
    "augment",
    "best",
    "digits",
    "draw",
    "few_shot",
    "judge_samples",
]
__all__ += ["main", "make_decoder", "make_encoder", "make_generator", "pretrain"]
__all__ += ["probe", "run", "train_classifier", "vectors"]

SEEDS, DRAWS = (0, 1, 2), range(10)
LABELS = 5  # of each class
SHORT, LONG = 3, 8  # epochs over 10,000 pictures, in the notebook and here
GAN_EPOCHS = (1, 3, 10, 20, 30)  # the last ones with the first seed alone
Step = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]


def digits(split: str, limit: int | None = None) -> TensorDataset:
    """MNIST pictures and labels; 10,000 of "train" unless ``limit`` says otherwise."""
    return mnist(split, limit=10_000 if split == "train" and limit is None else limit)


def make_encoder() -> nn.Sequential:
    """Two convolutions and a linear layer: (n, 1, 28, 28) -> (n, 64)."""
    look = [nn.Conv2d(1, 32, 6, stride=4, padding=1), nn.ReLU()]
    combine = [nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*look, *combine, nn.Flatten(), nn.Linear(1024, 64))


def make_decoder() -> nn.Sequential:
    """Back from 64 numbers to a picture."""
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784)]
    return nn.Sequential(*layers, nn.Unflatten(1, (1, 28, 28)))


def make_generator() -> nn.Sequential:
    """From 32 random numbers to a picture (after DCGAN, Radford et al. 2015)."""
    start = [nn.Linear(32, 64 * 49), nn.BatchNorm1d(64 * 49), nn.ReLU()]
    grow = [nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU()]
    paint = [nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()]
    return nn.Sequential(*start, nn.Unflatten(1, (64, 7, 7)), *grow, *paint)


def augment(
    x: Tensor,
    turn: float = 0.45,
    stretch: float = 0.2,
    shift: float = 0.24,
    slant: float = 0.3,
) -> Tensor:
    """Every picture of the batch (n, 1, 28, 28), moved in its own random way."""
    most = torch.tensor([[turn], [stretch], [slant], [shift], [shift]])
    random = most * (2 * torch.rand(5, len(x)) - 1)
    angle, scale, lean, right, down = random.to(x.device)
    cos, sin = (1 + scale) * angle.cos(), (1 + scale) * angle.sin()
    rows = torch.stack([cos, lean - sin, right, sin, cos, down], dim=1)
    size = list(x.shape)
    grid = functional.affine_grid(rows.view(-1, 2, 3), size, align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


# The judge.


def draw(y: Tensor, k: int, seed: int) -> np.ndarray:
    """Positions of k random examples of each class."""
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(y == c))[:k] for c in y.unique()]
    return np.concatenate(each)


def probe(
    train: Features, test: Features, k: int = LABELS, draws: Iterable[int] = range(5)
) -> np.ndarray:
    """Accuracies of a linear head on k labels a class, one for each draw of labels."""
    scaler = StandardScaler().fit(train.x)  # uses no labels
    x, x_test = scaler.transform(train.x), scaler.transform(test.x)
    accuracies = []
    for seed in draws:
        few = draw(train.y, k, seed)
        head = RidgeClassifierCV(alphas=np.logspace(-1, 5, 13))
        accuracies.append(head.fit(x[few], train.y[few]).score(x_test, test.y))
    return np.array(accuracies)


def vectors(encoder: nn.Module, data: TensorDataset) -> Features:
    """What the frozen encoder says of every picture."""
    return helpers.cache_features(encoder, DataLoader(data, 500))


# The objectives, with the library's losses; the notebook writes them by hand.


def redraw(
    model: nn.Module, batch: Any, sigma: float = 0.0, moved: bool = False
) -> tuple[Tensor, Tensor]:
    """Autoencoder; with noise (sigma), or moved as by `augment`, a denoising one."""
    x = batch[0]
    damaged = augment(x) if moved else x
    drawn = model(damaged + sigma * torch.randn_like(x) if sigma else damaged)
    return functional.mse_loss(drawn, x), drawn


def unsquared(a: Tensor, b: Tensor, same: Tensor, margin: float) -> Tensor:
    """The margin loss as D3 prints it, without the squares."""
    distance = (a - b).square().sum(dim=1).add(1e-12).sqrt()
    apart = (margin - distance).clamp(min=0)
    return torch.where(same, distance, apart).mean()


def near_and_far(
    model: nn.Module,
    batch: Any,
    margin: float = 1.0,
    loss: Callable[..., Tensor] = contrastive_loss,
) -> tuple[Tensor, Tensor]:
    """Two views of a picture belong together, views of others do not."""
    x = batch[0]
    a, b = model(augment(x.repeat(2, 1, 1, 1))).chunk(2)
    others = [b.roll(places, dims=0) for places in range(4)]
    same = torch.arange(4 * len(x), device=x.device) < len(x)
    return loss(a.repeat(4, 1), torch.cat(others), same, margin), a


def find_partner(
    model: nn.Module, batch: Any, temperature: float = 0.2
) -> tuple[Tensor, Tensor]:
    """InfoNCE between two views of every picture."""
    a, b = model(augment(batch[0].repeat(2, 1, 1, 1))).chunk(2)
    return info_nce(a, b, temperature), a


OBJECTIVES: dict[str, tuple[Callable[..., Any], str, tuple[float, ...]]] = {
    "autoencoder": (redraw, "lr", (1e-3, 2e-3, 4e-3)),
    "denoising": (redraw, "sigma", (0.3, 0.7, 1.2)),
    "straightening": (redraw, "lr", (1e-3, 2e-3, 4e-3)),
    "margin": (near_and_far, "margin", (0.5, 1.0, 2.0)),
    "margin, no squares": (near_and_far, "margin", (0.5, 1.0, 2.0)),
    "InfoNCE": (find_partner, "temperature", (0.1, 0.2, 0.5)),
}
"""Name: step, what is chosen on validation, and from what."""
ALSO: dict[str, dict[str, Any]] = {
    "straightening": {"moved": True},
    "margin, no squares": {"loss": unsquared},
}


def pretrain(
    step: Step,
    x: Tensor,
    *above: Callable[[], nn.Module],
    epochs: int = SHORT,
    lr: float = 2e-3,
    seed: int = 0,
) -> tuple[nn.Sequential, nn.Sequential, list[float]]:
    """A new encoder, the whole trained model, and its loss at every step."""
    torch.manual_seed(seed)
    encoder, seen = make_encoder(), []
    model = nn.Sequential(encoder, *[make() for make in above])

    def watched(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        loss, outputs = step(model, batch)
        seen.append(loss.item())
        return loss, outputs

    loader = DataLoader(TensorDataset(x), batch_size=128, shuffle=True)
    options: dict[str, Any] = {"epochs": epochs, "lr": lr, "seed": seed}
    helpers.fit(model, loader, step=watched, channels_last=True, **options)
    return encoder, model, seen


class Gan:
    """A forger and the encoder that catches it, with their two optimizers."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.generator, self.encoder = make_generator(), make_encoder()
        head = [nn.LeakyReLU(0.2), nn.Linear(64, 1)]
        self.discriminator = nn.Sequential(self.encoder, *head)
        for part in (self.generator, self.discriminator):
            part.to(memory_format=torch.channels_last)  # faster, the same numbers
        options: dict[str, Any] = {"betas": (0.5, 0.999), "fused": True}
        adam = torch.optim.Adam
        self.to_forge = adam(self.generator.parameters(), lr=1e-3, **options)
        self.to_catch = adam(self.discriminator.parameters(), lr=2e-3, **options)
        self.epochs = 0

    def epoch(self, x: Tensor, batch_size: int = 64) -> list[tuple[float, float]]:
        """One pass over the pictures; the two losses at every step."""
        self.generator.train()
        score = functional.binary_cross_entropy_with_logits
        losses = []
        for rows in torch.randperm(len(x)).split(batch_size):
            fake = self.generator(torch.randn(len(rows), 32))
            real, forged = (self.discriminator(p) for p in (x[rows], fake.detach()))
            yes, no = torch.ones_like(real), torch.zeros_like(real)
            caught = self._update(self.to_catch, score(real, yes) + score(forged, no))
            passed = score(self.discriminator(fake), yes)
            losses.append((caught, self._update(self.to_forge, passed)))
        self.epochs += 1
        return losses

    @staticmethod
    def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def draw(self, z: Tensor) -> Tensor:
        """Pictures from random numbers (n, 32)."""
        return self.generator.eval()(z)


def judge_samples(classifier: nn.Module, pictures: Tensor) -> dict[str, float]:
    """How sure a classifier is of pictures, and how many kinds of digits it sees.

    Returns:
        sure: share with a probability of at least 0.9 for one digit; classes: digits
        that make up at least 2 % of the sure ones.
    """
    p = functional.softmax(
        helpers.predict(classifier, DataLoader(TensorDataset(pictures), 500)), dim=1
    )
    sure = p.amax(dim=1) >= 0.9
    kinds = p.argmax(dim=1)[sure].bincount(minlength=10)
    classes = (kinds >= 0.02 * max(int(sure.sum()), 1)).sum().item()
    return {"sure": sure.float().mean().item(), "classes": classes}


# Learning with labels.


def train_classifier(
    encoder: nn.Module,
    data: TensorDataset,
    *,
    augmented: bool = False,
    epochs: int,
    lr: float = 2e-3,
    seed: int = 0,
) -> nn.Sequential:
    """The encoder with a new head, all of it trained on the labelled pictures."""
    helpers.seed_everything(seed)
    model = nn.Sequential(encoder, nn.ReLU(), nn.Linear(64, 10))

    def step(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        x, y = batch
        scores = model(augment(x) if augmented else x)
        return functional.cross_entropy(scores, y), scores

    loader = DataLoader(data, batch_size=128, shuffle=True)
    helpers.fit(model, loader, epochs=epochs, lr=lr, step=step, seed=seed)
    return model


def few_shot(
    encoder: nn.Module, train: TensorDataset, test: TensorDataset, seed: int, **how: Any
) -> float:
    """Accuracy after training on the draw ``seed`` of five labels a class."""
    few = draw(train.tensors[1], LABELS, seed)
    model = train_classifier(encoder, TensorDataset(*train[few]), seed=seed, **how)
    return helpers.evaluate(model, DataLoader(test, 500))["accuracy"]


# The long run.


class Table:
    """Rows of a CSV file that is written after each; what is there is not run again."""

    def __init__(self, path: Path, fields: Sequence[str], head: Sequence[str]) -> None:
        self.path, self.fields, self.head = path, list(fields), list(head)
        self.rows = records.read(path)

    def row(
        self,
        key: Mapping[str, Any],
        measure: Callable[..., Mapping[str, Any]],
        *of: Any,
    ) -> dict[str, str]:
        """The row with these values, completed by ``measure(*of)`` if it is new."""
        wanted = {name: str(value) for name, value in key.items()}
        for row in self.rows:
            if all(row[name] == value for name, value in wanted.items()):
                return row
        start = time.process_time()
        found = measure(*of)
        seconds = f"{time.process_time() - start:.1f}"
        new = wanted | {k: _short(v) for k, v in found.items()} | {"seconds": seconds}
        self.rows.append({name: new.get(name, "") for name in self.fields})
        self._write()
        print(", ".join(f"{k} {v}" for k, v in self.rows[-1].items() if v), flush=True)
        return self.rows[-1]

    def _write(self) -> None:
        total = sum(float(row["seconds"]) for row in self.rows)
        about = [*self.head, f"machine: {records.machine()}; {total:.0f} s in all"]
        records.write(self.path, about, self.fields, self.rows)


def best(rows: Sequence[Mapping[str, str]]) -> str:
    """The setting with the highest mean accuracy."""
    means = [np.mean([float(a) for a in row["accuracy"].split()]) for row in rows]
    return rows[int(np.argmax(means))]["setting"]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray | list):
        return " ".join(f"{x:.4f}" for x in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


FIELDS = ["split", "start", "way", "setting", "epochs", "seed"]
FIELDS += ["accuracy", "many", "sure", "classes", "seconds"]
HEAD = (
    "One small encoder pretrained on 10,000 MNIST digits in several ways; notebook 03.",
    "split: valid (a setting tried) or test (what was chosen on valid; all 10,000).",
    "start: where the encoder's weights come from; 'the 50' has seen only the labelled",
    "pictures. way: probe (frozen, linear head), or tuned, tuned augmented (all of it",
    "learns), on five labels a class. epochs: of pretraining; steps for 'the 50'.",
    "accuracy: one for each draw of labels. many: the probe with 500 labels a class.",
    "sure, classes: of 1,000 samples of the GAN (judge_samples). seed: of pretraining.",
    "command: python -m helpers.examples.objectives_on_digits",
)


class LongRun:
    """What is measured, into one table; ``limit`` and ``brisk`` make it a trial run."""

    def __init__(self, folder: Path, limit: int | None, brisk: bool) -> None:
        self.folder, self.limit, self.brisk = folder, limit, brisk
        self.table = Table(folder / "03_digits.csv", FIELDS, HEAD)
        self.data = {
            split: digits(split, limit) for split in ("train", "valid", "test")
        }
        self.x, self.y = self.data["train"].tensors
        self.seeds = SEEDS[:1] if brisk else SEEDS
        self.draws = range(2) if brisk else DRAWS
        self.tries = range(100, 103)  # draws for choosing, used for nothing else
        self.epochs = 1 if brisk else LONG
        self.chosen: dict[str, float] = {}
        self.kept: dict[tuple[str, int, int], Any] = {}

    def probed(self, make: Callable[..., nn.Module], *of: Any) -> dict[str, Any]:
        """Accuracies on the test digits, with few labels and with many."""
        encoder = make(*of)
        seen, unseen = (vectors(encoder, self.data[s]) for s in ("train", "test"))
        many = probe(seen, unseen, 5 if self.brisk else 500, self.seeds).mean().item()
        return {"accuracy": probe(seen, unseen, draws=self.draws), "many": many}

    def tried(self, make: Callable[..., nn.Module], *of: Any) -> dict[str, Any]:
        """Accuracies on the validation digits, with draws that nothing else uses."""
        encoder = make(*of)
        seen, unseen = (vectors(encoder, self.data[s]) for s in ("train", "valid"))
        return {"accuracy": probe(seen, unseen, draws=self.tries)}

    def objective(self, name: str, value: float, epochs: int, seed: int) -> nn.Module:
        """The encoder of one objective with one setting."""
        step, what, _ = OBJECTIVES[name]
        options: dict[str, Any] = {} if what == "lr" else {what: value}
        options |= ALSO.get(name, {})
        above = [make_decoder] if step is redraw else []
        lr = value if what == "lr" else 2e-3
        step = functools.partial(step, **options)
        return pretrain(step, self.x, *above, epochs=epochs, lr=lr, seed=seed)[0]

    def choose(self) -> None:
        """One setting of each objective, on the validation digits."""
        epochs, seed = 1 if self.brisk else 5, 9
        for name, (_, what, values) in OBJECTIVES.items():
            rows = []
            for value in values:
                key = {"split": "valid", "start": name, "way": "probe", "seed": seed}
                key |= {"setting": f"{what} {value:g}", "epochs": epochs}
                of = (self.objective, name, value, epochs, seed)
                rows.append(self.table.row(key, self.tried, *of))
            self.chosen[name] = float(best(rows).split()[-1])

    def objectives(self) -> None:
        """Every objective with its chosen setting, from each seed."""
        epochs = self.epochs
        for seed, name in itertools.product(self.seeds, OBJECTIVES):
            value = self.chosen[name]
            key = {"split": "test", "start": name, "way": "probe", "seed": seed}
            key |= {"setting": f"{OBJECTIVES[name][1]} {value:g}", "epochs": epochs}
            of = (self.objective, name, value, epochs, seed)
            self.table.row(key, self.probed, *of)

    def baselines(self) -> None:
        """Nothing learned, and all labels learned."""
        for seed in self.seeds:
            key = {"split": "test", "start": "random", "way": "probe", "seed": seed}
            self.table.row(key, self.probed, self.started, "random", seed)
        key = {"split": "test", "start": "pixels", "way": "probe", "seed": 0}
        self.table.row(key, self.probed, nn.Flatten)
        for seed in self.seeds:
            key = {"split": "test", "start": "all labels", "way": "probe", "seed": seed}
            self.table.row(key | {"epochs": 3}, self.probed, self.supervised, seed)

    def supervised(self, seed: int) -> nn.Module:
        """An encoder that learned from all labels of the 10,000 pictures."""
        torch.manual_seed(seed)
        data = self.data["train"]
        return train_classifier(make_encoder(), data, epochs=3, seed=seed)[0]

    def gan(self, seed: int) -> None:
        """One GAN, measured at every stage; the first seed's samples are kept."""
        stages = GAN_EPOCHS[: 1 if self.brisk else None if seed == SEEDS[0] else 2]
        keys = [
            {"split": "test", "start": "GAN", "way": "probe", "epochs": e, "seed": seed}
            for e in stages
        ]
        done = {(row["start"], row["epochs"], row["seed"]) for row in self.table.rows}
        if all(("GAN", str(e), str(seed)) in done for e in stages):
            return
        every = digits("train", self.limit or 55_000)
        classifier = train_classifier(make_encoder(), every, epochs=3, seed=0)
        real = {"split": "valid", "start": "real digits", "way": "samples"}
        pictures = digits("valid", 1000).tensors[0]
        self.table.row(real, judge_samples, classifier, pictures)
        gan, z, kept = Gan(seed), torch.randn(1000, 32), {}

        def until(epoch: int) -> dict[str, Any]:
            while gan.epochs < epoch:
                gan.epoch(self.x)
            judged = judge_samples(classifier, gan.draw(z))
            return self.probed(lambda: gan.encoder) | judged

        for epoch, key in zip(stages, keys, strict=True):
            self.table.row(key, until, epoch)
            until(epoch)  # also if its row was there
            kept[f"epoch {epoch}"] = (255 * gan.draw(z[:24])[:, 0]).round().byte()
        if seed == SEEDS[0]:
            path = self.folder / "03_gan_samples.safetensors"
            with replacing(path) as temporary:
                save_file(kept, temporary)

    def started(self, start: str, seed: int, steps: int = 0) -> nn.Module:
        """An encoder to learn fifty labelled pictures with, those of the draw ``seed``.

        Its weights are random, or from InfoNCE on just these fifty pictures (``steps``
        times), or from InfoNCE on all 10,000 (that of the seeds in turn).
        """
        torch.manual_seed(seed)
        encoder = make_encoder()
        if start == "random":
            return encoder
        alone = start == "the 50"
        of = seed if alone else seed % len(self.seeds)
        if (start, of, steps) not in self.kept:
            step = functools.partial(find_partner, temperature=self.chosen["InfoNCE"])
            x = self.x[draw(self.y, LABELS, seed)] if alone else self.x
            epochs = steps if alone else self.epochs  # fifty pictures are one batch
            made = pretrain(step, x, epochs=epochs, seed=of)[0]
            self.kept[start, of, steps] = copy.deepcopy(made.state_dict())
        encoder.load_state_dict(self.kept[start, of, steps])
        return encoder

    def probed_alone(
        self, split: str, steps: int, draws: Iterable[int]
    ) -> dict[str, Any]:
        """Every draw's own encoder, pretrained on its fifty pictures, and its probe."""
        found = []
        for seed in draws:
            encoder = self.started("the 50", seed, steps)
            seen, unseen = (vectors(encoder, self.data[s]) for s in ("train", split))
            found.append(probe(seen, unseen, draws=[seed]).item())
        return {"accuracy": found}

    def tuned(
        self, split: str, start: str, steps: int, draws: Iterable[int], how: Any
    ) -> dict[str, Any]:
        """Every draw's fifty pictures, learned by the whole network."""
        train, test = self.data["train"], self.data[split]
        encoders = [(self.started(start, seed, steps), seed) for seed in draws]
        return {
            "accuracy": [few_shot(e, train, test, seed, **how) for e, seed in encoders]
        }

    def fifty(self) -> None:
        """The same fifty labelled pictures: three starts, three ways."""
        rows = []
        for steps in (2,) if self.brisk else (200, 800):
            key = {"split": "valid", "start": "the 50", "way": "probe", "epochs": steps}
            key |= {"setting": f"steps {steps}"}
            of = ("valid", steps, self.tries)
            rows.append(self.table.row(key, self.probed_alone, *of))
        steps = int(best(rows).split()[-1])
        key = {"split": "test", "start": "the 50", "way": "probe", "epochs": steps}
        self.table.row(key, self.probed_alone, "test", steps, self.draws)
        ways = {"tuned": (30, 100), "tuned augmented": (400, 1000)}
        rates = {"tuned": (1e-3, 2e-3, 4e-3), "tuned augmented": (2e-3, 4e-3)}
        for start, way in itertools.product(("random", "the 50", "InfoNCE"), ways):
            rows, settings = [], {}
            grid = itertools.product(ways[way], rates[way])
            for epochs, lr in [(1, 2e-3)] if self.brisk else grid:
                how = {"epochs": epochs, "lr": lr, "augmented": "augmented" in way}
                key = {"split": "valid", "start": start, "way": way}
                key |= {"setting": f"epochs {epochs} lr {lr:g}"}
                settings[key["setting"]] = how
                with_this = ("valid", start, steps, self.tries, how)
                rows.append(self.table.row(key, self.tuned, *with_this))
            key = {"split": "test", "start": start, "way": way, "setting": best(rows)}
            with_best = ("test", start, steps, self.draws, settings[best(rows)])
            self.table.row(key, self.tuned, *with_best)


def run(
    folder: Path = records.RUNS, limit: int | None = None, brisk: bool = False
) -> None:
    """Measure what is missing in 03_digits.csv."""
    torch.set_num_threads(1)
    long = LongRun(folder, limit, brisk)
    long.choose()
    long.baselines()
    long.fifty()
    long.objectives()
    for seed in long.seeds:
        long.gan(seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all of it, or continue."""
    return records.command(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
