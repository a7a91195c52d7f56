"""Solutions and typical mistakes of notebook 05."""

from __future__ import annotations

import torch

from tests.exercise_cases import Case


def _parts(X):
    return [X[..., u::2, v::2] for u in (0, 1) for v in (0, 1)]


def _first_winner(X, G):
    winner = torch.stack(_parts(X)).argmax(dim=0)
    result = torch.zeros_like(X)
    for place, target in enumerate(_parts(result)):
        target[:] = torch.where(winner == place, G, 0.0)
    return result


def _spread(X, G):
    return G.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _mean(X, G):
    return _spread(X, G) / 4


def _all_winners(X, G):
    top = torch.stack(_parts(X)).amax(dim=0)
    return torch.where(X == _spread(X, top), _spread(X, G), 0.0)


def _shared(X, G):
    top = torch.stack(_parts(X)).amax(dim=0)
    wins = (X == _spread(X, top)).to(X.dtype)
    count = torch.stack(_parts(wins)).sum(dim=0)
    return wins * _spread(X, G / count)


def _last_winner(X, G):
    return _first_winner(X.flip(2, 3), G.flip(2, 3)).flip(2, 3)


def _mask_only(X, G):
    return _first_winner(X, torch.ones_like(G))


def _smallest(X, G):
    return _first_winner(-X, G)


def _too_small(X, G):
    return G


def _in_place(X, G):
    X[:] = _first_winner(X, G)
    return X


def _fold(W, b, mean, std):
    scaled = W / std[:, None, None]
    return scaled, b - (scaled * mean[:, None, None]).sum(dim=(1, 2, 3))


def _fold_sign(W, b, mean, std):
    return _fold(W, b, -mean, std)


def _fold_no_bias(W, b, mean, std):
    return W / std[:, None, None], b


def _fold_old_bias_lost(W, b, mean, std):
    return _fold(W, 0 * b, mean, std)


def _fold_unscaled(W, b, mean, std):
    return W / std[:, None, None], _fold(W, b, mean, torch.ones_like(std))[1]


def _fold_times(W, b, mean, std):
    return _fold(W, b, mean, 1 / std)


def _fold_wrong_axis(W, b, mean, std):
    scaled = W / std[:, None, None, None]
    return scaled, b - (scaled * mean[:, None, None]).sum(dim=(1, 2, 3))


def _fold_mean_only(W, b, mean, std):
    return _fold(W, b, mean, torch.ones_like(std))


CASES = {
    "05.1": Case(
        solution=12.67,
        mistakes=[
            (2, "that is the depthwise layer"),
            (11, "that is the 1x1 convolution"),
            (14, "the second term is 1/64"),
            (14.2, "the second term is 1/64"),
            (87.3, "that is the share you save"),
            (0.13, "that is a fraction; in"),
            (50, "full: 32 * 64 * 9 weights."),
            (100, "depthwise has 32 kernels of 3x3"),
            (111, "depthwise has 32 kernels of 3x3"),
            (2336, "that is a number of weights"),
            (12.2, "full: 32 * 64 * 9 weights."),
        ],
    ),
    "05.2": Case(
        solution=lambda: _first_winner,
        mistakes=[
            (lambda: _spread, "every pixel of a window"),
            (lambda: _mean, "that is the gradient of"),
            (lambda: _all_winners, "with equal pixels each"),
            (lambda: _shared, "equal pixels share the"),
            (lambda: _last_winner, "of equal pixels the first"),
            (lambda: _mask_only, "the winners are right; multiply"),
            (lambda: _smallest, "other pixels than the winners"),
            (lambda: _too_small, "the gradient has X's shape"),
            (lambda: _in_place, "the function changes X"),
        ],
    ),
    "05.3": Case(
        solution=lambda: _fold,
        mistakes=[
            (lambda: _fold_sign, "W2 is right; the mean is"),
            (lambda: _fold_no_bias, "W2 is right; the bias must"),
            (lambda: _fold_old_bias_lost, "W2 is right; the old bias"),
            (lambda: _fold_unscaled, "W2 is right; in the bias"),
            (lambda: _fold_times, "W is multiplied by std"),
            (lambda: _fold_wrong_axis, "std belongs to the colours"),
            (lambda: _fold_mean_only, "W2 equals W: each colour's"),
        ],
    ),
    "05.4": Case(
        solution=(0.1, 0.0999990000),
        mistakes=[
            ((100, 0.0001), "that is lr times gradient"),
            ((0.316, 0.316), "without the two corrections"),
            ((0.01, 0.01), "s is corrected, m is not"),
            ((3.16, 3.16), "m is corrected, s is not"),
            ((1, 1), "that is m / sqrt(s); multiply"),
            ((1e-4, 100), "that is lr * m / s: take"),
            ((-0.1, -0.1), "the size is right; a distance"),
            (0.1, "give a pair, one distance"),
            ((5, 7), "in the first step m / (1"),
        ],
    ),
}
