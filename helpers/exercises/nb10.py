"""Graders of notebook 10, fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from helpers.exercises import exercise


@exercise("10.1", "Frozen weights still take 4 bytes; learning ones take 16.")
def _memory(answer: float) -> str | None:
    if isinstance(answer, bool) or not math.isfinite(answer):
        return "give a number of megabytes, such as 12."
    known = {
        36: "that counts 16 bytes for the frozen weights too; they have neither a "
        "gradient nor moments.",
        27: "that leaves the frozen weights out; they still lie in memory, 4 bytes "
        "each.",
        28: "those are mebibytes (2**20 bytes); divide by 10**6.",
        22: "the weights and moments are there, the gradients are missing.",
        16: "the moments of AdamW are missing: two numbers of 4 bytes for each "
        "learning weight.",
        9: "those are the weights alone; a learning weight has a gradient and two "
        "moments as well.",
    }
    megabytes = answer / 1e6 if answer > 1e6 else answer
    if abs(megabytes - 29.2) < 0.5:  # 29.2 to one decimal
        return None
    for wrong, hint in known.items():
        if abs(megabytes - wrong) <= 0.5:
            return hint
    return "add 4 bytes for each weight, and 4 + 8 more for each weight that learns."


@exercise("10.2", "41,798 of 2.2 million parameters learn, not quite two percent.")
def _batch_norm_only(answer: nn.Module) -> str | None:
    if not isinstance(answer, nn.Module):
        return f"the answer is a model, not a {type(answer).__name__}."
    layers = dict(answer.named_modules())
    head: Any = layers.get("classifier.1", layers.get("classifier"))
    if "features" not in layers or not isinstance(head, nn.Linear):
        return "start from mobilenet_v2 and keep its parts, features and classifier."
    if head.out_features != 6:
        return f"the head has {head.out_features} outputs; there are six classes."
    norms = [m for m in layers.values() if isinstance(m, nn.BatchNorm2d)]
    if not all(p.requires_grad for p in head.parameters()):
        return "the new head is frozen too: replace or unfreeze it after freezing."
    if not any(p.requires_grad for norm in norms for p in norm.parameters()):
        return "no batch norm learns: look for modules of the type nn.BatchNorm2d."
    if not all(norm.weight.requires_grad for norm in norms):
        return "the scales (weight) of some batch norms are still frozen."
    if not all(norm.bias.requires_grad for norm in norms):
        return "the shifts (bias) of some batch norms are still frozen."
    convolutions = [m for m in layers.values() if isinstance(m, nn.Conv2d)]
    if any(p.requires_grad for m in convolutions for p in m.parameters()):
        return "convolutions still learn: freeze the whole model first."
    return None


# Drawings in the training folder: activities, animals, food, objects, smileys, travel.
_COUNTS = (52, 86, 79, 153, 98, 131)


@exercise(
    "10.3", "Every class now weighs as much as every other, a picture 1 on average."
)
def _class_weights(answer: Sequence[float]) -> str | None:
    values = np.asarray(answer, dtype=float).ravel()
    if len(values) != len(_COUNTS):
        return f"give six weights, one a class; you gave {len(values)}."
    if not (values > 0).all():
        return "a weight must be positive: a class with weight 0 is not learned at all."
    counts = np.array(_COUNTS, dtype=float)
    right = counts.sum() / (len(counts) * counts)
    if np.allclose(values, right, rtol=0.01):
        return None
    totals = values * counts
    if np.allclose(totals, totals.mean(), rtol=0.01):
        return (
            "right proportions, but the mean weight of a picture is "
            f"{totals.sum() / counts.sum():.2g}, not 1: the weights of all 599 "
            "pictures together must be 599."
        )
    if np.allclose(values / values.sum(), counts / counts.sum(), rtol=0.01):
        return "upside down: these weights make the large classes count even more."
    if np.allclose(values, values[0], rtol=0.01):
        return "equal weights change nothing: the rare class needs the largest."
    return "weight times number of pictures must be the same for all six classes."


@exercise("10.4", "Mean of means is right only when all batches have one size.")
def _weights(answer: Sequence[float]) -> str | None:
    values = [float(value) for value in answer]
    if len(values) != 3:
        return f"give three weights, one a batch; you gave {len(values)}."
    right = [32 / 87, 32 / 87, 23 / 87]
    pairs = zip(values, right, strict=True)
    if all(math.isclose(a, b, abs_tol=2e-3) for a, b in pairs):
        return None
    if all(math.isclose(value, 1 / 3, abs_tol=2e-3) for value in values):
        return (
            "with equal weights each of the last 23 pictures counts 32/23 times as "
            "much as the others."
        )
    if all(value == 1 for value in values):
        return "the sum of three means is three times too long a step."
    if values == [32, 32, 23]:
        return "right proportions, but the step must be a mean: divide by 87."
    if not math.isclose(sum(values), 1, abs_tol=5e-3):
        return f"the weights add up to {sum(values):.3g}; those of a mean add up to 1."
    return "each picture must count 1/87: what does a batch of n pictures weigh then?"
