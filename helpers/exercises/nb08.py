"""Graders of notebook 08: shapes, softmax twice, shifted pictures, test error."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from helpers.exercises import exercise


@exercise("08.1", praise="64 maps of 14 x 14: 32 - 2 - 2 = 28, halved by pooling.")
def inputs_for_32(answer: int) -> str | None:
    """The inputs of the first fully connected layer for 32 x 32 pixels."""
    likely = {
        9_216: "that is for 28 x 28; a larger picture leaves larger maps.",
        14: "14 is the side of one map; a map has 14 x 14 numbers, and there are 64.",
        196: "196 is one map of 14 x 14; the second convolution makes 64 of them.",
        64 * 16 * 16: "each 3 x 3 convolution without padding takes 2 pixels off.",
        64 * 28 * 28: "the maps are 28 x 28 before pooling; max pooling halves them.",
        64 * 15 * 15: "there are two convolutions before pooling, each takes 2 pixels.",
        64 * 32 * 32: "two convolutions without padding and a pooling shrink the side.",
        32 * 14 * 14: "the side is right; the second convolution makes 64 maps.",
    }
    if answer == 64 * 14 * 14:
        return None
    return likely.get(int(answer), "side = (32 - 2 - 2) / 2, then 64 maps of side².")


@exercise("08.2", praise="ln(e + 9) - 1: with softmax twice the loss never gets to 0.")
def softmax_twice(answer: float) -> str | None:
    """The lowest cross-entropy of softmax outputs over ten classes."""
    value = float(answer)
    if abs(value - (math.log(math.e + 9) - 1)) < 0.02:
        return None
    if abs(value) < 0.02:
        return (
            "0 is what cross_entropy reaches with scores of any size. Here it gets "
            "numbers between 0 and 1 as scores, and takes softmax of them again."
        )
    if abs(value - math.log(10)) < 0.02:
        return "2.30 is ln 10, the loss of guessing; a perfect network does better."
    if abs(value - (math.log(math.exp(-1) + 9) + 1)) < 0.02:
        return "that is the worst case, with the 1 at a wrong class's place."
    if abs(value - math.e / (math.e + 9)) < 0.02:
        return "0.23 is the probability after the second softmax; take -ln of it."
    return (
        "Perfect softmax output is 1 for the right class and 0 for nine others: put "
        "that vector into F.cross_entropy."
    )


@exercise("08.3", praise="A few pixels of 28 are enough to break it.")
def shift_right(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    """A function that moves pictures to the right and fills with black."""
    if not callable(answer):
        return "give the function itself, without calling it: answer = shift_right."
    torch_state = torch.get_rng_state()
    X = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(8)) + 0.1
    before = X.clone()
    by_two, by_none = answer(X, 2), answer(X, 0)
    torch.set_rng_state(torch_state)
    if not isinstance(by_two, Tensor) or not isinstance(by_none, Tensor):
        return f"the function returns a {type(by_two).__name__}, not a tensor."
    if not torch.equal(X, before):
        return "the function changes X itself: work on X.clone() or a new tensor."
    if by_two.shape != X.shape:
        return f"the shape changes from {tuple(X.shape)} to {tuple(by_two.shape)}."
    right = torch.zeros_like(X)
    right[..., 2:] = X[..., :-2]
    wrong_ways = {
        "to the left": torch.nn.functional.pad(X, (0, 2))[..., 2:],
        "down": torch.nn.functional.pad(X, (0, 0, 2, 0))[..., :-2, :],
        "up": torch.nn.functional.pad(X, (0, 0, 0, 2))[..., 2:, :],
    }
    for direction, moved in wrong_ways.items():
        if torch.equal(by_two, moved):
            return f"this moves {direction}; the last dimension counts columns."
    if torch.equal(by_two, X.roll(2, dims=-1)):
        return "what leaves on the right comes back on the left: roll wraps around."
    if not torch.equal(by_two, right):
        return "column j of the result must be column j - k of X, and black for j < k."
    if by_none.shape != X.shape or not torch.equal(by_none, X):
        return "k = 0 must give the same pictures; X[..., :-0] is empty."
    return None


@exercise("08.4", praise="98.4 % and 98.6 % on 10,000 digits are no clear difference.")
def interval(answer: float) -> str | None:
    """Half the width of the 95 % interval, in percentage points."""
    error = 100 * math.sqrt(0.985 * 0.015 / 10_000)
    value = float(answer)
    mistakes = {
        error: "that is one standard error; the 95 % interval reaches 1.96 of them.",
        2 * 1.96 * error: "that is the whole interval; how far to one side?",
        1.96 * error / 100: "that is a fraction; times 100 it is percentage points.",
        error / 100: "that is one standard error, as a fraction.",
        1.96 * error * 100: "divide by the 10,000 digits under the root.",
        196 * 0.985 * 0.015 / 10_000: "the square root is missing.",
    }
    if abs(value - 1.96 * error) < 0.01:
        return None
    for wrong, message in mistakes.items():
        if abs(value - wrong) < 0.02 * wrong:
            return message
    return "100 * 1.96 * sqrt(0.985 * 0.015 / 10_000): a fraction of one point."
