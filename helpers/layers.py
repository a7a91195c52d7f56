"""Which parameters learn: freeze, unfreeze, count."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["count_parameters", "freeze", "unfreeze"]


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
