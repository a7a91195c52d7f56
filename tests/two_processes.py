"""Trainings for ``test_training_processes``: the same calls on one process or several.

Under ``python -m torch.distributed.run`` every process writes what it ended with to
FOLDER/<rank>-of-<number>.safetensors (weights) and .json (scores).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torchmetrics
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.loop.checkpoints import CheckpointMismatch
from helpers.training import evaluate, fit, predict
from tests.training_cases import (
    Augmented,
    blobs,
    cnn,
    loader,
    mlp,
    pictures,
    weights,
)

Results = tuple[dict[str, torch.Tensor], dict[str, Any]]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def run(folder: Path) -> Results:
    """Train several models; return their weights, and scores, by case."""
    tensors: dict[str, torch.Tensor] = {}
    scores: dict[str, Any] = {}

    def keep(case: str, model: nn.Module, history: Any) -> None:
        tensors.update({f"{case}/{k}": v for k, v in weights(model).items()})
        hidden = {"seconds"}
        scores[case] = [
            {k: v for k, v in row.items() if k not in hidden} for row in history.rows
        ]

    valid = loader(blobs(37))
    # 61 examples: the last batch of 8 holds 5; 9 examples: the last one holds 1.
    for size in (61, 9):
        model = mlp()
        history = fit(model, loader(blobs(size)), valid, epochs=2, optimizer=sgd(model))
        keep(f"{size} examples", model, history)
    scores["evaluate"] = evaluate(model, valid)
    tensors["predict"] = predict(model, valid)

    # The same model once more: every call has to connect the processes anew.
    history = fit(model, loader(blobs(20)), epochs=1, optimizer=sgd(model))
    keep("again", model, history)

    model = mlp()
    f1 = torchmetrics.F1Score("multiclass", num_classes=3, average="macro")
    history = fit(
        model,
        loader(blobs(61)),
        valid,
        epochs=2,
        accumulate=3,
        metrics={"f1": f1},
        optimizer=sgd(model),
    )
    keep("accumulate", model, history)

    model = mlp()
    worse = loader(blobs(30, seed=5))
    history = fit(model, loader(), worse, epochs=6, patience=2, optimizer=sgd(model))
    keep("patience", model, history)

    # Sums beyond 2**24, where float32 no longer holds every whole number.
    model = mlp()
    history = fit(model, huge_data(), huge_data(), step=huge, optimizer=sgd(model))
    keep("huge", model, history)

    model = mlp()
    for epochs in (1, 2):
        history = fit(
            model,
            loader(),
            epochs=epochs,
            folder=folder,
            save_every=3,
            optimizer=sgd(model),
        )
    keep("resumed", model, history)
    return tensors, scores


def huge_data() -> DataLoader:
    x, y = blobs(64).tensors
    return loader(TensorDataset(x, y, 1e6 + torch.arange(64.0)))


def huge(model: nn.Module, batch: Any) -> Any:
    x, _, value = batch
    outputs = model(x)
    return outputs.mean() * 0 + value.mean(), outputs


def batch_norm() -> tuple[dict[str, torch.Tensor], float]:
    """Weights and score of a model whose running statistics differ while it trains."""
    model = cnn()
    history = fit(model, loader(pictures()), loader(pictures(30)), epochs=2)
    return weights(model), history["valid_loss"][-1]


def noisy() -> dict[str, torch.Tensor]:
    """Weights after dropout and augmentation, which differ between processes."""
    model = mlp(dropout=0.5)
    fit(model, loader(Augmented(blobs())), epochs=2)
    return weights(model)


def apart(folder: Path) -> str:
    """What is said where no disk is shared: each machine has a folder of its own."""
    fit(mlp(), loader(), folder=folder)
    try:
        fit(mlp(), loader(), epochs=2, folder=folder)
    except CheckpointMismatch as error:
        return str(error)
    return "nothing"


def main(folder: Path) -> None:
    rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
    checkpoint = folder / f"checkpoint-of-{world}"
    writes: list[str] = []
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        writes.append(str(target))
        replace(source, target)

    os.replace = watched  # type: ignore[assignment]
    tensors, scores = run(checkpoint)
    tensors.update({f"noisy/{k}": v for k, v in noisy().items()})
    trained, loss = batch_norm()
    tensors.update({f"batch norm/{k}": v for k, v in trained.items()})
    scores["batch norm"] = loss
    scores["writes"] = writes
    scores["apart"] = apart(folder / f"apart-{rank}-of-{world}")
    save_file(tensors, folder / f"{rank}-of-{world}.safetensors")
    (folder / f"{rank}-of-{world}.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
