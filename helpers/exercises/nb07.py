"""Graders of notebook 07, the objectives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from helpers.exercises import exercise

_TOLERANCE = 1e-5


@exercise("07.1", "One strength for all, but each direction gives in by its curvature.")
def _strength(answer: float) -> str | None:
    strength = float(answer)
    if not strength > 0:
        return "lambda is a positive number."
    steep, flat = 5 / (5 + 2 * strength), 0.3 / (0.3 + 2 * strength)
    if steep >= 0.9 and flat <= 0.4:
        return None
    if 5 / (5 + strength) >= 0.9 and 0.3 / (0.3 + strength) <= 0.4:
        return (
            "you used h / (h + lambda); the derivative of lambda (theta - theta_pre)^2 "
            "brings a factor 2."
        )
    if steep < 0.9:
        return (
            f"too strong: the steep direction goes only {steep:.0%} of the way, it "
            "should go 90 % at least."
        )
    return (
        f"too weak: the flat direction goes {flat:.0%} of the way, it should go 40 % "
        "at most."
    )


def _number(value: object) -> float:
    return float(torch.as_tensor(value))


def _near(given: torch.Tensor, value: torch.Tensor) -> bool:
    return given.shape == value.shape and bool((given - value).abs().max() < _TOLERANCE)


@exercise(
    "07.2",
    "Each row: its weight times what the model believes, minus what is true.",
    function="gradient",
)
def _believed(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> str | None:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    labels = functional.one_hot(torch.tensor([2, 0, 3]), 4).double()
    weights = torch.tensor([[1.0], [2.0], [0.5]], dtype=torch.float64)
    Y = weights * (0.8 * labels + 0.05)
    given = torch.as_tensor(answer(z.clone(), Y.clone())).detach().double()
    if given.shape != z.shape:
        shape = tuple(given.shape)
        return f"one number for each score: return shape (n, C), not {shape}."
    p, total = z.softmax(dim=1), Y.sum(dim=1, keepdim=True)
    right = total * p - Y
    if _near(given, right):
        return None
    known = [
        (
            p - Y,
            (
                "that holds where each row of Y adds up to 1; here a row may count "
                "twice, and then it pulls twice as hard."
            ),
        ),
        (
            -right,
            (
                "the sign is wrong: the loss falls where the score of the true class "
                "grows, so its gradient there is negative."
            ),
        ),
        (
            right / len(z),
            (
                "that is the gradient of the mean; this cross-entropy is a "
                "sum over the examples."
            ),
        ),
        (
            (p - Y) / len(z),
            (
                "this cross-entropy is a sum, not a mean; and a row of Y "
                "may add up to more than 1."
            ),
        ),
        (
            total * z.softmax(dim=0) - Y,
            "softmax runs over the classes, dim=1, and not over the examples.",
        ),
        (
            -Y / p,
            (
                "that is the gradient by the probabilities; go on through softmax to "
                "the scores."
            ),
        ),
    ]
    for value, message in known:
        if _near(given, value):
            return message
    return (
        "start from -log p(c) = logsumexp(z) - z[c]: its gradient is softmax(z) minus "
        "1 at c; then weight it with Y and add up over c."
    )


def _partners(
    a: torch.Tensor, b: torch.Tensor, tau: float, barred: torch.Tensor
) -> float:
    scores = (a @ b.T / tau).masked_fill(barred, -torch.inf)
    return (scores.logsumexp(dim=1) - (a @ b.T / tau).diag()).mean().item()


@exercise(
    "07.3",
    "With group = arange(n) nothing is left out, and it is InfoNCE again.",
    function="partner_loss",
)
def _groups(answer: Callable[..., torch.Tensor]) -> str | None:
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    group, tau = torch.tensor([0, 1, 0, 2, 1, 0]), 0.5
    given = answer(a.clone(), b.clone(), group.clone(), tau)
    if torch.as_tensor(given).numel() != 1:
        shape = tuple(torch.as_tensor(given).shape)
        return f"return one number, the mean over the rows, not shape {shape}."
    found = _number(given)
    unit_a, unit_b = functional.normalize(a, dim=1), functional.normalize(b, dim=1)
    same, own = group[:, None] == group, torch.eye(6, dtype=torch.bool)
    barred = same & ~own
    right = _partners(unit_a, unit_b, tau, barred)
    if abs(found - right) < _TOLERANCE:
        return None
    zeroed = (unit_a @ unit_b.T / tau).masked_fill(barred, 0.0)
    known = {
        _partners(unit_a, unit_b, tau, ~same & ~own): "you kept the rows of the same "
        "group and left out the others; it is the other way round.",
        _partners(unit_a, unit_b, tau, same & False): "nothing was left out: another "
        "row of the same group is no wrong answer, so it must not be in the sum.",
        _partners(unit_a, unit_b, tau, same): "the partner itself, j = i, was left out "
        "as well; it belongs into the sum.",
        _partners(a, b, tau, barred): "the scores are plain products; use cosines, "
        "that is, normalise the rows of a and b.",
        _partners(unit_a, unit_b, 1.0, barred): "the temperature was forgotten: divide "
        "the cosines by tau.",
        (zeroed.logsumexp(1) - zeroed.diag()).mean().item(): "a score of 0 is not "
        "nothing, since exp(0) = 1; use minus infinity.",
        6 * right: "that is the sum over the rows; take the mean.",
    }
    for value, message in known.items():
        if abs(found - value) < _TOLERANCE:
            return message
    if math.isnan(found) or math.isinf(found):
        return "the result is not finite: j = i must stay in every row's sum."
    return (
        f"the result is {found:.3f} where {right:.3f} is right: fill the scores with "
        "minus infinity where the group is the same and j differs from i, then "
        "logsumexp minus the diagonal."
    )


@exercise("07.4", "Average the surprises of all tokens, and take exp at the very end.")
def _two_texts(answer: float) -> str | None:
    answer = float(answer)
    right = math.exp((100 * math.log(10) + 300 * math.log(40)) / 400)
    known = {
        25.0: "that is the mean of the two perplexities; average the surprises, "
        "log 10 and log 40, instead.",
        32.5: "you weighted by length, but averaged perplexities; average their "
        "logarithms and take exp at the end.",
        20.0: "you averaged the logarithms with equal weights; the second text has "
        "three times as many tokens.",
        math.log(right): "that is the mean surprise; its exp is the perplexity.",
    }
    for value, message in known.items():
        if abs(answer - value) < 0.06:
            return message
    if abs(answer - right) < 0.1:
        return None
    return "add up the surprises n log(perplexity), divide by all tokens, take exp."
