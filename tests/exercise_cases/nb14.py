"""Solutions and typical mistakes of notebook 14."""

from __future__ import annotations

from tests.exercise_cases import Case


def _word_f1(truth, guess, *, empty=False, kinds=True, only="", over_all=False):
    pairs = list(zip(truth, guess, strict=True))
    right = sum((t == g if kinds else bool(t) == bool(g)) and t != "" for t, g in pairs)
    if empty:
        right = sum(t == g for t, g in pairs)
        return right / len(pairs) if over_all else 2 * right / (2 * len(pairs))
    marked = {
        "truth": sum(t != "" for t in truth),
        "guess": sum(g != "" for g in guess),
    }
    if only:
        return right / marked[only]
    total = sum(marked.values())
    return 2 * right / total if total else 0.0


def _beam(next_probs, width, steps, *, each=False, last=False, add=False):
    kept = {(): 1.0}
    for _ in range(steps):
        longer = {}
        for prefix, p in kept.items():
            options = sorted(next_probs(prefix).items(), key=lambda item: -item[1])
            for token, q in options[:1] if each and prefix else options:
                new = q if last else p + q if add else p * q
                longer[(*prefix, token)] = new
        kept = dict(sorted(longer.items(), key=lambda item: -item[1])[:width])
    return max(kept.items(), key=lambda item: item[1])


def _always_greedy(next_probs, width, steps):
    return _beam(next_probs, 1, steps)


def _text(next_probs, width, steps):
    prefix, p = _beam(next_probs, width, steps)
    return "".join(prefix), p


CASES = {
    "14.1": Case(
        solution=1 / 21,
        mistakes=[
            (20 / 21, "that is the threshold if"),
            (1 / 20, "close, but at p = 1/20"),
            (0.5, "0.5 would be right if both"),
            (20, "that is no probability"),
            (0.3, "an alarm costs 1 - p on"),
        ],
    ),
    "14.2": Case(
        solution=lambda: _word_f1,
        mistakes=[
            (
                lambda: lambda t, g: _word_f1(t, g, empty=True),
                "that is accuracy over all",
            ),
            (
                lambda: lambda t, g: _word_f1(t, g, only="truth"),
                "that is recall alone: words",
            ),
            (
                lambda: lambda t, g: _word_f1(t, g, only="guess"),
                "that is precision alone",
            ),
            (
                lambda: lambda t, g: _word_f1(t, g, kinds=False),
                "a word marked with the",
            ),
        ],
    ),
    "14.3": Case(
        solution=14,
        mistakes=[
            (13.5, "that is the point itself"),
            (13, "13 times give 13 / 14.5"),
            (9, "that holds for k1 = 1"),
            (2, "the weight climbs to k1"),
            (6, "that is the number of times"),
            (100, "with |d| average the weight"),
        ],
    ),
    "14.4": Case(
        solution=lambda: _beam,
        mistakes=[
            (lambda: _always_greedy, "with width=2 the best is"),
            (
                lambda: lambda *given: _beam(*given, last=True),
                "that is the last token's",
            ),
            (
                lambda: lambda *given: _beam(*given, add=True),
                "the probabilities of the",
            ),
            (lambda: _text, "return (prefix, probability), the"),
        ],
    ),
}
