"""The shared losses against independent computations, and their errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.objectives import (
    contrastive_loss,
    distillation_loss,
    info_nce,
    l2_sp,
    mask_tokens,
)


def _pairs(n: int = 6, d: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return a, torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_margin_contrastive_is_the_published_sum_over_pairs() -> None:
    a, b = _pairs()
    same = torch.tensor([1, 0, 1, 0, 0, 1])
    terms = []
    for left, right, y in zip(a.numpy(), b.numpy(), same.tolist(), strict=True):
        distance = float(np.sqrt(((left - right) ** 2).sum()))
        terms.append(distance**2 if y else max(0.0, 2.5 - distance) ** 2)
    expected = sum(terms) / len(terms)
    assert contrastive_loss(a, b, same, margin=2.5).item() == pytest.approx(expected)


def test_unlike_pairs_beyond_the_margin_cost_nothing() -> None:
    a = torch.zeros(2, 3)
    b = torch.full((2, 3), 10.0)
    assert contrastive_loss(a, b, torch.tensor([0, 0])).item() == 0


def test_margin_contrastive_has_a_finite_gradient_for_equal_points() -> None:
    a = torch.zeros(1, 3, requires_grad=True)
    contrastive_loss(a, torch.zeros(1, 3), torch.tensor([0])).backward()
    assert torch.isfinite(a.grad).all()


def test_info_nce_is_the_softmax_over_cosines_in_both_directions() -> None:
    a, b = _pairs()
    rows = a.numpy() / np.linalg.norm(a.numpy(), axis=1, keepdims=True)
    columns = b.numpy() / np.linalg.norm(b.numpy(), axis=1, keepdims=True)
    scores = rows @ columns.T / 0.07
    forth = -np.diag(scipy.special.log_softmax(scores, axis=1)).mean()
    back = -np.diag(scipy.special.log_softmax(scores, axis=0)).mean()
    assert info_nce(a, b, 0.07).item() == pytest.approx((forth + back) / 2)


def test_info_nce_of_indistinguishable_rows_is_log_n() -> None:
    ones = torch.ones(8, 5, dtype=torch.float64)
    assert info_nce(ones, ones).item() == pytest.approx(np.log(8))


def test_info_nce_lets_a_temperature_learn() -> None:
    a, b = _pairs()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    info_nce(a, b, temperature).backward()
    assert temperature.grad is not None and temperature.grad.abs() > 0


def test_mask_tokens_follows_bert_s_shares_and_spares_special_tokens() -> None:
    tokens = torch.randint(5, 1000, (200, 100))
    special = torch.zeros_like(tokens, dtype=torch.bool)
    special[:, 0] = True
    before = tokens.clone()
    inputs, labels = mask_tokens(
        tokens,
        mask_id=4,
        vocab_size=1000,
        special=special,
        generator=torch.Generator().manual_seed(0),
    )
    chosen = labels != -100
    n = int((~special).sum())
    # A count outside this interval would happen once in a million draws.
    low, high = scipy.stats.binom.interval(1 - 1e-6, n, 0.15)
    assert low <= int(chosen.sum()) <= high
    assert not chosen[special].any()
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(inputs[~chosen], tokens[~chosen])
    assert torch.equal(tokens, before)
    masked = (inputs[chosen] == 4).float().mean().item()
    kept = (inputs[chosen] == tokens[chosen]).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.04)
    assert kept == pytest.approx(0.1, abs=0.03)


def test_l2_sp_is_the_squared_distance_and_leaves_out_new_and_frozen_parts() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    start = copy.deepcopy(model.state_dict())
    assert l2_sp(model, start).item() == 0
    with torch.no_grad():
        model[0].weight += 0.5
        model[1].weight += 7
        model[2].weight += 7
    model[1].requires_grad_(False)
    del start["2.weight"]
    assert l2_sp(model, start).item() == pytest.approx(12 * 0.25)


def test_l2_sp_pulls_towards_the_start() -> None:
    model = nn.Linear(2, 2)
    start = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model.weight += 1
    l2_sp(model, start).backward()
    assert torch.allclose(model.weight.grad, torch.full((2, 2), 2.0))


class Copies(TorchDispatchMode):
    """Counts the tensors that are copied to another device."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += func is torch.ops.aten._to_copy.default
        return func(*args, **(kwargs or {}))


def test_l2_sp_copies_the_start_to_the_models_device_once() -> None:
    model = nn.Linear(3, 4)
    start = copy.deepcopy(model.state_dict())
    model.to("meta")  # stands for an accelerator: values do not matter here
    with Copies() as copies:
        for expected in (2, 2, 2):
            l2_sp(model, start).backward()
            assert copies.count == expected
    assert {t.device.type for t in start.values()} == {"cpu"}


def test_l2_sp_sees_a_start_that_was_changed() -> None:
    model, start = nn.Linear(3, 4).to("meta"), nn.Linear(3, 4).state_dict()
    with Copies() as copies:
        l2_sp(model, start)
        start["weight"] += 1
        before = copies.count
        l2_sp(model, start)
    assert copies.count == before + 1


def test_a_temperature_that_learns_on_an_accelerator_is_not_waited_for() -> None:
    # Nothing can be read back from "meta": reading would be an error.
    a, temperature = torch.ones(4, 3, device="meta"), torch.ones((), device="meta")
    assert info_nce(a, a, temperature).shape == ()
    with pytest.raises(ValueError, match="temperature"):
        info_nce(torch.ones(4, 3), torch.ones(4, 3), torch.tensor(-1.0))


def test_distillation_is_the_weighted_sum_of_its_parts() -> None:
    student, teacher = _pairs(5, 3)
    y = torch.tensor([0, 2, 1, 1, 0])
    temperature, alpha = 3.0, 0.7
    p = scipy.special.softmax(teacher.numpy() / temperature, axis=1)
    q = scipy.special.softmax(student.numpy() / temperature, axis=1)
    soft = scipy.stats.entropy(p, q, axis=1).mean()
    log_q = scipy.special.log_softmax(student.numpy(), axis=1)
    hard = -log_q[np.arange(5), y.numpy()].mean()
    expected = alpha * temperature**2 * soft + (1 - alpha) * hard
    loss = distillation_loss(student, teacher, y, temperature=temperature, alpha=alpha)
    assert loss.item() == pytest.approx(expected)


def test_no_gradient_flows_into_the_teacher() -> None:
    student, teacher = (t.requires_grad_() for t in _pairs())
    distillation_loss(student, teacher, alpha=1).backward()
    assert teacher.grad is None and student.grad is not None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b: contrastive_loss(a, b[:3], torch.ones(6)), "shape"),
        (lambda a, b: contrastive_loss(a, b, torch.ones(6), margin=0), "margin=0"),
        (lambda a, b: info_nce(a[:1], b[:1]), "at least 2"),
        (lambda a, b: info_nce(a, b, 0.0), "temperature"),
        (lambda a, b: distillation_loss(a, b), "needs the labels"),
        (lambda a, b: distillation_loss(a, b[:, :2], alpha=1), "same classes"),
        (lambda a, b: l2_sp(nn.Linear(2, 2), {"other": a}), "none of the model"),
        (lambda a, b: l2_sp(nn.Linear(2, 2), {"weight": a}), "was replaced"),
    ],
)
def test_bad_input_is_named(call, words) -> None:
    with pytest.raises(ValueError, match=words):
        call(*_pairs())


def test_a_tokenizers_own_mask_of_special_tokens_is_understood() -> None:
    tokens = torch.arange(40).view(2, 20)
    special = torch.zeros_like(tokens)  # int64, as tokenizers return it
    special[:, 0] = 1
    generator = torch.Generator().manual_seed(0)
    options = {"mask_id": 99, "vocab_size": 40, "share": 1.0, "generator": generator}
    _, labels = mask_tokens(tokens, special=special, **options)
    assert (labels[:, 0] == -100).all()
    assert torch.equal(labels[:, 1:], tokens[:, 1:])


def test_distillation_of_sequences_asks_to_flatten_them() -> None:
    scores = torch.zeros(2, 5, 7)
    with pytest.raises(ValueError, match=r"\(2, 5, 7\).*flatten\(0, 1\)"):
        distillation_loss(scores, scores, alpha=1.0)


def test_l2_sp_refuses_a_start_that_trains_along() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="copy.deepcopy"):
        l2_sp(model, model.state_dict())
