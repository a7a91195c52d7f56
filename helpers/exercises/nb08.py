"""Graders of notebook 08: shapes, top-k accuracy, softmax twice, paired intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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


class _Probe(nn.Module):
    """Scores are the inputs; in train mode they are turned round. Notes gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.graph = False

    def forward(self, x: Tensor) -> Tensor:
        self.graph |= torch.is_grad_enabled()
        return self.scale * (-x if self.training else x)


@exercise(
    "08.2",
    praise="Top-1 is the accuracy; the larger k, the kinder the number.",
    function="top_k",
)
def top_k(answer: Callable[[nn.Module, Any, int], float]) -> str | None:
    """Share of examples whose class is among the k highest scores."""
    scores = torch.rand(10, 6, generator=torch.Generator().manual_seed(8))
    order = scores.argsort(dim=1, descending=True)
    # Places of the right classes: the small last batch is worse than the others.
    places = torch.tensor([0, 0, 1, 0, 1, 2, 0, 0, 4, 5])
    y = order.gather(1, places[:, None])[:, 0]
    batches = list(zip(scores.split(4), y.split(4), strict=True))
    model = _Probe().train()
    found = {k: float(answer(model, batches, k)) for k in (1, 2, 3, 6)}
    truth = {k: (places < k).double().mean().item() for k in found}

    def is_like(other: dict[int, float]) -> bool:
        return all(abs(found[k] - other[k]) < 1e-6 for k in found)

    if is_like({k: 10 * share for k, share in truth.items()}):
        return "that is a count: divide by the number of examples."
    if is_like({k: 100 * share for k, share in truth.items()}):
        return "that is in per cent; return a share between 0 and 1."
    if is_like({k: (places >= 6 - k).double().mean().item() for k in found}):
        return "the model was in train mode: call model.eval() before you look."
    if is_like({k: (places == k - 1).double().mean().item() for k in found}):
        return "that asks for the k-th place alone; the first k places all count."
    if is_like({k: truth[1] for k in found}):
        return "k makes no difference: argmax knows the first place only, use topk."
    means = {
        k: sum((part < k).double().mean().item() for part in places.split(4)) / 3
        for k in found
    }
    if is_like(means):
        return (
            "that is the mean of the batches' shares; the last batch is smaller, so "
            "add up the right ones and divide by the number of examples."
        )
    if not is_like(truth):
        return "for each row, is y among model(X).topk(k, dim=1).indices?"
    if not model.training:
        return "the model came in train mode and leaves in eval mode: put it back."
    model.eval()
    answer(model, batches, 1)
    if model.training:
        return "the model came in eval mode and leaves in train mode: put it back."
    if model.graph:
        return "the values are right; gradients are recorded: use inference_mode."
    return None


@exercise("08.3", praise="ln(e + 9) - 1: with softmax twice the loss never gets to 0.")
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
    if abs(value - math.log(math.e + 9)) < 0.02:
        return "that is the worst case, with the 1 at a wrong class's place."
    if abs(value - math.e / (math.e + 9)) < 0.02:
        return "0.23 is the probability after the second softmax; take -ln of it."
    return (
        "Perfect softmax output is 1 for the right class and 0 for nine others: put "
        "that vector into F.cross_entropy."
    )


@exercise(
    "08.4",
    praise="The digits that both get right, or both wrong, drop out.",
    function="paired_interval",
)
def paired_interval(answer: Callable[[Tensor, Tensor], Any]) -> str | None:
    """The 95 % interval of a difference of two accuracies on the same digits."""
    draws = torch.rand(2, 400, generator=torch.Generator().manual_seed(8))
    a = draws[0] < 0.8
    b = a ^ (draws[1] < torch.where(a, 0.05, 0.45))
    given = a.clone(), b.clone()
    result = answer(a, b)
    if not isinstance(result, (tuple, list, Tensor)) or len(result) != 2:
        return "return a pair, (low, high)."
    if not (torch.equal(a, given[0]) and torch.equal(b, given[1])):
        return "the function changes a or b: work on copies."
    low, high = (float(value) for value in result)
    gains = 100 * (b.double() - a.double())
    middle, error = gains.mean().item(), gains.std().item() / 20

    def near(middle: float, half: float) -> bool:
        return max(abs(low - middle + half), abs(high - middle - half)) < 0.03 * half

    alone = [100 * x.double().std().item() / 20 for x in (a, b)]
    apart = 1.96 * math.hypot(*alone)
    if near(middle, 1.96 * error):
        return None
    if near(-middle, 1.96 * error):
        return "that is A minus B; the question is how much better B is."
    if near(middle / 100, 1.96 * error / 100):
        return "those are fractions: times 100 they are percentage points."
    if near(middle, error):
        return "that is one standard error up and down; 95 % needs 1.96 of them."
    if near(middle, 1.96 * error * 20):
        return "divide the standard deviation by the root of n."
    if near(middle, apart):
        return (
            "those are the errors of two separate tests, added; take the differences "
            "digit by digit first, and then their standard deviation."
        )
    if near(middle, 1.96 * sum(alone)):
        return "two errors were added; the differences, digit by digit, have just one."
    if near(0.0, 1.96 * error):
        return "the width is right; the middle is the mean of the differences."
    if low > high:
        return "low is above high: minus first, then plus."
    return "d = 100 * (b - a) as numbers; d.mean() and 1.96 * d.std() / sqrt(n)."
