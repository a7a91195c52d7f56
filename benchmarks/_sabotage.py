"""Runs in a kernel before the first cell and spoils one thing that the lesson needs.

COURSE_SABOTAGE names it: "nothing" spoils nothing, as a control, "labels" shuffles the
class labels of every training batch, "rate" sets every learning rate to 0, "weights"
shuffles each pretrained tensor.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def _labels() -> None:
    import torch
    from torch.nn import functional

    plain = functional.cross_entropy

    def shuffled(
        scores: torch.Tensor, y: torch.Tensor, *rest: Any, **named: Any
    ) -> Any:
        if torch.is_grad_enabled() and y.ndim == 1 and not y.is_floating_point():
            y = y[torch.randperm(len(y))]
        return plain(scores, y, *rest, **named)

    functional.cross_entropy = torch.nn.functional.cross_entropy = shuffled


def _rate() -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    def stand_still(optimizer: Any, *_: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.0

    register_optimizer_step_pre_hook(stand_still)


def _weights() -> None:
    import torch
    from torchvision.models import WeightsEnum

    load = WeightsEnum.get_state_dict

    def scrambled(self: Any, *args: Any, **named: Any) -> dict[str, torch.Tensor]:
        state = load(self, *args, **named)
        return {
            name: t.flatten()[torch.randperm(t.numel())].view_as(t)
            for name, t in state.items()
        }

    WeightsEnum.get_state_dict = scrambled


def start() -> None:
    """Spoil it as soon as the first cell has imported torch."""
    from IPython import get_ipython

    kinds = {
        "nothing": lambda: None,
        "labels": _labels,
        "rate": _rate,
        "weights": _weights,
    }
    wanted = kinds[os.environ["COURSE_SABOTAGE"]]
    events = get_ipython().events

    def watch(*_: Any) -> None:
        if "torch" in sys.modules:
            events.unregister("pre_run_cell", watch)
            wanted()

    events.register("pre_run_cell", watch)


start()
