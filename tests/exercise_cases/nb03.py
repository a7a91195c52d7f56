from __future__ import annotations

import math

import torch
from torch.nn.functional import cross_entropy

from tests.exercise_cases import Case


def _causal(scores, tokens, pad_id, *, ignore=True, out=slice(None, -1), y=None):
    y = tokens[:, slice(1, None) if y is None else y]
    scores = scores[:, out]
    ignored = pad_id if ignore else -100
    return cross_entropy(scores.transpose(1, 2), y, ignore_index=ignored)


def _unshifted(scores, tokens, pad_id):
    return _causal(scores, tokens, pad_id, out=slice(None), y=slice(None))


def _padding_counts(scores, tokens, pad_id):
    return _causal(scores, tokens, pad_id, ignore=False)


def _backwards(scores, tokens, pad_id):
    return _causal(scores, tokens, pad_id, out=slice(1, None), y=slice(None, -1))


def _summed(scores, tokens, pad_id):
    return _causal(scores, tokens, pad_id) * (tokens[:, 1:] != pad_id).sum()


def _softmax_twice(scores, tokens, pad_id):
    return _causal(scores.softmax(dim=-1), tokens, pad_id)


def _halves(x, dim=-1, *, swap=False):
    left = torch.zeros_like(x)
    left.narrow(dim, 0, 14).copy_(x.narrow(dim, 0, 14))
    pair = (left, x - left)
    return pair[::-1] if swap else pair


def _cut_off(x):
    return x[..., :14], x[..., 14:]


def _in_place(x):
    left = x.clone()
    left[..., 14:] = 0
    x[..., :14] = 0
    return left, x


def _twice_left(x):
    return (_halves(x)[0],) * 2


def _mask(n, share, size=4):
    kept = (torch.rand(n, 1, size, size) >= share).float()
    times = 28 // size
    return kept.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _patches(x, share):
    return x * _mask(len(x), share)


def _pixels(x, share):
    return x * _mask(len(x), share, size=28)


def _same_for_all(x, share):
    return x * _mask(1, share)


def _keep_share(x, share):
    return x * (1 - _mask(len(x), share))


def _hide_in_place(x, share):
    return x.mul_(_mask(len(x), share))


def _grey(x, share):
    return torch.where(_mask(len(x), share) > 0, x, 0.5)


CASES = {
    "03.1": Case(
        solution=lambda: _patches,
        mistakes=[
            (lambda: _pixels, "within a patch of 7 x 7 some"),
            (lambda: _same_for_all, "all pictures lose the same patches"),
            (lambda: _keep_share, "three quarters are hidden, one"),
            (lambda: _hide_in_place, "x itself was changed, and it is the target"),
            (lambda: _grey, "a pixel is neither kept nor black"),
            (lambda: lambda x, share: _mask(len(x), share), "neither kept nor black"),
            (
                lambda: lambda x, share: _patches(x, 2 * share),
                "of the patches are black",
            ),
            (
                lambda: lambda x, share: _patches(x, share)[0],
                "return the damaged pictures",
            ),
        ],
    ),
    "03.2": Case(
        solution=math.log(64),
        mistakes=[
            (0, "0 would mean that each"),
            (math.log(10), "ten is the number of digits"),
            (math.log(63), "the partner itself is one"),
            (6, "that is the loss in bits"),
            (1 / 64, "1/64 is the probability"),
            (64, "64 is the number of candidates"),
            (-4.16, "a cross-entropy is never"),
            (3.0, "all 64 candidates get the"),
        ],
    ),
    "03.3": Case(
        solution=lambda: _halves,
        mistakes=[
            (lambda: lambda x: _halves(x, swap=True), "left and right are swapped"),
            (lambda: lambda x: _halves(x, dim=2), "that is the upper half"),
            (lambda: _cut_off, "a view has shape (6, 1"),
            (lambda: _in_place, "x itself was changed: start"),
            (lambda: _twice_left, "both views are equal: the"),
        ],
    ),
    "03.4": Case(
        solution=lambda: _causal,
        mistakes=[
            (lambda: _unshifted, "position t is scored against"),
            (lambda: _padding_counts, "padding counts as if it"),
            (lambda: _backwards, "you shifted the other way"),
            (lambda: _summed, "that is the sum; divide"),
            (lambda: _softmax_twice, "cross_entropy wants scores; it"),
        ],
    ),
}
