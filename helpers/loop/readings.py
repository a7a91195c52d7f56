"""Losses and gradient norms on their way from the device, checked for NaN.

Reading a number waits for a GPU, so there it is done once for many of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch

from helpers.loop.explain import listed

__all__ = ["NonFiniteGradient", "NonFiniteLoss", "Readings"]

# On any other device: a loss and a norm for each of 16 steps.
_AT_ONCE, _TOGETHER = {"cpu": 1}, 32


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite; the message names the step and the batch."""


class NonFiniteGradient(ArithmeticError):
    """The gradient of a finite loss became NaN or infinite; no weight has moved."""


class _Reading(NamedTuple):
    """A number that may still be on the device.

    Attributes:
        place: epoch and batch, counted from 0, and how many batches there are.
        plan: its examples, batch by batch.
        weight: examples whose mean the loss is; 0 for a norm.
    """

    error: type[ArithmeticError]
    place: tuple[int, int, int]
    plan: Sequence[Sequence[int]]
    value: torch.Tensor
    weight: int


class Readings:
    """Collects losses and norms; ``loss_sum`` and ``seen`` are those of the epoch."""

    def __init__(self, device: torch.device) -> None:
        self.loss_sum, self.seen = 0.0, 0
        self._every = _AT_ONCE.get(device.type, _TOGETHER)
        self._unread: list[_Reading] = []

    @property
    def at_once(self) -> bool:
        """Whether every number is read and checked as soon as it is added."""
        return self._every == 1

    @property
    def all_read(self) -> bool:
        """Whether every number so far was read, and is finite."""
        return not self._unread

    @property
    def mean_loss(self) -> float:
        """The mean training loss of the epoch so far, as far as it has been read."""
        return self.loss_sum / self.seen if self.seen else math.nan

    def add_loss(
        self,
        value: torch.Tensor,
        place: tuple[int, int, int],
        indices: Sequence[int],
        count: int,
    ) -> None:
        """Take in the mean loss of ``count`` examples.

        Args:
            place: epoch and batch, counted from 0, and how many batches there are.
        """
        self._add(_Reading(NonFiniteLoss, place, [indices], value.detach(), count))

    def add_norm(
        self,
        value: torch.Tensor,
        place: tuple[int, int, int],
        group: Sequence[Sequence[int]],
    ) -> None:
        """Take in the norm of the gradient of a group of batches."""
        self._add(_Reading(NonFiniteGradient, place, group, value.detach(), 0))

    def _add(self, reading: _Reading) -> None:
        self._unread.append(reading)
        if len(self._unread) >= self._every:
            self.read()

    def read(self) -> None:
        """Add up what is unread.

        Raises:
            NonFiniteLoss, NonFiniteGradient: names the epoch, the step and the examples
                of the first one.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        numbers = [reading.value for reading in unread]
        alone = len(numbers) == 1
        values = [numbers[0].item()] if alone else torch.stack(numbers).tolist()
        for reading, value in zip(unread, values, strict=True):
            if not math.isfinite(value):
                raise _not_finite(reading, value)
            self.loss_sum += value * reading.weight
            self.seen += reading.weight


def _not_finite(reading: _Reading, value: float) -> ArithmeticError:
    found, remedy = f"the loss is {value}", "Look at these inputs for NaN or huge "
    remedy += "values; if they are fine, use a smaller lr, or precision='fp32'."
    if reading.error is NonFiniteGradient:
        found = f"the loss is finite, but the norm of its gradient is {value}"
        remedy = "Look in the step and the model for the square root or logarithm of "
        remedy += "0, or for a division by it: add a small number inside."
    epoch, batch, total = reading.place
    return reading.error(
        f"{found} at epoch {epoch + 1}, batch {batch + 1} of {total}, on the "
        f"{listed(chain(*reading.plan))} of train.dataset. {remedy}"
    )
