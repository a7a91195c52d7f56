"""Graders of notebook 03, pretraining objectives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from helpers.exercises import exercise


@exercise(
    "03.1",
    "What is hidden decides what must be understood: patches hide whole strokes.",
    function="hide_patches",
)
def _hide_patches(answer: Callable[..., torch.Tensor]) -> str | None:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 28, 28, generator=rng) + 0.1
    given = x.clone()
    torch.manual_seed(0)
    out = answer(given, 0.25)
    if not isinstance(out, torch.Tensor) or out.shape != x.shape:
        shape = tuple(getattr(out, "shape", ()))
        return f"return the damaged pictures, of shape {tuple(x.shape)}, not {shape}."
    if not torch.equal(given, x):
        return "x itself was changed, and it is the target: multiply it by a mask."
    kept = out == x
    if not (kept | (out == 0)).all():
        return "a pixel is neither kept nor black: the mask holds nothing but 0 and 1."
    patches = kept.view(40, 4, 7, 4, 7).float().mean(dim=(2, 4))
    if ((patches > 0) & (patches < 1)).any():
        return (
            "within a patch of 7 x 7 some pixels are kept and some are black: draw one "
            "number a patch, (n, 1, 4, 4), and repeat it 7 times in both directions."
        )
    if (patches == patches[:1]).all():
        return "all pictures lose the same patches: draw a mask for each picture."
    share = 1 - patches.mean().item()
    if abs(share - 0.75) < 0.08:
        return "three quarters are hidden, one quarter kept: share is what is hidden."
    if abs(share - 0.25) > 0.08:
        return f"with share=0.25, {share:.0%} of the patches are black."
    return None


@exercise("03.2", "A loss that stays at log n has learned nothing, whatever n is.")
def _collapsed(answer: float) -> str | None:
    known = {
        0.0: "0 would mean that each row finds its partner for certain; here all rows "
        "look the same.",
        math.log(10): "ten is the number of digits, which the loss does not know; how "
        "many candidates does it choose from?",
        math.log(63): "the partner itself is one of the candidates, too.",
        math.log2(64): "that is the loss in bits; cross-entropy uses the natural "
        "logarithm.",
        1 / 64: "1/64 is the probability of the right candidate; the loss is its "
        "negative logarithm.",
        5.0 + math.log(64): "the temperature divides all scores alike, and equal "
        "scores stay equal.",
        64.0: "64 is the number of candidates; the loss is a logarithm.",
    }
    for value, message in known.items():
        if abs(answer - value) < 0.006:
            return message
    if abs(answer - math.log(64)) < 0.006:
        return None
    if answer < 0:
        return "a cross-entropy is never negative: mind the sign of the logarithm."
    return (
        "all 64 candidates get the same score, so each gets the same probability; "
        "take its negative logarithm."
    )


@exercise(
    "03.3", "The pairs decide what a contrastive loss learns.", function="half_views"
)
def _half_views(answer: Callable[..., object]) -> str | None:
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)) + 0.1
    given = x.clone()
    views = answer(given)
    if not isinstance(views, (tuple, list)) or len(views) != 2:
        return "return two tensors, the left view and the right view."
    left, right = views
    for view in (left, right):
        if not isinstance(view, torch.Tensor) or view.shape != x.shape:
            shape = tuple(getattr(view, "shape", ()))
            return (
                f"a view has shape {shape}, but the encoder reads {tuple(x.shape)}: "
                "keep the size and fill the other half with zeros."
            )
    if not torch.equal(given, x):
        return "x itself was changed: start each view from torch.zeros_like(x)."
    half = x.clone()
    half[..., 14:] = 0
    other = x - half
    if torch.equal(left, half) and torch.equal(right, other):
        return None
    if torch.equal(left, other) and torch.equal(right, half):
        return "left and right are swapped: the last dimension counts columns."
    top = x.clone()
    top[:, :, 14:] = 0
    if torch.equal(left, top):
        return "that is the upper half: columns are the last dimension, x[..., :14]."
    if torch.equal(left, right):
        return "both views are equal: the second keeps columns 14 to 27."
    if torch.equal(left, half) and torch.equal(right.sort(0)[0], other.sort(0)[0]):
        return "the right halves are in another order: row i must belong to row i."
    return "left keeps columns 0 to 13 of each picture, right keeps columns 14 to 27."


@exercise(
    "03.4",
    "One shift by one place is all that makes a language model causal.",
    function="causal_loss",
)
def _causal_loss(answer: Callable[..., torch.Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.tensor([[3, 5, 6, 7, 5], [3, 4, 8, 0, 0], [3, 9, 4, 4, 0]])
    scores = torch.randn(3, 5, 10, generator=generator, dtype=torch.float64)
    given = tokens.clone()
    value = answer(scores.clone(), given, 0)
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        return "return one number: the mean over all real next tokens."
    if not torch.equal(given, tokens):
        return "the function changed the tokens it was given: work on a slice."

    def loss(outputs: torch.Tensor, y: torch.Tensor, ignore: int = 0) -> float:
        flat = outputs.reshape(-1, 10)
        y = y.reshape(-1)
        return functional.cross_entropy(flat, y, ignore_index=ignore).item()

    right = loss(scores[:, :-1], tokens[:, 1:])
    every = functional.cross_entropy(
        scores[:, :-1].reshape(-1, 10), tokens[:, 1:].reshape(-1), reduction="none"
    )
    real = (tokens[:, 1:] != 0).sum().item()
    rows = [loss(scores[i : i + 1, :-1], tokens[i : i + 1, 1:]) for i in range(3)]
    mistakes = {
        loss(scores, tokens): "position t is scored against token t, which it has "
        "read: compare it with token t + 1.",
        loss(scores, tokens, ignore=-100): "position t is scored against token t, and "
        "padding counts: shift first, then leave padding out.",
        loss(scores[:, :-1], tokens[:, 1:], ignore=-100): "padding counts as if it "
        "were a word: leave out targets equal to pad_id (ignore_index).",
        loss(scores[:, 1:], tokens[:, :-1]): "you shifted the other way: this "
        "predicts the token before.",
        right * real: "that is the sum; divide by the number of real targets.",
        right * real / every.numel(): "you divide by all places, padding included; "
        "divide by the number of real targets.",
        sum(rows) / 3: "a mean of each sentence's mean counts short sentences more: "
        "take one mean over all real targets.",
        loss(scores[:, :-1].softmax(dim=-1), tokens[:, 1:]): "cross_entropy wants "
        "scores; it applies the softmax itself.",
    }
    if abs(value.item() - right) < 1e-6:
        return None
    for wrong, message in mistakes.items():
        if abs(value.item() - wrong) < 1e-6:
            return message
    return (
        "the value differs from the mean of -log p over the real next tokens: scores "
        "[:, :-1] against tokens[:, 1:], without padding."
    )
