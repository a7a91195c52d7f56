"""Train mode without drifting batch norms, and eval mode that is put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["in_eval_mode", "train_mode"]


def train_mode(model: nn.Module) -> None:
    """``model.train()``, except that frozen batch norms keep their running statistics.

    A batch norm in train mode updates its running mean and variance even when its
    parameters do not learn, so a "frozen" backbone would drift (notebook 09).
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            own = list(module.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                module.eval()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients for all of ``model``; its modes are put back.

    Not ``inference_mode``, which gains nothing (measured): what a model computes once
    and keeps, such as a table of positions, could not be trained through afterwards.
    """
    modes = [module.training for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in zip(model.modules(), modes, strict=True):
            module.training = training
