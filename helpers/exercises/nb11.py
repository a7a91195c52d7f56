"""Graders of notebook 11, transformers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from helpers.exercises import exercise


@exercise("11.1", "Our 1,000 test sentences cannot settle a gap of one point.")
def _how_many(answer: float) -> str | None:
    if isinstance(answer, bool) or not math.isfinite(answer):
        return "give a number of sentences, such as 2000."
    known = {
        2000: "that is one standard error; a 95 % interval reaches 1.96 of them.",
        1921: "with so few the interval reaches two points to each side.",
        30732: "half of the width must be one point, not all of it.",
        3920: "1.96 must be squared as well.",
        12293: "that treats the two models as independent; they answer the same "
        "sentences, and only those on which they differ count.",
        6147: "that is the interval of one accuracy, not of a difference.",
        0.768: "one point is 0.01, not 1.",
    }
    value: Any = float(answer)
    if 7600 <= value <= 7760:
        return None
    for number, message in known.items():
        if math.isclose(value, number, rel_tol=0.02):
            return message
    return "solve 1.96 * sqrt(0.2 / n) = 0.01 for n."


@exercise(
    "11.2",
    "The merged layer is an ordinary one: LoRA costs nothing in use.",
    function="merge",
)
def _merge(answer: Callable[..., torch.Tensor]) -> str | None:
    draws = torch.Generator().manual_seed(0)
    W, A, B = (
        torch.randn(shape, generator=draws) for shape in [(5, 3), (2, 3), (5, 2)]
    )
    before, alpha, update = W.clone(), 6.0, B @ A
    try:
        merged = answer(W, A, B, alpha)
    except RuntimeError as error:
        if "shape" in str(error) or "size" in str(error):
            return (
                "the shapes do not fit: A is (r, inputs), B is (outputs, r), so the "
                "product of the shape of W is B @ A."
            )
        raise
    if not isinstance(merged, torch.Tensor) or merged.shape != W.shape:
        return f"return a matrix of the shape of W, {tuple(W.shape)}."
    if not torch.equal(W, before):
        return "W itself was changed: W + ... makes a new matrix, W += ... does not."
    known = {
        1.0: "the factor alpha / r is missing.",
        alpha: "multiply by alpha / r, not by alpha alone; r is the rows of A.",
        alpha / 3: "r is the number of rows of A, not of its columns.",
        alpha / 5: "r is the number of columns of B, not of its rows.",
        1 / alpha: "the factor is alpha / r, not 1 / alpha.",
        2 / alpha: "that is r / alpha; the factor is alpha / r.",
    }
    for factor, message in known.items():
        if torch.allclose(merged, before + factor * update, atol=1e-5):
            return message
    if torch.allclose(merged, alpha / 2 * update, atol=1e-5):
        return "that is the update alone: add it to W."
    if torch.allclose(merged, before - alpha / 2 * update, atol=1e-5):
        return "the update is added, not subtracted."
    if torch.allclose(merged, before + alpha / 2 * update, atol=1e-5):
        return None
    return "W + alpha / r * B @ A should come out."


@exercise("11.3", "A count of words cannot tell the two apart; attention can.")
def _word_order(answer: tuple[str, str, Sequence[str]]) -> str | None:
    if len(answer) != 3:
        return "give three parts: first sentence, second sentence, their two labels."
    first, second, labels = answer
    if not isinstance(first, str) or not isinstance(second, str):
        return "the first two parts are sentences, that is strings."
    words = [re.findall(r"\w+", text.lower()) for text in (first, second)]
    if words[0] == words[1]:
        return "that is the same sentence twice: put the words in another order."
    if sorted(words[0]) != sorted(words[1]):
        other = set(words[0]) ^ set(words[1])
        if other:
            return f"both need the same words; only one has {', '.join(sorted(other))}."
        return "a word occurs more often in one sentence than in the other."
    found = [part.get("label") if isinstance(part, dict) else part for part in labels]
    if len(found) != 2 or not set(found) <= {"negative", "positive"}:
        return (
            "the third part holds our model's two labels: "
            "[r['label'] for r in ours([first, second])]."
        )
    if found[0] == found[1]:
        return (
            f"the model calls both {found[0]}. Move a 'not': 'it is just not …' "
            "blames, 'it is not just …' may lead to praise."
        )
    return None


@exercise(
    "11.4", "A sure model keeps few tokens, an unsure one many.", function="top_p"
)
def _top_p(answer: Callable[..., torch.Tensor]) -> str | None:
    start = torch.tensor([0.05, 0.40, 0.10, 0.25, 0.20])
    got = answer(start.log() + 1.5, 0.7)
    if not isinstance(got, torch.Tensor) or got.shape != start.shape:
        return "return one probability for each token, a tensor of the shape of logits."
    if not torch.isfinite(got).all() or (got < 0).any():
        return "return probabilities: a token that is cut has 0, not minus infinity."
    right = torch.tensor([0.0, 0.40, 0.0, 0.25, 0.20]) / 0.85
    if torch.allclose(got, right, atol=1e-4):
        tokens = answer(torch.tensor([5.0, 0.0, 0.0]), 0.5)
        if not torch.allclose(tokens, torch.tensor([1.0, 0.0, 0.0]), atol=1e-4):
            return "a token of more than p is kept alone; at least one always stays."
        return None
    if torch.allclose(got, right * 0.85, atol=1e-4):
        return "the right tokens; now divide by their sum, so that they add up to 1."
    if torch.allclose(got, right.sort(descending=True).values, atol=1e-4):
        return "right, but sorted: put each probability back in its token's place."
    if torch.allclose(got, torch.tensor([0, 0.40, 0, 0.25, 0]) / 0.65, atol=1e-4):
        return (
            "0.40 + 0.25 does not reach 0.7: the token that crosses the line is kept."
        )
    if int((got > 0).sum()) == 5:
        return "nothing was cut: with p=0.7, three of these five tokens remain."
    if int((got > 0).sum()) in (0, 1):
        return (
            "compare p with the running sum of the sorted probabilities, not with each "
            "probability."
        )
    if not math.isclose(got.sum().item(), 1, abs_tol=1e-3):
        return f"the probabilities add up to {got.sum():.2g}, not to 1."
    return "sort, add up from the largest down, keep until the sum reaches p."
