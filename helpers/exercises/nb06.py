"""Graders of notebook 06, attention and Transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from helpers.exercises import exercise


@exercise("06.3", "MiniLM reads at most 512 tokens: its matrices cost most, always.")
def _expensive(answer: float) -> str | None:
    known = {
        6: "that is in units of d; multiply by 384.",
        768: "the feed-forward layer is missing: the matrices hold 12 d^2 weights.",
        1536: "that is the feed-forward layer alone, 8 d^2 against 4 d^2; the question "
        "is attention against all matrices.",
        4608: "that counts QK^T only; weights times V costs n*d once more.",
        192: "h heads of width d/h have width d together: one product costs n*d.",
        1152: "attention itself has two products of n*d each, not four.",
    }
    if abs(answer - 2304) <= 1:
        return None
    for wrong, hint in known.items():
        if abs(answer - wrong) <= 0.001 * wrong:
            return hint
    return "set 12 d^2 equal to 2 n d, and solve for n."


@exercise(
    "06.1",
    "Both rules in one tensor, ready for every layer and head.",
    function="visible",
)
def _visible(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> str | None:
    lengths, n = torch.tensor([4, 2, 1]), 4
    mask = answer(lengths, n)
    if not isinstance(mask, torch.Tensor):
        return "return a tensor."
    if mask.shape != (3, 1, n, n):
        return (
            f"the shape is {tuple(mask.shape)}; three sentences of four tokens need "
            "(3, 1, 4, 4): the second axis is there for the heads."
        )
    if mask.dtype != torch.bool:
        return f"the mask has dtype {mask.dtype}: make it bool, True where visible."
    causal = torch.arange(n)[:, None] >= torch.arange(n)
    padding = (torch.arange(n) < lengths[:, None])[:, None, None, :]
    right = causal & padding
    if torch.equal(mask, right):
        return None
    if torch.equal(mask, ~right):
        return "True and False are swapped: True means visible."
    if torch.equal(mask, causal.T & padding):
        return "every token sees the future and not the past: take tril, not triu."
    if torch.equal(mask, causal.tril(-1) & padding):
        return "a token may see itself: keep the diagonal."
    if torch.equal(mask, causal | padding):
        return "both rules must hold: join them with & and not with |."
    if torch.equal(mask, padding.expand_as(mask)):
        return "the causal rule is missing."
    if torch.equal(mask, causal.expand_as(mask)):
        return "filler is still visible: use lengths."
    if torch.equal(mask, causal & padding.transpose(2, 3)):
        return "the padding hides rows (queries); hide columns, the last axis."
    return "compare with tril() for one sentence without filler, then add the filler."


def _turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    even, odd = x[..., ::2], x[..., 1::2]
    c, s = angles.cos(), angles.sin()
    pair = [even * c - odd * s, even * s + odd * c]
    return torch.stack(pair, dim=-1).flatten(-2)


@exercise(
    "06.2",
    "A turned score knows the distance of two tokens, and no place.",
    function="rotate",
)
def _rotate(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    n, d = 5, 8
    x = torch.randn(2, n, d, generator=generator)
    positions = torch.tensor([0, 1, 2, 7, 30])
    result = answer(x, positions)
    if not isinstance(result, torch.Tensor) or result.shape != x.shape:
        shape = tuple(getattr(result, "shape", ()))
        return f"x has shape (2, 5, 8) and the result {shape}: the shape must stay."

    def is_like(other: torch.Tensor) -> bool:
        return torch.allclose(result.to(other.dtype), other, atol=1e-3)

    exponents = torch.arange(0, d, 2) / d
    angles = positions[:, None] * 10000.0**-exponents
    if is_like(_turned(x, angles)):
        return None
    if is_like(_turned(x, -angles)):
        return "that turns the other way round: look at the two signs."
    if is_like(_turned(x, positions[:, None] * 10000.0 ** -(exponents / 2))):
        return "the exponent is -2i/d; yours is -i/d."
    if is_like(_turned(x, torch.arange(n)[:, None] * 10000.0**-exponents)):
        return "you count the rows; use the positions that are given."
    swapped = torch.cat([x[..., : d // 2, None], x[..., d // 2 :, None]], dim=-1)
    apart = _turned(swapped.flatten(-2), angles).unflatten(-1, (-1, 2))
    halves = torch.cat([apart[..., 0], apart[..., 1]], dim=-1)
    if is_like(halves):
        return (
            "you pair component i with i + d/2. SmolLM2 does so too, and it works "
            "as well; here a pair is two neighbours, 2i and 2i + 1."
        )
    pairs = _turned(x, angles).unflatten(-1, (-1, 2))
    if is_like(torch.cat([pairs[..., 0], pairs[..., 1]], dim=-1)):
        return "the pairs came apart: stack on a new last axis, then flatten it."
    if is_like(x + torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)):
        return "that adds positions to x; turn x instead."
    if not torch.allclose(result.norm(dim=-1).to(x.dtype), x.norm(dim=-1), rtol=1e-3):
        return "a rotation keeps the length of a vector; check the signs in both lines."
    return "position 0 must leave x as it is, and position 1 turn pair 0 by one radian."


def _reference(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    return torch.softmax(Q @ K.T / Q.shape[1] ** 0.5, dim=1) @ V


@exercise(
    "06.4",
    "FlashAttention reads keys this way, with memory for one block.",
    function="chunked",
)
def _chunked(answer: Callable[..., torch.Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    Q, K = torch.randn(2, 12, 8, generator=generator)
    Q, V = Q[:5], torch.randn(12, 3, generator=generator)
    right = _reference(Q, K, V)
    whole, parts, rest = (answer(Q, K, V, size) for size in (12, 4, 5))
    if not isinstance(whole, torch.Tensor) or whole.shape != right.shape:
        shape = tuple(getattr(whole, "shape", ()))
        return f"the output has shape {shape}; five queries and values of 3: (5, 3)."

    def close(result: torch.Tensor, other: torch.Tensor = right) -> bool:
        return torch.allclose(result.to(other.dtype), other, atol=1e-4)

    if not close(whole):
        if close(whole, torch.softmax(Q @ K.T, dim=1) @ V):
            return "the division by the square root of d is missing."
        return "already one single chunk (size 12) differs from attention(Q, K, V)[0]."
    if not close(parts):
        chunks = zip(K.split(4), V.split(4), strict=True)
        mean = torch.stack([_reference(Q, k, v) for k, v in chunks]).mean(dim=0)
        if close(parts, mean):
            return (
                "that is the plain mean of the chunks' outputs; a chunk with better "
                "keys must count more."
            )
        return (
            "three chunks of 4 differ. When the largest score grows, multiply the old "
            "sum and the old output by exp(old largest - new largest)."
        )
    if not close(rest):
        return "with size 5 the last chunk holds 2 keys: do not drop or pad it."
    large = answer(400 * Q, K, V, 4)
    if not bool(torch.isfinite(large).all()):
        return "large scores overflow: subtract the largest score before exp."
    ramp = K * torch.linspace(1, 400, 12)[:, None]
    if not close(answer(Q, ramp, V, 4), _reference(Q, ramp, V)):
        return "with growing scores it differs: rescale the old sums at every chunk."
    return None
