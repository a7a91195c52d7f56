"""Solutions and typical mistakes of notebook 08."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.exercise_cases import Case


def _right(model: nn.Module, X: Tensor, y: Tensor, k: int) -> Tensor:
    return (model(X).topk(k, dim=1).indices == y[:, None]).any(dim=1)


def _shares(model: nn.Module, batches: Any, k: int) -> list[Tensor]:
    mode = model.training
    model.eval()
    with torch.inference_mode():
        found = [_right(model, X, y, k).double() for X, y in batches]
    model.train(mode)
    return found


def top_k(model: nn.Module, batches: Any, k: int) -> float:
    return torch.cat(_shares(model, batches, k)).mean().item()


def count(model: nn.Module, batches: Any, k: int) -> float:
    return torch.cat(_shares(model, batches, k)).sum().item()


def per_cent(model: nn.Module, batches: Any, k: int) -> float:
    return 100 * top_k(model, batches, k)


def mean_of_means(model: nn.Module, batches: Any, k: int) -> float:
    found = _shares(model, batches, k)
    return sum(part.mean().item() for part in found) / len(found)


def no_eval(model: nn.Module, batches: Any, k: int) -> float:
    found = [_right(model, X, y, k).double() for X, y in batches]
    return torch.cat(found).mean().item()


def only_kth(model: nn.Module, batches: Any, k: int) -> float:
    return top_k(model, batches, k) - (top_k(model, batches, k - 1) if k > 1 else 0)


def only_first(model: nn.Module, batches: Any, k: int) -> float:
    return top_k(model, batches, 1)


def stays_in_eval(model: nn.Module, batches: Any, k: int) -> float:
    model.eval()
    return top_k(model, batches, k)


def leaves_in_train(model: nn.Module, batches: Any, k: int) -> float:
    share = top_k(model, batches, k)
    model.train()
    return share


def with_gradients(model: nn.Module, batches: Any, k: int) -> float:
    mode = model.training
    model.eval()
    share = no_eval(model, batches, k)
    model.train(mode)
    return share


def _interval(middle: Tensor, half: Tensor | float) -> tuple[float, float]:
    return float(middle - half), float(middle + half)


def paired(a: Tensor, b: Tensor) -> tuple[float, float]:
    d = 100 * (b.double() - a.double())
    return _interval(d.mean(), 1.96 * d.std() / len(d) ** 0.5)


def sign(a: Tensor, b: Tensor) -> tuple[float, float]:
    return paired(b, a)


def fraction(a: Tensor, b: Tensor) -> tuple[float, float]:
    low, high = paired(a, b)
    return low / 100, high / 100


def one_error(a: Tensor, b: Tensor) -> tuple[float, float]:
    d = 100 * (b.double() - a.double())
    return _interval(d.mean(), d.std() / len(d) ** 0.5)


def no_root(a: Tensor, b: Tensor) -> tuple[float, float]:
    d = 100 * (b.double() - a.double())
    return _interval(d.mean(), 1.96 * d.std())


def _errors(a: Tensor, b: Tensor) -> list[float]:
    return [100 * x.double().std().item() / len(x) ** 0.5 for x in (a, b)]


def unpaired(a: Tensor, b: Tensor) -> tuple[float, float]:
    x, y = _errors(a, b)
    return _interval(
        100 * (b.double() - a.double()).mean(), 1.96 * (x * x + y * y) ** 0.5
    )


def added(a: Tensor, b: Tensor) -> tuple[float, float]:
    return _interval(100 * (b.double() - a.double()).mean(), 1.96 * sum(_errors(a, b)))


def no_middle(a: Tensor, b: Tensor) -> tuple[float, float]:
    low, high = paired(a, b)
    return (low - high) / 2, (high - low) / 2


def turned(a: Tensor, b: Tensor) -> tuple[float, float]:
    low, high = paired(a, b)
    return high, low


def changes(a: Tensor, b: Tensor) -> tuple[float, float]:
    found = paired(a, b)
    a ^= b
    return found


CASES = {
    "08.1": Case(
        solution=12_544,
        mistakes=[
            (9_216, "that is for 28 x 28; a"),
            (14, "14 is the side of one map"),
            (196, "196 is one map of 14 x"),
            (16_384, "each 3 x 3 convolution"),
            (14_400, "there are two convolutions"),
            (50_176, "the maps are 28 x 28 before"),
            (65_536, "two convolutions without padding"),
            (6_272, "the side is right; the second"),
            (12_545, "side = (32 - 2 - 2) / 2"),
        ],
    ),
    "08.2": Case(
        solution=lambda: top_k,
        mistakes=[
            (lambda: count, "that is a count: divide"),
            (lambda: per_cent, "that is in per cent"),
            (lambda: mean_of_means, "the mean of the batches' shares"),
            (lambda: no_eval, "the model was in train mode"),
            (lambda: only_kth, "that asks for the k-th place"),
            (lambda: only_first, "k makes no difference"),
            (lambda: stays_in_eval, "came in train mode and leaves in eval"),
            (lambda: leaves_in_train, "came in eval mode and leaves in train"),
            (lambda: with_gradients, "gradients are recorded"),
            (lambda: lambda model, batches, k: 0.3, "for each row, is y among"),
        ],
    ),
    "08.3": Case(
        solution=1.4612,
        mistakes=[
            (0.0, "0 is what cross_entropy"),
            (2.3026, "2.30 is ln 10, the loss"),
            (0.232, "0.23 is the probability"),
            (2.461, "that is the worst case"),
            (1.0, "Perfect softmax output is"),
        ],
    ),
    "08.4": Case(
        solution=lambda: paired,
        mistakes=[
            (lambda: sign, "that is A minus B; the"),
            (lambda: fraction, "those are fractions: times"),
            (lambda: one_error, "that is one standard error"),
            (lambda: no_root, "divide the standard deviation"),
            (lambda: unpaired, "the errors of two separate tests"),
            (lambda: added, "two errors were added"),
            (lambda: no_middle, "the width is right; the middle"),
            (lambda: turned, "low is above high: minus"),
            (lambda: changes, "the function changes a or b"),
            (lambda: lambda a, b: 0.5, "return a pair, (low, high)"),
            (lambda: lambda a, b: (0.0, 0.5), "d = 100 * (b - a) as numbers"),
        ],
    ),
}
