"""Which parameters learn: freeze, unfreeze, count, and a fitting train mode."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["count_parameters", "freeze", "train_mode", "unfreeze"]


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def freeze(module: ModuleT) -> ModuleT:
    """Exclude every parameter of ``module`` from training; returns the module.

    Taught in notebook 09. ``fit`` also keeps the running statistics of frozen batch
    norms still; in a loop of your own call ``module.eval()`` after ``model.train()``.
    """
    return module.requires_grad_(False)


def unfreeze(module: ModuleT) -> ModuleT:
    """Let every parameter of ``module`` learn again; returns the module."""
    return module.requires_grad_(True)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """(trainable, total) number of parameters; shared ones count once."""
    total = sum(p.numel() for p in module.parameters())
    return sum(p.numel() for p in module.parameters() if p.requires_grad), total


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
