"""Tune three centres of an L2 penalty on MiniLM's last layer: a table. See notebook 07.

    python -m helpers.examples.tune_l2_sp

Sixty names of emoji teach six categories to a new head and, but for "frozen", to the
last layer. What the five layers below say of each name is computed once. For each
centre a climb on a grid of factors of three chooses all its settings by the mean
surprise of five seeds on 300 validation names; both pulls begin where no pull did best.
Only then are the 300 test names read, once. It takes about six minutes with one thread.
Interrupt it when you like: the same command continues after the last finished row.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModel, AutoTokenizer

import helpers
from helpers.datasets import openmoji_names
from helpers.examples import records
from helpers.loop.steps import Step
from helpers.objectives import l2_sp

__all__ = ["CENTRES", "FIRST", "MINILM", "Upper", "draw", "half_read", "main"]
__all__ += ["objective", "search", "step_towards", "train"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TARGET = records.RUNS / "07_l2_sp.csv"
SEEDS = (0, 1, 2, 3, 4)
EPOCHS, EACH, VALID = 8, 10, 300  # passes, labelled names a category, validation names
CLASSES = 6

Setting = Mapping[str, float]
# What each centre tunes, and where it begins. "frozen": the head alone.
CENTRES = {
    "frozen": ("head_lr", "head_strength"),
    "none": ("lr", "head_lr", "head_strength"),
    "zero": ("lr", "head_lr", "head_strength", "strength"),
    "start": ("lr", "head_lr", "head_strength", "strength"),
}
FIRST = {"lr": 3e-4, "head_lr": 1e-2, "head_strength": 0.1, "strength": 0.03}
LEAST_GAIN = 0.003  # nats; a smaller gain moves nothing
CURVES = {
    "lr": (1e-4, 3e-4, 1e-3, 3e-3),
    "strength": (1e-3, 1e-2, 0.1, 1.0),
}
COLUMNS = ("centre", *FIRST, "seed", "seconds", "valid", "valid_loss", "moved")
COLUMNS += ("test", "test_loss")


@cache
def _encoder() -> Any:
    return AutoModel.from_pretrained(MINILM).eval()


@cache
def half_read() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All names as layer five leaves them (n, 8, 384), masks (n, 8), classes (n,)."""
    table = openmoji_names()
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    options = {"padding": "max_length", "truncation": True, "max_length": 8}
    inputs = tokenizer(table["en"].tolist(), return_tensors="pt", **options)
    lower = copy.deepcopy(_encoder())
    lower.encoder.layer = lower.encoder.layer[:-1]
    with torch.no_grad():
        hidden = lower(**inputs).last_hidden_state
    classes = torch.tensor(table["category"].astype("category").cat.codes.tolist())
    return hidden, inputs["attention_mask"], classes


class Upper(nn.Module):
    """MiniLM's sixth layer, the mean over the tokens, and a new head (born of seed)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = copy.deepcopy(_encoder().encoder.layer[-1])
        self.head = nn.Linear(384, CLASSES)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores (n, 6) of names as :func:`half_read` gives them."""
        hidden = self.layer(hidden, mask.bool()[:, None, None, :])
        words = mask[:, :, None]
        return self.head((hidden * words).sum(dim=1) / words.sum(dim=1))


def draw(seed: int) -> dict[str, DataLoader]:
    """Loaders: sixty labelled names, 300 to choose with, and 300 to test.

    The test names are the test split of the course, the same for every seed; of all
    others, the seed draws ten a category to learn from and then 300 for validation.
    """
    hidden, mask, y = half_read()
    test = torch.tensor((openmoji_names()["split"] == "test").tolist())
    pool = (~test).nonzero().flatten()
    pool = pool[
        torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    ]
    few = torch.cat([pool[y[pool] == c][:EACH] for c in range(CLASSES)])
    valid = pool[~torch.isin(pool, few)][:VALID]
    parts = {"train": few, "valid": valid, "test": test.nonzero().flatten()}
    return {
        name: DataLoader(
            TensorDataset(hidden[rows], mask[rows], y[rows]),
            batch_size=15 if name == "train" else 300,
            shuffle=name == "train",
        )
        for name, rows in parts.items()
    }


def objective(
    model: Upper,
    batch: Sequence[torch.Tensor],
    centre: Mapping[str, torch.Tensor],
    strength: float = 0.0,
    head_strength: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy, a pull of the layer to ``centre``, one of the new head to zero.

    Li, Grandvalet & Davoine 2018: the head has no past, so it decays.

    Returns:
        The loss and the scores, as :func:`helpers.fit` wants them of a step.
    """
    hidden, mask, y = batch
    scores = model(hidden, mask)
    loss = cross_entropy(scores, y)
    if strength:
        loss = loss + strength * l2_sp(model.layer, centre)
    for weights in model.head.parameters():
        loss = loss + head_strength * weights.square().sum()
    return loss, scores


def step_towards(centre: str, strength: float, head_strength: float) -> Step:
    """The step of one of ``CENTRES`` for :func:`helpers.fit`."""
    start = copy.deepcopy(_encoder().encoder.layer[-1].state_dict())
    if centre == "zero":
        start = {name: torch.zeros_like(w) for name, w in start.items()}

    def step(model: Any, batch: Any) -> tuple[torch.Tensor, Any]:
        return objective(model, batch, start, strength, head_strength)

    return step


def _decline(optimizer: torch.optim.Optimizer, steps: int) -> LinearLR:
    return LinearLR(optimizer, 1.0, 0.02, total_iters=steps)


def train(centre: str, setting: Setting, seed: int, loader: DataLoader) -> Upper:
    """Eight passes of AdamW over ``loader``, without a decay of its own.

    Raises:
        ValueError: ``centre`` is none of ``CENTRES``.
    """
    if centre not in CENTRES:
        raise ValueError(f"centre={centre!r}: give one of {', '.join(CENTRES)}.")
    setting = {name: setting[name] for name in CENTRES[centre]}
    model = Upper(seed)
    groups = [{"params": model.head.parameters(), "lr": setting["head_lr"]}]
    if centre == "frozen":
        helpers.freeze(model.layer)
    else:
        groups += [{"params": model.layer.parameters(), "lr": setting["lr"]}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    pulls = setting.get("strength", 0.0), setting["head_strength"]
    step = step_towards(centre, *pulls)
    helpers.fit(
        model,
        loader,
        epochs=EPOCHS,
        optimizer=optimizer,
        scheduler=_decline,
        step=step,
        clip=None,
        seed=seed,
        progress=False,
    )
    return model


def moved(model: Upper) -> float:
    """Distance of the layer from the pretrained one."""
    helpers.unfreeze(model.layer)
    return l2_sp(model.layer, _encoder().encoder.layer[-1].state_dict()).sqrt().item()


def search(target: Path, *, seeds: Sequence[int] = SEEDS, curves: bool = True) -> None:
    """Fill ``target`` row by row; rows that are there already are not run again.

    Args:
        seeds: all of them judge every setting.
        curves: also run ``CURVES`` through what was chosen, on validation only.
    """
    rows = records.read(target)

    def loss(centre: str, setting: Setting, test: bool = False) -> float:
        """Mean validation surprise over the seeds, from the table or from runs."""
        found = []
        for seed in seeds:
            key = {"centre": centre, "seed": str(seed)}
            key |= {name: _text(setting.get(name)) for name in FIRST}
            row = next((r for r in rows if key.items() <= r.items()), None)
            if row is None or (test and not row["test"]):
                rows[:] = [r for r in rows if r is not row]
                row = key | _run(centre, setting, seed, test)
                rows.append(row)
                _write(target, rows)
            found.append(float(row["valid_loss"]))
        mean = sum(found) / len(found)
        print(centre, dict(setting), f"{mean:.3f}", flush=True)
        return mean

    begin: Setting = FIRST
    for centre, names in CENTRES.items():
        judge = partial(loss, centre)
        best = _climb(judge, {name: begin[name] for name in names})
        judge(best, test=True)
        for name, values in CURVES.items() if curves else ():
            for value in values if name in names else ():
                judge(best | {name: value})
        if centre == "none":  # a pull begins where no pull did best
            begin = FIRST | best


def _climb(loss: Callable[[Setting], float], first: Setting) -> dict[str, float]:
    """The setting that no factor of three in one place makes clearly better."""
    best, least, moving = dict(first), loss(first), True
    while moving:
        moving = False
        for name in tuple(best):
            for turn in (1, -1):
                near = best | {name: _grid(best[name], turn)}
                while (found := loss(near)) < least - LEAST_GAIN:
                    best, least, moving = near, found, True
                    near = best | {name: _grid(best[name], turn)}
    return best


def _grid(value: float, turns: int) -> float:
    """The value so many places further on 1, 3, 10, 30, …"""
    digits = f"{value:.0e}"
    place = 2 * int(digits.split("e")[1]) + (digits[0] == "3") + turns
    return float(f"{3 if place % 2 else 1}e{place // 2}")


def _run(centre: str, setting: Setting, seed: int, test: bool) -> dict[str, str]:
    loaders = draw(seed)
    start = time.process_time()
    model = train(centre, setting, seed, loaders["train"])
    new = {"seconds": round(time.process_time() - start, 1)}
    new["moved"] = round(moved(model), 3)
    for split in ("valid", "test") if test else ("valid",):
        result = helpers.evaluate(model, loaders[split])
        new[split] = round(result["accuracy"], 4)
        new[f"{split}_loss"] = round(result["loss"], 4)
    measured = COLUMNS[COLUMNS.index("seconds") :]
    return {name: str(new.get(name, "")) for name in measured}


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _write(target: Path, rows: list[dict[str, str]]) -> None:
    total = sum(float(row["seconds"]) for row in rows)
    head = [
        "An L2 pull on MiniLM's sixth layer, 60 names of emoji in six categories: to",
        "the pretrained weights (start), to zero, none; and the head alone (frozen).",
        "Settings by a climb on the mean valid_loss of all seeds; test only with",
        "the chosen ones. valid, test: accuracy; ..._loss: nats; moved: distance of",
        "the layer from the pretrained one. seconds: of the processor, for training.",
        "seeds: 0 to 4, each with its own sixty names, validation names and head.",
        "command: python -m helpers.examples.tune_l2_sp",
        f"machine: {records.machine()}; trained {total:.0f} s in all",
    ]
    records.write(target, head, COLUMNS, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the search, or continue it."""
    return records.command(lambda: search(TARGET), __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
