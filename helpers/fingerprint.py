"""What must be equal when a run goes on from a checkpoint, in a form JSON can hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from helpers.batches import Batches
from helpers.checkpoints import raw_bytes

__all__ = ["fingerprint", "name_of"]

# What a schedule moves: betas and momentum too, as OneCycleLR does.
_SCHEDULED = {"momentum", "betas"}


def fingerprint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Batches,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a run so that another model, data order or setting is noticed.

    Args:
        model, optimizer, train: of the run, before its first step.
        settings: everything else that must be equal, added as it is.

    Raises:
        TypeError: the optimizer has a tensor where a checkpoint can hold a number.
    """
    order = repr(train.plan(0)).encode()
    scheduled = settings.get("scheduler") is not None
    return {
        "modules": {
            name: _without_addresses(f"{type(part).__name__}({part.extra_repr()})")
            for name, part in model.named_modules()
        },
        **_parameters(model),
        "optimizer": _optimizer(optimizer, _SCHEDULED if scheduled else set()),
        "examples": len(train.loader.dataset),  # type: ignore[arg-type]
        "batches an epoch": train.num_batches,
        "order of the first epoch": hashlib.sha256(order).hexdigest()[:16],
        **settings,
    }


def _parameters(model: nn.Module) -> dict[str, Any]:
    frozen = hashlib.sha256()
    parameters = {}
    for name, p in model.named_parameters():
        parameters[name] = f"{list(p.shape)} {p.dtype}"
        if p.requires_grad:
            parameters[name] += " learns"
        else:
            frozen.update(raw_bytes(p))
    return {"parameters": parameters, "frozen weights": frozen.hexdigest()[:16]}


def _optimizer(optimizer: torch.optim.Optimizer, moving: set[str]) -> dict[str, Any]:
    hidden = {"params", "lr", *moving}
    described: dict[str, Any] = {"kind": type(optimizer).__name__}
    groups = optimizer.param_groups
    for number, group in enumerate(groups):
        prefix = f"group {number} " if len(groups) > 1 else ""
        kept = {k: v for k, v in group.items() if k not in hidden}
        kept["lr"] = group.get("initial_lr", group["lr"])
        kept["number of tensors"] = len(group["params"])
        for name, value in kept.items():
            if isinstance(value, torch.Tensor):
                raise TypeError(
                    f"the optimizer's {name} is {value}, and beside its state a "
                    "checkpoint holds plain numbers only: use plain numbers, or train "
                    "without folder=...."
                )
        described |= {f"{prefix}{name}": value for name, value in kept.items()}
    return described


def name_of(function: Callable[..., Any]) -> str:
    """What a loss is called and how it was set, as far as it can be told."""
    if isinstance(function, nn.Module):
        settings = {k: v for k, v in vars(function).items() if k[0] != "_"}
        return _without_addresses(f"{type(function).__name__} {settings}")
    return _without_addresses(getattr(function, "__qualname__", repr(function)))


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
