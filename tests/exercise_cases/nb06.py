"""Solutions and typical mistakes of notebook 06."""

from __future__ import annotations

import torch

from tests.exercise_cases import Case


def _causal(n: int) -> torch.Tensor:
    return torch.ones(n, n, dtype=torch.bool).tril()


def _padding(lengths: torch.Tensor, n: int) -> torch.Tensor:
    return (torch.arange(n) < lengths[:, None])[:, None, None, :]


def _visible(lengths, n):
    return _causal(n) & _padding(lengths, n)


def _rotate(x, positions, *, sign=1, power=1.0, minus=True, halves=False):
    d = x.shape[-1]
    angles = sign * positions[:, None] * 10000.0 ** (-power * torch.arange(0, d, 2) / d)
    c, s = angles.cos(), angles.sin()
    a, b = (
        (x[..., : d // 2], x[..., d // 2 :]) if halves else (x[..., ::2], x[..., 1::2])
    )
    turned = a * c - b * s if minus else a * c + b * s, a * s + b * c
    if halves:
        return torch.cat(turned, dim=-1)
    return torch.stack(turned, dim=-1).flatten(-2)


def _torn(x, positions):
    pairs = _rotate(x, positions).unflatten(-1, (-1, 2))
    return torch.cat([pairs[..., 0], pairs[..., 1]], dim=-1)


def _added(x, positions):
    turned = torch.zeros_like(x[0])
    turned[:, 1::2] = 1.0  # turning (0, 1) gives (-sin, cos)
    turned = _rotate(turned, -positions)
    return x + turned


def _chunked(Q, K, V, size, *, shift=True, rescale=True, root=True, rest=True):
    largest = torch.full((len(Q), 1), -torch.inf)
    total, output = torch.zeros(len(Q), 1), torch.zeros(len(Q), V.shape[1])
    for k, v in zip(K.split(size), V.split(size), strict=True):
        if len(k) < size and not rest:
            break
        scores = Q @ k.T / (Q.shape[1] ** 0.5 if root else 1)
        new = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        if not shift:
            new = torch.zeros_like(new)
        factor = (largest - new).exp() if rescale and shift else 1
        odds = (scores - new).exp()
        total = factor * total + odds.sum(dim=1, keepdim=True)
        output = factor * output + odds @ v
        largest = new
    return output / total


def _mean_of_chunks(Q, K, V, size):
    chunks = zip(K.split(size), V.split(size), strict=True)
    outputs = [torch.softmax(Q @ k.T / Q.shape[1] ** 0.5, dim=1) @ v for k, v in chunks]
    return torch.stack(outputs).mean(dim=0)


CASES = {
    "06.1": Case(
        solution=lambda: _visible,
        mistakes=[
            (
                lambda: lambda lengths, n: ~_visible(lengths, n),
                "True and False are swapped",
            ),
            (
                lambda: lambda lengths, n: _causal(n).T & _padding(lengths, n),
                "every token sees the future",
            ),
            (
                lambda: lambda lengths, n: _causal(n).tril(-1) & _padding(lengths, n),
                "a token may see itself",
            ),
            (
                lambda: lambda lengths, n: _causal(n) | _padding(lengths, n),
                "both rules must hold: join",
            ),
            (
                lambda: lambda lengths, n: _causal(n).expand(len(lengths), 1, n, n),
                "filler is still visible",
            ),
            (
                lambda: lambda lengths, n: _padding(lengths, n).expand(-1, 1, n, n),
                "the causal rule is missing.",
            ),
            (
                lambda: lambda lengths, n: _visible(lengths, n)[:, 0],
                "the shape is (3, 4, 4)",
            ),
            (
                lambda: lambda lengths, n: _visible(lengths, n).float(),
                "the mask has dtype torch.float32",
            ),
            (
                lambda: lambda lengths, n: _causal(n) & _padding(lengths, n).mT,
                "the padding hides rows",
            ),
        ],
    ),
    "06.2": Case(
        solution=lambda: _rotate,
        mistakes=[
            (lambda: lambda x, p: _rotate(x, p, sign=-1), "that turns the other way"),
            (lambda: lambda x, p: _rotate(x, p, power=0.5), "the exponent is -2i/d"),
            (
                lambda: lambda x, p: _rotate(x, p, minus=False),
                "a rotation keeps the length",
            ),
            (
                lambda: lambda x, p: _rotate(x, p, halves=True),
                "you pair component i with",
            ),
            (
                lambda: lambda x, p: _rotate(x, torch.arange(len(p))),
                "you count the rows; use",
            ),
            (lambda: _torn, "the pairs came apart: stack"),
            (lambda: _added, "that adds positions to"),
            (lambda: lambda x, p: _rotate(x, p)[0], "x has shape (2, 5, 8) and"),
        ],
    ),
    "06.3": Case(
        solution=2304,
        mistakes=[
            (6, "that is in units of d"),
            (6.003, "that is in units of d"),
            (768, "the feed-forward layer is"),
            (4608, "that counts QK^T only"),
            (192, "h heads of width d/h have"),
            (1152, "attention itself has two"),
            (1536, "that is the feed-forward"),
            (512, "set 12 d^2 equal to 2 n"),
        ],
    ),
    "06.4": Case(
        solution=lambda: _chunked,
        mistakes=[
            (lambda: _mean_of_chunks, "that is the plain mean"),
            (
                lambda: lambda *given: _chunked(*given, shift=False),
                "large scores overflow: subtract",
            ),
            (
                lambda: lambda *given: _chunked(*given, rescale=False),
                "three chunks of 4 differ.",
            ),
            (
                lambda: lambda *given: _chunked(*given, root=False),
                "the division by the square",
            ),
            (
                lambda: lambda *given: _chunked(*given, rest=False),
                "with size 5 the last chunk",
            ),
            (lambda: lambda *given: _chunked(*given)[0], "the output has shape (3,)"),
        ],
    ),
}
