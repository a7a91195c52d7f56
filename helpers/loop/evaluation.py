"""Loss and metrics of a model over a loader, on one process or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, get_args, runtime_checkable

import torch
from torch import nn

from helpers.loop.accelerator import Prepared
from helpers.loop.batches import Batches, targets, to_device
from helpers.loop.history import History, Mode
from helpers.loop.modes import in_eval_mode
from helpers.loop.steps import LabelGuard, Loss, Step, checked_step, choose_step

__all__ = ["Metric", "check_metrics", "check_monitor", "modes_of", "score"]


@runtime_checkable
class Metric(Protocol):
    """What ``metrics=`` takes: every torchmetrics metric is one."""

    def update(self, preds: Any, target: Any) -> None: ...
    def compute(self) -> Any: ...
    def reset(self) -> None: ...


def check_metrics(metrics: Mapping[str, Metric] | None) -> None:
    """Refuse what is not a mapping of names to metrics, before any training.

    Raises:
        TypeError, ValueError: names the entry and what it should be.
    """
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics is a {type(metrics).__name__}: give a dict such as "
            '{"f1": torchmetrics.F1Score("multiclass", num_classes=10)}.'
        )
    for name, metric in (metrics or {}).items():
        if name == "loss":
            raise ValueError(
                "metrics has the key 'loss', under which the loss itself is recorded: "
                "give that metric another name."
            )
        if not isinstance(metric, Metric):
            raise TypeError(
                f"metrics[{name!r}] is a {type(metric).__name__}, which lacks update, "
                "compute or reset: give a torchmetrics metric object."
            )


def modes_of(metrics: Mapping[str, Metric] | None) -> dict[str, Mode]:
    """The better end of every column whose metric names it, as torchmetrics' do."""
    higher = {
        f"valid_{name}": getattr(metric, "higher_is_better", None)
        for name, metric in (metrics or {}).items()
    }
    return {
        name: "max" if best else "min"
        for name, best in higher.items()
        if best is not None
    }


def check_monitor(
    monitor: str,
    mode: Mode | None,
    patience: int | None,
    validated: bool,
    metrics: Mapping[str, Metric] | None,
) -> None:
    """Refuse early stopping on what nobody records, or whose better end is unknown.

    Raises:
        ValueError: names the argument and what it may be.
    """
    if mode not in (None, *get_args(Mode)):
        raise ValueError(f"mode={mode!r}: use 'min' or 'max', the better end.")
    if patience is None:
        if mode is not None:
            raise ValueError(f"mode={mode!r} is for early stopping: pass patience=....")
        return
    if not validated:
        raise ValueError(f"patience={patience} needs validation data: pass valid=....")
    names = ["accuracy"] if metrics is None else metrics
    known = ["valid_loss", "train_loss", *(f"valid_{name}" for name in names)]
    if monitor not in known:
        raise ValueError(f"monitor={monitor!r}: use one of {', '.join(known)}.")
    if mode is None:
        History(modes=modes_of(metrics)).mode(monitor)


def score(
    model: nn.Module,
    batches: Batches,
    prepared: Prepared,
    *,
    step: Step | None,
    loss: Loss,
    metrics: Mapping[str, Metric] | None,
) -> dict[str, float]:
    """Mean loss, and accuracy or the given metrics, in eval mode without gradients.

    Without metrics there is an accuracy where the outputs (n, C) are scores of C >= 2
    classes.
    The label -100 means "no label" and does not count towards the accuracy.
    The default accuracy is counted here rather than by torchmetrics, whose import
    costs several seconds in every notebook.
    """
    chosen = dict(metrics or {})
    for metric in chosen.values():
        metric.reset()
        if isinstance(metric, nn.Module):
            metric.to(prepared.device)
    losses, correct, labelled = [], [], []
    weights = 0
    labels = LabelGuard(model, batches, step, loss)
    with in_eval_mode(model):
        for part, batch in batches.read(batches.plan(0)):
            if part.count == 0:
                continue
            labels.check(part, batch, prepared.device)
            batch = to_device(batch, prepared.device)
            chosen_step = choose_step(step, batch, loss)
            value, outputs = checked_step(chosen_step, model, batch, part, batches.name)
            losses.append(value.detach().float() * part.count)
            weights += part.count
            y = targets(batch)
            if chosen and y is None:
                raise ValueError(
                    f"metrics={sorted(chosen)} need labels, and the batches of "
                    f"{batches.name} have none: pass metrics={{}}, or add labels."
                )
            for metric in chosen.values():
                metric.update(outputs, y)
            if metrics is None and _is_classification(outputs, y):
                known = y != -100
                correct.append(((outputs.argmax(dim=1) == y) & known).sum())
                labelled.append(known.sum())
    sums = [_total(losses), float(weights), _total(correct), _total(labelled)]
    if prepared.world > 1:
        local = torch.tensor(sums, dtype=torch.float64, device=prepared.device)
        sums = prepared.accelerator.reduce(local, "sum").tolist()
    result = {"loss": sums[0] / sums[1]}
    if sums[3]:
        result["accuracy"] = sums[2] / sums[3]
    for name, metric in chosen.items():
        result[name] = _one_number(name, metric.compute())
    return result


def _one_number(name: str, value: Any) -> float:
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise TypeError(
            f"metrics[{name!r}] computed a tensor of shape {tuple(value.shape)}: give "
            'a metric of one number, e.g. with average="macro".'
        )
    return float(value)


def _is_classification(outputs: Any, y: Any) -> bool:
    return (
        isinstance(outputs, torch.Tensor)
        and isinstance(y, torch.Tensor)
        and outputs.ndim == 2
        and outputs.shape[1] > 1  # one column is a regression, or a single logit
        and y.ndim == 1
        and not y.is_floating_point()
    )


def _total(values: list[torch.Tensor]) -> float:
    return sum(torch.stack(values).tolist()) if values else 0.0
