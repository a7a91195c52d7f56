"""The recall task of notebook 06: what the networks see, and that one learns it."""

from __future__ import annotations

import contextlib

import pytest
import torch

from helpers.examples.recall_tokens import NETWORKS, sequences, train


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_sees_the_future(network: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[network]().eval()
    tokens = sequences(4, 12, seed=0)
    other = tokens.clone()
    other[:, 8:] = (other[:, 8:] + 1) % 8
    with torch.inference_mode():
        before, after = model(tokens), model(other)
    assert torch.allclose(before[:, :8], after[:, :8], atol=1e-5)
    assert not torch.allclose(before[:, 8:], after[:, 8:], atol=1e-3)


def test_a_short_distance_is_learned_and_repeats() -> None:
    first, second = (train("convolution", 2, lr=0.01, steps=60) for _ in range(2))
    assert first.losses == second.losses and len(first.losses) == 60
    assert min(first.valid, first.test) > 0.9


def test_a_distance_beyond_the_places_is_refused() -> None:
    with pytest.raises(ValueError, match="distance=24"):
        train("GRU", 24, lr=0.01)


@pytest.mark.parametrize("distance", [2, 24])
def test_training_leaves_threads_and_precision_as_they_were(distance: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        with contextlib.suppress(ValueError):
            run = train("convolution", distance, lr=0.01, steps=2)
            assert next(run.model.parameters()).dtype == torch.float32
        assert torch.get_num_threads() == 2
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
