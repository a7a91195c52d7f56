"""Answers to the exercises of notebook 10."""

from __future__ import annotations

from torch import nn
from torchvision.models import mobilenet_v2

from tests.exercise_cases import Case


def network(
    *, scales: bool = True, shifts: bool = True, head: bool = True, rest: bool = False
) -> nn.Module:
    """A MobileNetV2 for six classes of which only some parts learn."""
    model = mobilenet_v2(weights=None)
    model.classifier[1] = nn.Linear(model.last_channel, 6)
    model.requires_grad_(rest)
    model.classifier.requires_grad_(head)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.requires_grad_(scales)
            module.bias.requires_grad_(shifts)
    return model


CASES = {
    "10.1": Case(solution=29, mistakes=[36, 27, 28, 22, 16, 9, 50, 0]),
    "10.2": Case(
        solution=[32 / 87, 32 / 87, 23 / 87],
        mistakes=[
            [1 / 3, 1 / 3, 1 / 3],
            [1, 1, 1],
            [32, 32, 23],
            [0.5, 0.5],
            [0.5, 0.5, 0.5],
            [0.4, 0.4, 0.2],
        ],
    ),
    "10.3": Case(
        solution=network,
        mistakes=[
            lambda: network(rest=True),
            lambda: network(head=False),
            lambda: network(shifts=False),
            lambda: network(scales=False),
            lambda: network(scales=False, shifts=False),
            lambda: mobilenet_v2(weights=None),
        ],
    ),
}
