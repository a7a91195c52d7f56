"""Answers to the exercises of notebook 10."""

from __future__ import annotations

import numpy as np
from torch import nn
from torchvision.models import mobilenet_v2

from tests.exercise_cases import Case

COUNTS = np.array([52, 86, 79, 153, 98, 131])  # of the training folder


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
    "10.1": Case(
        solution=29,
        mistakes=[
            (36, "that counts 16 bytes for"),
            (27, "that leaves the frozen"),
            (28, "those are mebibytes (2**20"),
            (22, "the weights and moments"),
            (16, "the moments of AdamW are"),
            (9, "those are the weights alone"),
            (50, "add 4 bytes for each weight"),
            (0, "add 4 bytes for each weight"),
        ],
    ),
    "10.2": Case(
        solution=network,
        mistakes=[
            (lambda: network(rest=True), "convolutions still learn: freeze"),
            (lambda: network(head=False), "the new head is frozen"),
            (lambda: network(shifts=False), "the shifts (bias) of some"),
            (lambda: network(scales=False), "the scales (weight) of"),
            (lambda: network(scales=False, shifts=False), "no batch norm learns: look"),
            (lambda: mobilenet_v2(weights=None), "the head has 1000 outputs"),
        ],
    ),
    "10.3": Case(
        solution=lambda: 599 / (6 * COUNTS),
        mistakes=[
            (lambda: 1 / COUNTS, "right proportions, but the mean"),
            (lambda: 599 / COUNTS, "right proportions, but the mean"),
            (lambda: COUNTS / 599, "upside down: these weights"),
            ([1.0] * 6, "equal weights change nothing"),
            ([2.0, 1.0, 1.0, 1.0, 1.0], "give six weights, one a class"),
            ([5.0, 1.0, 1.0, 1.0, 1.0, 0.0], "a weight must be positive"),
            ([5.0, 1.0, 1.0, 1.0, 1.0, 1.0], "weight times number of pictures"),
        ],
    ),
    "10.4": Case(
        solution=[32 / 87, 32 / 87, 23 / 87],
        mistakes=[
            ([1 / 3, 1 / 3, 1 / 3], "with equal weights each"),
            ([1, 1, 1], "the sum of three means"),
            ([32, 32, 23], "right proportions, but the"),
            ([0.5, 0.5], "give three weights, one"),
            ([0.5, 0.5, 0.5], "the weights add up to 1.5"),
            ([0.4, 0.4, 0.2], "each picture must count"),
        ],
    ),
}
