"""Can a cheap probe choose a model? Long run behind notebook 20, section 3.

    python -m helpers.examples.probe_models

For every model and task: two probes on a hundred labelled texts (neighbours vote; a
linear head is cross-validated), then what the choice was about: a linear head on the
frozen vectors of any layer, and, for the smaller models, the whole network fine-tuned
from three seeds. The rows are written to data/runs/20_probe_models.csv. It takes about
a quarter of an hour on one core. Interrupt it when you like; the same command
continues.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

import helpers
from helpers.datasets import Texts, movie_reviews, newsgroups
from helpers.examples import records
from helpers.features import Features

__all__ = ["FIELDS", "MODELS", "TASKS", "accuracy", "every_layer", "head", "load"]
__all__ += ["main", "probes", "tune", "vectors", "weights"]

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "data" / "runs" / "20_probe_models.csv"
RUNS = ROOT / "runs" / "20_probe_models.csv"
MODELS = {
    "tiny-BERT": str(ROOT / "data" / "tiny-bert"),
    "MiniLM": "sentence-transformers/all-MiniLM-L6-v2",
    "random MiniLM": "sentence-transformers/all-MiniLM-L6-v2",
    "SmolLM2": "HuggingFaceTB/SmolLM2-135M-Instruct",
}
# Of the models that are fine-tuned as a whole; fixed beforehand, not searched.
LEARNING_RATES = {"tiny-BERT": 1e-3, "MiniLM": 1e-4, "random MiniLM": 1e-4}
GROUPS = ["comp.graphics", "rec.autos", "rec.sport.hockey", "sci.med", "sci.space"]
TRAIN, TEST, PROBED = 200, 600, 100
TOKENS = 32  # of a text; longer ones are cut
SEEDS = (0, 1, 2)
FIELDS = ["task", "model", "layer", "million_weights"]
FIELDS += ["neighbours", "linear", "frozen", "tuned"]


def _sentiment(split: str, count: int) -> Texts:
    return movie_reviews(split, limit=count)


def _topic(split: str, count: int) -> Texts:
    posts = newsgroups(split)
    wanted = [posts.names.index(name) for name in GROUPS]
    rows = [i for i, y in enumerate(posts.labels.tolist()) if y in wanted][:count]
    labels = [wanted.index(int(posts.labels[i])) for i in rows]
    return Texts([posts.texts[i] for i in rows], torch.tensor(labels), GROUPS)


TASKS: dict[str, Callable[[str, int], Texts]] = {
    "sentiment": _sentiment,
    "topic": _topic,
}


def load(name: str) -> tuple[Any, Any]:
    """Tokenizer and encoder of one of `MODELS`."""
    tokenizer = AutoTokenizer.from_pretrained(MODELS[name])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if name.startswith("random"):
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.from_pretrained(MODELS[name]))
    else:
        model = AutoModel.from_pretrained(MODELS[name])
    return tokenizer, model.eval()


def weights(model: Any, layers: int) -> int:
    """How many weights ``model`` has when it is cut after so many layers."""
    part = getattr(model, "encoder", model)
    stack = part.layer if hasattr(part, "layer") else part.layers
    above = sum(helpers.count_parameters(block)[1] for block in stack[layers:])
    return helpers.count_parameters(model)[1] - above


def every_layer(model: nn.Module, batch: Any) -> Tensor:
    """Mean vectors of a batch after the word table and after every layer, side by side.

    (n, (layers + 1) * width), for ``helpers.cache_features(..., embed=every_layer)``.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    hidden = model(**inputs, output_hidden_states=True).hidden_states
    mask = inputs["attention_mask"].unsqueeze(-1)
    means = [(h * mask).sum(dim=1) / mask.sum(dim=1) for h in hidden]
    return torch.cat(means, dim=1)


def vectors(tokenizer: Any, model: Any, data: Texts) -> list[Features]:
    """Vectors of ``data`` after the word table and after every layer of ``model``."""
    loader = helpers.token_loader(data, tokenizer, max_length=TOKENS)
    cached = helpers.cache_features(model, loader, embed=every_layer)
    parts = cached.x.split(model.config.hidden_size, dim=1)
    return [Features(part.contiguous(), cached.y) for part in parts]


def head() -> Pipeline:
    """A ridge classifier whose strength is chosen by leave-one-out on its labels."""
    return make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 6, 13)))


def probes(features: Features, count: int = PROBED) -> tuple[float, float]:
    """Two probes on the first ``count`` examples: what neighbours and a head get right.

    Five voting neighbours, leaving one out; and `head`, cross-validated in ten parts.
    """
    x, y = features.x[:count].numpy(), features.y[:count].numpy()
    votes = KNeighborsClassifier(5, metric="cosine")
    neighbours = cross_val_score(votes, x, y, cv=LeaveOneOut()).mean()
    return float(neighbours), float(cross_val_score(head(), x, y, cv=10).mean())


def accuracy(train: Features, test: Features) -> float:
    """Test accuracy of `head` fitted on all of ``train``."""
    fitted = head().fit(train.x.numpy(), train.y.numpy())
    return float(fitted.score(test.x.numpy(), test.y.numpy()))


class _Classifier(nn.Module):
    def __init__(self, encoder: Any, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.head(helpers.mean_pool(self.encoder, batch))
        return scores


def _step(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    scores = model(batch)
    return nn.functional.cross_entropy(scores, batch["labels"]), scores


def tune(name: str, train: Texts, test: Texts, seed: int, epochs: int = 6) -> float:
    """Test accuracy after fine-tuning all weights of a model on ``train``."""
    tokenizer, encoder = load(name)
    torch.manual_seed(seed)
    model = _Classifier(encoder, len(train.names))
    lr = LEARNING_RATES[name]
    parts = {"train": train, "test": test}
    loaders = {
        part: helpers.token_loader(
            data, tokenizer, batch_size=20, shuffle=part == "train", max_length=TOKENS
        )
        for part, data in parts.items()
    }
    helpers.fit(model, loaders["train"], epochs=epochs, lr=lr, step=_step, seed=seed)
    return helpers.evaluate(model, loaders["test"], step=_step)["accuracy"]


def _rows(task: str, name: str, sizes: tuple[int, int]) -> list[list[str]]:
    train, test = (
        TASKS[task](s, n) for s, n in zip(("train", "test"), sizes, strict=True)
    )
    tokenizer, model = load(name)
    known, unseen = (vectors(tokenizer, model, data) for data in (train, test))
    rows = []
    for layer, (x, z) in enumerate(zip(known, unseen, strict=True)):
        cut = weights(model, layer) / 1e6
        tuned = ""
        if name in LEARNING_RATES and layer == len(known) - 1:
            scores = [tune(name, train, test, seed) for seed in SEEDS]
            tuned = " ".join(f"{score:.3f}" for score in scores)
        figures = [f"{figure:.3f}" for figure in (*probes(x), accuracy(x, z))]
        rows.append([task, name, str(layer), f"{cut:.1f}", *figures, tuned])
    return rows


def main(
    sizes: tuple[int, int] = (TRAIN, TEST),
    names: Sequence[str] = tuple(MODELS),
    runs: Path = RUNS,
    target: Path = TARGET,
) -> None:
    """Measure what is missing, a model and a task at a time, and write the table."""
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    runs.parent.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    for task in TASKS:
        for name in names:
            done = records.read(runs)
            if any((row["task"], row["model"]) == (task, name) for row in done):
                continue
            new = _rows(task, name, sizes)
            done += [dict(zip(FIELDS, row, strict=True)) for row in new]
            seconds = time.process_time() - begin
            print(f"{task}, {name}: {seconds:.0f} s of processor time", flush=True)
            records.write(runs, [], FIELDS, done)
    seconds = time.process_time() - begin
    rates = ", ".join(f"{name} {lr:g}" for name, lr in LEARNING_RATES.items())
    about = [
        "Probe and final accuracy of pretrained text models; see notebook 20.",
        "python -m helpers.examples.probe_models",
        (
            f"{platform.machine()}, one thread, {seconds:.0f} s in the last call; "
            f"seeds {', '.join(map(str, SEEDS))}"
        ),
        (
            f"{sizes[0]} labelled texts, {PROBED} of them for the probe; "
            f"{sizes[1]} test texts; {TOKENS} tokens each"
        ),
        f"fine-tuning: 6 epochs, learning rates fixed, not searched: {rates}",
    ]
    records.write(target, about, FIELDS, records.read(runs))


if __name__ == "__main__":
    main()
