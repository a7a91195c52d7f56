"""Graders of notebook 05: weights, pooling backward, folding, Adam's first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from helpers.exercises import exercise


@exercise("05.1", "The share is 1/9 + 1/64: the kernel's area and the maps that leave.")
def _depthwise_share(answer: float) -> str | None:
    """(32 * 9 + 32 * 64) / (32 * 64 * 9) in percent."""
    value = float(answer)
    known = {
        1.6: "that is the depthwise layer alone; add the 1x1 convolution that mixes.",
        11.1: "that is the 1x1 convolution alone; add one 3x3 kernel for each map.",
        14.2: "the second term is 1/64, not 1/32: one over the maps that leave.",
        87.3: "that is the share you save; the question is what is left.",
        100: "depthwise has 32 kernels of 3x3, not 32 * 32 of them.",
        111.1: "depthwise has 32 kernels of 3x3: each map has its own, and only one.",
    }
    if abs(value - 12.67) < 0.35:
        return None
    if 0.1 < value < 0.15:
        return "that is a fraction; in per cent it is a hundred times as much."
    if value > 1000:
        return "that is a number of weights; divide by the full convolution's 18,432."
    for wrong, hint in known.items():
        if abs(value - wrong) < 0.6:
            return hint
    return "full: 32 * 64 * 9 weights. Depthwise: 32 * 9, and then 1x1: 32 * 64."


@exercise(
    "05.2",
    "Only winners learn: three of four pixels get nothing back.",
    function="pool_backward",
)
def _pool_backward(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    """The gradient of a 2x2 max pooling with stride 2."""
    maker = torch.Generator().manual_seed(5)
    X = torch.randn(2, 3, 4, 6, generator=maker, dtype=torch.float64)
    G = torch.randn(2, 3, 2, 3, generator=maker, dtype=torch.float64)
    before = X.clone()
    result = answer(X, G)
    if not isinstance(result, Tensor) or result.shape != X.shape:
        shape = tuple(getattr(result, "shape", ()))
        return f"the gradient has X's shape {tuple(X.shape)}, yours has {shape}."
    if not torch.equal(X, before):
        return "the function changes X itself: write into torch.zeros_like(X)."
    spread = G.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    if torch.allclose(result, spread):
        return "every pixel of a window gets its gradient: only the largest should."
    if torch.allclose(result, spread / 4):
        return "that is the gradient of a mean; the maximum pays the winner alone."
    expected = _library(X, G)
    if torch.allclose(result, (expected != 0).to(G.dtype)):
        return "the winners are right; multiply by the gradient G that comes back."
    if not torch.allclose(result, expected):
        if torch.equal(result != 0, expected != 0):
            return "the winners are right, what they get is not: the G of their window."
        return (
            "other pixels than the winners get the gradient: compare the four pixels "
            "X[..., 0::2, 0::2], [0::2, 1::2], [1::2, 0::2], [1::2, 1::2]."
        )
    ties = torch.tensor([[[[5.0, 5.0], [5.0, 1.0]]]], dtype=torch.float64)
    three = torch.tensor([[[[3.0]]]], dtype=torch.float64)
    tied = answer(ties, three).flatten().tolist()
    if sum(tied) > 3.5:
        return (
            "with equal pixels each of them gets the whole gradient, three times too "
            "much: choose one (argmax)."
        )
    if max(tied) < 2.9:
        return "equal pixels share the gradient; in the library the first takes all."
    if tied[0] != 3:
        return "of equal pixels the first, row by row, should win."
    return None


def _library(X: Tensor, G: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = X.detach().clone().requires_grad_()
        pooled = functional.max_pool2d(leaf, 2)
        (gradient,) = torch.autograd.grad(pooled, leaf, G)
    return gradient


@exercise(
    "05.3",
    "Preparation that is linear always fits into the first layer.",
    function="fold_input",
)
def _fold_input(answer: Callable[..., tuple[Tensor, Tensor]]) -> str | None:
    """(X - mean) / std swallowed by the convolution that follows."""
    maker = torch.Generator().manual_seed(6)
    # As many maps as colours: dividing along the wrong axis runs, and is named.
    W = torch.randn(3, 3, 2, 2, generator=maker, dtype=torch.float64)
    b, mean = torch.randn(2, 3, generator=maker, dtype=torch.float64)
    std = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    X = torch.randn(2, 3, 5, 5, generator=maker, dtype=torch.float64)
    before = W.clone()
    result = answer(W, b, mean, std)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return "return the pair (W2, b2)."
    W2, b2 = result
    if not torch.equal(W, before):
        return "the function changes W itself: make a new tensor."
    if tuple(W2.shape) != (3, 3, 2, 2) or tuple(b2.shape) != (3,):
        return f"W2 is (o, c, k, k) and b2 (o,); yours: {(*W2.shape,)}, {(*b2.shape,)}."
    if torch.allclose(W2, W):
        return "W2 equals W: each colour's weights are divided by its std."
    if torch.allclose(W2, W * std[:, None, None]):
        return "W is multiplied by std; (x - mean) / std divides."
    if torch.allclose(W2, W / std[:, None, None, None]):
        return "std belongs to the colours, the second axis of W: std[:, None, None]."
    weights = W / std[:, None, None]
    if not torch.allclose(W2, weights):
        return "W2 should be W with each colour's weights divided by its std."
    shift = (weights * mean[:, None, None]).sum(dim=(1, 2, 3))
    known = (
        (b, "W2 is right; the bias must take over what the mean subtracted."),
        (b + shift, "W2 is right; the mean is subtracted, so the bias goes down."),
        (
            b - (W * mean[:, None, None]).sum(dim=(1, 2, 3)),
            "W2 is right; in the bias, the mean is divided by std, too: use W2 there.",
        ),
        (-shift, "W2 is right; the old bias got lost."),
    )
    for bias, message in known:
        if torch.allclose(b2, bias):
            return message
    normalised = (X - mean[:, None, None]) / std[:, None, None]
    if not torch.allclose(
        functional.conv2d(X, W2, b2), functional.conv2d(normalised, W, b)
    ):
        return "W2 is right, b2 is not: b minus the sum of W2 * mean over c, u and v."
    return None


@exercise(
    "05.4", "Its first step is lr, whatever the gradient's size: the sign decides."
)
def _first_step(answer: Any) -> str | None:
    """m / sqrt(s) is g / |g| in the first step."""
    pair = torch.as_tensor(answer, dtype=torch.float64).flatten()
    if pair.shape != (2,):
        return f"give a pair, one distance for each gradient, not {len(pair)} numbers."

    def near(a: float, b: float) -> bool:
        target = torch.tensor([a, b], dtype=torch.float64)
        return torch.allclose(pair.abs(), target, rtol=0.02)

    if near(0.1, 0.1):
        if (pair < 0).any():
            return "the size is right; a distance is not negative."
        return None
    if near(100, 0.0001):
        return "that is lr times gradient, plain gradient descent: Adam divides by |g|."
    if near(0.316, 0.316):
        return (
            "without the two corrections: divide m by 1 - 0.9 and s by 1 - 0.999 in "
            "the first step."
        )
    if near(0.01, 0.01):
        return "s is corrected, m is not: divide m by 1 - 0.9."
    if near(3.16, 3.16):
        return "m is corrected, s is not: divide s by 1 - 0.999 before the root."
    if near(1, 1):
        return "that is m / sqrt(s); multiply by the learning rate."
    if near(1e-4, 100):
        return "that is lr * m / s: take the square root of s."
    return "in the first step m / (1 - 0.9) = g and s / (1 - 0.999) = g squared."
