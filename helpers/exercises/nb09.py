"""Graders of notebook 09, feature extraction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from helpers.exercises import exercise


@exercise("09.1", "A mirrored drawing is hardly news to this network.")
def _mirrored(answer: tuple[torch.Tensor, torch.Tensor]) -> str | None:
    X, y = answer
    if X.shape == (599, 1280):
        return "X has 599 rows: put the mirrored vectors below the originals."
    if X.shape != (1198, 1280):
        return f"X has shape {tuple(X.shape)}; it should be (1198, 1280)."
    if y.shape == (599,):
        return "y has 599 labels for 1198 rows: a mirrored cat is a cat as well."
    if y.shape != (1198,):
        return f"y has shape {tuple(y.shape)}; it should be (1198,)."
    if not torch.equal(y[:599], y[599:]):
        return (
            "the two halves of y differ: repeat all labels in order (torch.cat), not "
            "each label twice."
        )
    same = (X[:599] == X[599:]).all(dim=1).float().mean().item()
    if same > 0.9:
        return "both halves of X are equal: the second needs the mirroring transform."
    if same > 0.25:
        return (
            f"{same:.0%} of the pictures were not mirrored: flip with p=1, and cache "
            "the originals separately."
        )
    return None


class _Toy(nn.Module):
    """Frozen and learning batch norms of both kinds, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.frozen_flat = nn.BatchNorm1d(4)
        self.frozen.requires_grad_(False)
        self.frozen_flat.requires_grad_(False)
        self.learning = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)


@exercise(
    "09.2", "helpers.fit does the same before every epoch.", function="train_mode"
)
def _train_mode(answer: Callable[[nn.Module], Any]) -> str | None:
    model = _Toy().eval()
    answer(model)
    if not model.dropout.training:
        return "dropout is still in eval mode: begin with model.train()."
    if not model.learning.training:
        return (
            "a batch norm that learns was sent to eval mode: look at the requires_grad "
            "of its parameters first."
        )
    if model.frozen[1].training:
        return "the frozen BatchNorm2d is in train mode: call eval() on that layer."
    if model.frozen_flat.training:
        return (
            "BatchNorm2d is done, the frozen BatchNorm1d is not: test for the common "
            "base class _BatchNorm."
        )
    if any(p.requires_grad for p in model.frozen.parameters()) or not all(
        p.requires_grad for p in model.learning.parameters()
    ):
        return "requires_grad changed: the function should only set modes."
    return None


@exercise(
    "09.3",
    "The nearest neighbours vote without a single training step.",
    function="vote",
)
def _vote(answer: Callable[..., torch.Tensor]) -> str | None:
    # Directions: three labels; lengths are chosen so that distance misleads.
    angles = torch.tensor([0.0, 0.1, 0.2, 1.4, 1.5, 2.6])
    lengths = torch.tensor([9.0, 9.0, 9.0, 1.0, 1.0, 1.0])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1) * lengths[:, None]
    y = torch.tensor([7, 4, 4, 2, 2, 5])
    angle = torch.tensor([-0.05, 1.45, 2.7])
    queries = torch.stack([angle.cos(), angle.sin()], dim=1)
    one, three = (answer(queries, vectors, y, k) for k in (1, 3))
    if not isinstance(one, torch.Tensor) or one.shape != (3,):
        shape = tuple(getattr(one, "shape", ()))
        return f"return one label a query, a tensor of shape (3,) here, not {shape}."
    if one.tolist() in ([0, 3, 5], [0, 4, 5]):
        return "these are row numbers of X: look their labels up in y."
    distance = torch.cdist(queries, vectors)
    if torch.equal(one, y[distance.argmin(dim=1)]):
        return (
            "that is the smallest distance; a long vector in the same direction is "
            "near by cosine. Normalise queries and X to length 1."
        )
    if torch.equal(one, y[(queries @ vectors.T).argmax(dim=1)]):
        return "a plain product favours long vectors: normalise the rows of X, too."
    if one.tolist() != [7, 2, 5]:
        return "with k=1 the label of the most similar row should come out."
    if torch.equal(one, three):
        return "k makes no difference: take k rows, then their most frequent label."
    if three.tolist()[:2] != [4, 2]:
        return "with k=3 the most frequent label of three rows should win."
    return None


@exercise("09.4", "Two thirds of the numbers sit in the last four blocks.")
def _shorter_network(answer: float) -> str | None:
    if 0 < answer < 1:
        return "that is a fraction; give a whole percent, such as 50."
    if answer == 0:
        return (
            "count_parameters returns (trainable, total), and a frozen backbone has "
            "nothing trainable; use the total."
        )
    known = {
        24: "features[:14] ends with block 13; block 14 stays as well.",
        20: "you divided by the network with its old head of 1.28 million; divide by "
        "the backbone alone.",
        69: "that is the share you cut off; the question is what is left.",
        46: "features[:16] is one block too many.",
    }
    for wrong, hint in known.items():
        if abs(answer - wrong) < 1:
            return hint
    if abs(answer - 31) < 1:
        return None
    return (
        "count the parameters of backbone.features[:15] and divide by those of the "
        "whole backbone."
    )
