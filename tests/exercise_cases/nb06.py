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
    "06.1": Case(solution=2304, mistakes=[6, 768, 4608, 192, 1152, 1536, 512]),
    "06.2": Case(
        solution=lambda: _visible,
        mistakes=[
            lambda: lambda lengths, n: ~_visible(lengths, n),
            lambda: lambda lengths, n: _causal(n).T & _padding(lengths, n),
            lambda: lambda lengths, n: _causal(n).tril(-1) & _padding(lengths, n),
            lambda: lambda lengths, n: _causal(n) | _padding(lengths, n),
            lambda: lambda lengths, n: _causal(n).expand(len(lengths), 1, n, n),
            lambda: lambda lengths, n: _padding(lengths, n).expand(-1, 1, n, n),
            lambda: lambda lengths, n: _visible(lengths, n)[:, 0],
            lambda: lambda lengths, n: _visible(lengths, n).float(),
            lambda: lambda lengths, n: _causal(n) & _padding(lengths, n).mT,
        ],
    ),
    "06.3": Case(
        solution=lambda: _rotate,
        mistakes=[
            lambda: lambda x, p: _rotate(x, p, sign=-1),
            lambda: lambda x, p: _rotate(x, p, power=0.5),
            lambda: lambda x, p: _rotate(x, p, minus=False),
            lambda: lambda x, p: _rotate(x, p, halves=True),
            lambda: lambda x, p: _rotate(x, torch.arange(len(p))),
            lambda: _torn,
            lambda: _added,
            lambda: lambda x, p: _rotate(x, p)[0],
        ],
    ),
    "06.4": Case(
        solution=lambda: _chunked,
        mistakes=[
            lambda: _mean_of_chunks,
            lambda: lambda *given: _chunked(*given, shift=False),
            lambda: lambda *given: _chunked(*given, rescale=False),
            lambda: lambda *given: _chunked(*given, root=False),
            lambda: lambda *given: _chunked(*given, rest=False),
            lambda: lambda *given: _chunked(*given)[0],
        ],
    ),
}
