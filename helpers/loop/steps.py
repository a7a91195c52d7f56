"""One step of a task: a model and a batch in, a loss and the outputs out.

A step is the one extension point of ``fit``: write ``def step(model, batch)`` returning
``(loss, outputs)``, where ``loss`` is a mean over the batch, and pass it to ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from helpers.loop.batches import Batch, Batches, Shard, targets, to_device
from helpers.loop.explain import explained
from helpers.loop.modes import in_eval_mode

__all__ = ["LabelGuard", "LabelOutOfRange", "Loss", "Step", "check_labels"]
__all__ += [
    "check_loss",
    "checked_step",
    "choose_step",
    "classify",
    "hf_step",
    "inputs_of",
    "supervised",
]

Step = Callable[[nn.Module, Batch], tuple[torch.Tensor, Any]]
Loss = Callable[[Any, Any], torch.Tensor]


def supervised(loss: Loss = nn.functional.cross_entropy) -> Step:
    """The step of a task with batches (inputs, targets): ``loss(model(x), y)``."""
    is_classification = _is_cross_entropy(loss)
    is_regression = loss in _REGRESSION or isinstance(loss, _REGRESSION_MODULES)

    def step(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Any]:
        *inputs, y = batch
        outputs = model(*inputs)
        if is_classification and not isinstance(y, torch.Tensor):
            raise TypeError(
                f"labels are a {type(y).__name__}, not a "
                "tensor: let the dataset give the number of a class, counted from 0."
            )
        if is_regression:
            _check_columns(y, outputs)
        if not is_classification or y.is_floating_point() and y.ndim > 1:
            return loss(outputs, y), outputs
        _check_dtype(y, outputs)
        if y.device.type == "cpu":
            check_labels(y, outputs.shape[1])
        return loss(outputs, y), outputs

    return step


_REGRESSION = (
    nn.functional.mse_loss,
    nn.functional.l1_loss,
    nn.functional.smooth_l1_loss,
    nn.functional.huber_loss,
)
_REGRESSION_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def _check_columns(y: Any, outputs: Any) -> None:
    """Outputs (n, 1) and targets (n,) would be compared all with all."""
    if not isinstance(y, torch.Tensor) or not isinstance(outputs, torch.Tensor):
        return
    if outputs.ndim != y.ndim:
        fix = "use y.squeeze(1), or leave out the last squeeze of the model"
        if outputs.ndim > y.ndim:
            fix = "use y.unsqueeze(1) for a column, or let the model end in .squeeze(1)"
        raise ValueError(
            f"the model returned shape {tuple(outputs.shape)} and the targets have "
            f"{tuple(y.shape)}, so every output would be compared with every target: "
            f"{fix}."
        )


def _is_cross_entropy(loss: Loss) -> bool:
    plain = loss is nn.functional.cross_entropy
    return plain or isinstance(loss, nn.CrossEntropyLoss)


classify: Step = supervised()
"""Cross-entropy on (x, y): x of any shape, scores (n, C), y int64 in 0..C-1."""


def hf_step(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Any]:
    """A transformers model's step: dict batches with "labels", loss from within."""
    try:
        output = model(**batch)
    except IndexError:
        _explain_index_error(model, batch)
        raise
    if getattr(output, "loss", None) is None:
        raise ValueError(
            f"the batch has the keys {sorted(batch)} and the model returned no loss: "
            'add "labels" to every batch, or pass a step of your own.'
        )
    return output.loss, output.logits


def _explain_index_error(model: nn.Module, batch: Batch) -> None:
    """Raise a clearer error if the labels are why the model's own loss failed."""
    y = batch.get("labels")
    if isinstance(y, torch.Tensor) and y.ndim == 1 and not y.is_floating_point():
        check_labels(y, inputs_of(model, batch).shape[1])


def checked_step(
    step: Step, model: nn.Module, batch: Batch, part: Shard, name: str
) -> tuple[torch.Tensor, Any]:
    """Take a step and check what it returned.

    Raises:
        LabelOutOfRange: with the example's place in the dataset of ``name``.
        TypeError, ValueError: the step does not return (one number, outputs).
    """
    try:
        with explained(part, batch):
            result = step(model, batch)
    except LabelOutOfRange as error:
        # The step knows the place in the batch; the learner needs the data's.
        raise error.among(part.indices, name) from None
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(
            f"the step returned a {type(result).__name__}: let it return the pair "
            "(loss, outputs)."
        )
    loss, outputs = result
    if not isinstance(loss, torch.Tensor):
        raise TypeError(
            f"the step returned the loss {loss!r}, a {type(loss).__name__}: return the "
            "tensor itself (no .item()), from which gradients flow."
        )
    if loss.ndim:
        raise ValueError(
            f"the step returned a loss of shape {tuple(loss.shape)}: it must be "
            "one number, the mean over the batch (loss.mean())."
        )
    return loss, outputs


def choose_step(step: Step | None, batch: Batch, loss: Loss) -> Step:
    """The caller's step, or the one that fits the kind of batch.

    Raises:
        TypeError: batches are neither (x, y) nor dicts and no step was given.
        ValueError: a loss for dict batches, whose model has its own.
    """
    if step is not None:
        return step
    if hasattr(batch, "items"):
        if loss is not nn.functional.cross_entropy:
            raise ValueError(
                "loss=... is not used with dict batches, whose model computes its own "
                "loss: pass step=..., a function (model, batch) -> (loss, outputs)."
            )
        return hf_step
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return supervised(loss)
    raise TypeError(
        f"a batch is a {type(batch).__name__}, neither (x, y) nor a dict: let the "
        "dataset return (x, y), or pass step=..., a function (model, batch) -> "
        "(loss, outputs)."
    )


def check_loss(step: Step | None, loss: Loss) -> None:
    """Refuse a step together with a loss: only one of them can be used.

    Raises:
        ValueError: both were given.
    """
    if step is not None and loss is not nn.functional.cross_entropy:
        raise ValueError(
            "step=... and loss=... were both given, but a step computes its own loss: "
            "leave out loss, or use it inside the step."
        )


def inputs_of(model: nn.Module, batch: Batch) -> Any:
    """The model's outputs for a batch, labels left out: scores, or ``.logits``."""
    if hasattr(batch, "items"):
        output = model(**{k: v for k, v in batch.items() if k != "labels"})
        if not hasattr(output, "logits"):
            raise ValueError(
                f"the model returned a {type(output).__name__} without logits: it has "
                "no head. For its vectors use helpers.cache_features(..., "
                "embed=helpers.mean_pool)."
            )
        return output.logits
    if isinstance(batch, torch.Tensor):
        return model(batch)
    return model(*batch[:-1]) if len(batch) > 1 else model(batch[0])


class LabelOutOfRange(ValueError):
    """A class index below 0 or beyond the model's outputs."""

    def __init__(
        self, label: int, place: int, num_classes: int, where: str = "the batch"
    ) -> None:
        self.label, self.place, self.num_classes = label, place, num_classes
        super().__init__(
            f"the label of example {place} of {where} is {label}, but the model has "
            f"{num_classes} outputs, so labels must lie in 0..{num_classes - 1}. "
            "Number the classes from 0, or give the head as many outputs as there are "
            "classes."
        )

    def among(self, indices: Sequence[int], name: str) -> LabelOutOfRange:
        """The same error with the example's place in the dataset."""
        where, place = f"{name}.dataset", indices[self.place]
        return LabelOutOfRange(self.label, place, self.num_classes, where)


def check_labels(y: torch.Tensor, num_classes: int) -> None:
    """Class indices must lie in 0..num_classes-1 (-100 marks "no label").

    Raises:
        LabelOutOfRange: names the first wrong label and its place.
    """
    low, high = torch.aminmax(y)
    if low < 0 or high >= num_classes:
        wrong = ((y < 0) | (y >= num_classes)) & (y != -100)
        if wrong.any():
            place = int(wrong.nonzero()[0, 0])
            raise LabelOutOfRange(int(y[wrong][0]), place, num_classes)


def _check_dtype(y: torch.Tensor, outputs: torch.Tensor) -> None:
    if y.dtype not in (torch.int64, torch.uint8):
        raise TypeError(
            f"labels have dtype {y.dtype} and shape {tuple(y.shape)}: class indices "
            "must be int64. Use y.long(); for a regression pass "
            "loss=nn.functional.mse_loss."
        )
    if outputs.ndim < 2:
        raise ValueError(
            f"the model returned shape {tuple(outputs.shape)}; cross-entropy needs "
            "scores of shape (n, classes). Flatten nothing after the last layer, and "
            "give it one output a class."
        )


class LabelGuard:
    """Finds wrong labels on the host: on a GPU they would kill the whole process.

    Args:
        model: tells the number of classes, from one batch.
        batches: whose labels are watched.
        step, loss: as given to ``fit``; only the default step can be watched, and
            only where labels are class indices.
    """

    def __init__(
        self, model: nn.Module, batches: Batches, step: Step | None, loss: Loss
    ) -> None:
        self.model, self.batches = model, batches
        self.default, self.cross_entropy = step is None, _is_cross_entropy(loss)
        self._num_classes: int | None = None

    def check(self, part: Shard, batch: Batch, device: torch.device) -> None:
        """Refuse a batch with a wrong label before it is moved to ``device``.

        Raises:
            LabelOutOfRange: names the first wrong label and its example.
        """
        named = hasattr(batch, "items")
        watched = self.default and (named or self.cross_entropy)
        if device.type == "cpu" or not watched:
            return
        y = targets(batch)
        if not isinstance(y, torch.Tensor) or y.ndim != 1 or y.is_floating_point():
            return
        name = self.batches.name
        if self._num_classes is None:
            with in_eval_mode(self.model), explained(part, batch):
                outputs = inputs_of(self.model, to_device(batch, device))
            # One output in a transformers model means a regression.
            known = outputs.ndim == 2 and outputs.shape[1] > named
            self._num_classes = outputs.shape[1] if known else 0
            whole = self.batches.labels_in_memory
            if self._num_classes and whole is not None:
                everyone = range(len(whole))
                self._check(whole, everyone, name)
        if self._num_classes and y.device.type == "cpu":
            self._check(y, part.indices, name)

    def _check(self, y: torch.Tensor, places: Sequence[int], name: str) -> None:
        try:
            check_labels(y, self._num_classes or 0)
        except LabelOutOfRange as error:
            raise error.among(places, name) from None
