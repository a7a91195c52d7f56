"""Graders of notebook 18, pictures and words in one space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import normalize

from helpers.exercises import exercise


@exercise("18.1", "ln 512: every answer of 512 is as likely as any other.")
def _knows_nothing(answer: float) -> str | None:
    known = {
        9.0: "that is the base-2 logarithm; cross-entropy uses the natural one.",
        2.71: "that is the logarithm to base 10; cross-entropy uses the natural one.",
        12.48: "rows and columns are averaged, not added: half of that.",
        3.12: "each direction costs ln 512, and the mean of two equal numbers is that "
        "number.",
        -6.24: "a loss is minus the logarithm: the sign is wrong.",
    }
    for wrong, hint in known.items():
        if abs(answer - wrong) < 0.006:
            return hint
    if abs(answer - 1 / 512) < 1e-3:
        return "that is the probability of the right answer; the loss is minus its log."
    if abs(answer - 512) < 0.5:
        return "512 is the number of answers; the loss is the logarithm of it."
    if abs(answer - math.log(512)) < 0.01:
        return None
    return (
        "softmax of equal scores is uniform: the right answer of a row gets 1/512, and "
        "the loss is minus the logarithm of that."
    )


@exercise(
    "18.2",
    "Ties counted against the model: saying nothing earns nothing.",
    function="fair_recall",
)
def _fair_recall(answer: Callable[[torch.Tensor, int], Any]) -> str | None:
    scores = torch.tensor(
        [
            [0.9, 0.1, 0.2, 0.3],  # first
            [0.5, 0.4, 0.55, 0.1],  # third
            [0.6, 0.1, 0.6, 0.2],  # ties with one: second
            [0.7, 0.8, 0.9, 0.1],  # last
        ]
    )
    found = {k: float(answer(scores, k)) for k in (1, 2, 3, 4)}
    if any(value > 1 for value in found.values()):
        return "that is a count: divide by the number of names."
    if found[4] < 1:
        return (
            "with k equal to the number of drawings every right drawing is found: do "
            "not count the right drawing as standing before itself."
        )
    columns = [
        (scores.T >= scores.diagonal()[:, None]).sum(1) <= k for k in range(1, 5)
    ]
    if [found[k] for k in (1, 2, 3, 4)] == [c.float().mean().item() for c in columns]:
        return "you ranked names for each drawing; rows are names, and a row is ranked."
    silent = float(answer(torch.zeros(5, 5), 2))
    if silent == 1 or found[1] == 0.5:
        return "a tie still counts for the model: compare with >= instead of >."
    if found == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0} and silent == 0:
        return None
    if found[2] == 0.25:
        return "with k=2, two drawings may be shown: at most k - 1 stand before."
    return (
        "count, for each row, the other drawings with a score of at least the "
        "diagonal's; the name is found if they are fewer than k."
    )


@exercise(
    "18.3",
    "Normalise, average, normalise: every sentence has one vote.",
    function="heads",
)
def _heads(answer: Callable[[torch.Tensor], Any]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randn(3, 5, 7, generator=generator)
    prompts[:, 0] *= 20
    found = answer(prompts)
    if not isinstance(found, torch.Tensor):
        return "return a tensor of shape (categories, d)."
    if found.shape == (5, 7):
        return "you averaged over the categories; average over the prompts, dim=1."
    if found.shape != (3, 7):
        return f"return shape (categories, d), here (3, 7), not {tuple(found.shape)}."
    unit = normalize(prompts, dim=2)
    if torch.allclose(found, unit.mean(dim=1), atol=1e-5):
        return "a mean of unit vectors is shorter than one: normalise it, too."
    if torch.allclose(found, normalize(prompts.mean(dim=1), dim=1), atol=1e-5):
        return "the long vectors drown the others: normalise before you average."
    if torch.allclose(found, prompts.mean(dim=1), atol=1e-5):
        return "a plain mean: normalise each prompt before, and the mean after."
    wrong = normalize(normalize(prompts, dim=1).mean(dim=1), dim=1)
    if torch.allclose(found, wrong, atol=1e-5):
        return "normalize's default, dim=1, runs over the prompts here; use dim=2."
    if torch.allclose(found, normalize(unit.mean(dim=1), dim=1), atol=1e-5):
        return None
    return "unit vectors first, then their mean over dim=1, then length one again."
