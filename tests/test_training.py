"""What ``fit`` computes; ``evaluate`` and ``predict`` are in test_evaluate."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torchmetrics
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import helpers
from tests.training_cases import (
    Augmented,
    Listed,
    blobs,
    cnn,
    distance,
    loader,
    mlp,
    order_of,
    pictures,
    same,
    weights,
)


def by_hand(
    model: nn.Module,
    train: DataLoader,
    optimizer: Any,
    epochs: int = 2,
    clip: float = 1,
    loss: Any = nn.functional.cross_entropy,
) -> None:
    """The loop that notebook 08 writes, over the batches of ``fit``."""
    model.train()
    for x, y in order_of(train, epochs):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
def test_fit_equals_the_loop_written_by_hand_bit_for_bit(wrap: Any) -> None:
    train = loader(wrap(blobs(61)))
    ours, theirs = mlp(), mlp()
    by_hand(theirs, train, torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True))
    helpers.fit(ours, train, epochs=2)
    assert same(ours, theirs)


def test_clipping_limits_the_whole_gradient() -> None:
    train = loader()
    ours, theirs = mlp(), mlp()
    by_hand(theirs, train, torch.optim.SGD(theirs.parameters(), lr=0.1), clip=0.01)
    helpers.fit(
        ours,
        train,
        epochs=2,
        clip=0.01,
        optimizer=torch.optim.SGD(ours.parameters(), 0.1),
    )
    assert distance(ours, theirs) < 1e-7
    free = mlp()
    helpers.fit(
        free,
        train,
        epochs=2,
        clip=None,
        optimizer=torch.optim.SGD(free.parameters(), 0.1),
    )
    assert distance(free, theirs) > 0.01


def test_training_learns_and_the_history_tells_it() -> None:
    model = mlp()
    history = helpers.fit(model, loader(), loader(blobs(30, seed=0)), epochs=6, lr=0.02)
    losses = history["train_loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert history["valid_accuracy"][-1] > 0.9
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert history["lr"] == [0.02] * 6
    assert history.outcome == "finished"
    assert history.steps == 6 * 8
    assert not model.training


def test_train_loss_is_the_mean_over_examples_not_over_batches() -> None:
    train = DataLoader(blobs(10), 8)  # batches of 8 and of 2
    history = helpers.fit(
        mlp(), train, clip=None, optimizer=None, lr=1e-12, device="cpu"
    )
    x, y = train.dataset.tensors  # type: ignore[attr-defined]
    expected = nn.functional.cross_entropy(mlp()(x), y).item()
    assert history["train_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_gradients_left_from_before_do_not_count() -> None:
    fresh, used = mlp(), mlp()
    nn.functional.cross_entropy(used(torch.ones(1, 4)), torch.tensor([0])).backward()
    helpers.fit(fresh, loader())
    helpers.fit(used, loader())
    assert same(fresh, used)
    assert all(p.grad is None for p in used.parameters())


def test_seed_decides_the_order() -> None:
    models = [mlp(), mlp(), mlp()]
    for model, seed in zip(models, [0, 0, 1], strict=True):
        helpers.fit(model, loader(), seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_epoch_order_tells_what_fit_reads_and_draws_nothing_of_the_callers() -> None:
    data = TensorDataset(blobs().tensors[0], torch.arange(60))
    read: list[list[int]] = []

    def step(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(batch[1].tolist())
        outputs = model(batch[0])
        return outputs.square().mean(), outputs

    weighted = WeightedRandomSampler(torch.ones(60).tolist(), 60)
    for train in (loader(data), loader(data, shuffle=False, sampler=weighted)):
        read.clear()
        helpers.fit(mlp(), train, epochs=2, step=step, seed=3, progress=False)
        before = torch.get_rng_state()
        orders = [helpers.epoch_order(train, seed=3, epoch=epoch) for epoch in (0, 1)]
        assert read == [*orders[0], *orders[1]]
        assert torch.equal(torch.get_rng_state(), before)


def test_a_frozen_backbone_stays_as_it_is_with_its_statistics() -> None:
    model = cnn()
    helpers.freeze(model)
    model[-1] = nn.Linear(16, 3)
    before = weights(model)
    history = helpers.fit(model, loader(pictures()), epochs=2)
    after = weights(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"5.weight", "5.bias"}
    assert history.outcome == "finished"


def test_a_learning_batch_norm_updates_its_statistics() -> None:
    model = cnn()
    before = weights(model)
    helpers.fit(model, loader(pictures()))
    assert not torch.equal(before["1.running_mean"], model[1].running_mean)


def test_an_optimizer_over_a_part_trains_and_clips_only_that_part() -> None:
    whole, part = mlp(), mlp()
    helpers.freeze(part[0])
    for model in (whole, part):
        head = torch.optim.SGD(model[3].parameters(), lr=0.1)
        helpers.fit(model, loader(), epochs=2, optimizer=head, clip=0.01)
    assert torch.equal(whole[0].weight, mlp()[0].weight)
    assert same(whole, part)


def test_own_optimizer_and_scheduler_are_used() -> None:
    train = loader()
    ours, theirs = mlp(), mlp()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    history = helpers.fit(
        ours, train, epochs=2, optimizer=optimizer, scheduler=StepLR(optimizer, 3, 0.5)
    )
    other = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    schedule = StepLR(other, 3, 0.5)
    for x, y in order_of(train, 2):
        other.zero_grad()
        nn.functional.cross_entropy(theirs(x), y).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        other.step()
        schedule.step()
    assert distance(ours, theirs) < 1e-6
    assert history["lr"] == pytest.approx([0.1 * 0.5**2, 0.1 * 0.5**5])


def test_a_scheduler_function_gets_the_number_of_optimizer_steps() -> None:
    seen = []

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> OneCycleLR:
        seen.append(steps)
        return OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)

    # 60 examples in 8 batches, three to an optimizer step: 3 steps an epoch.
    helpers.fit(mlp(), loader(), epochs=2, accumulate=3, scheduler=schedule)
    assert seen == [6]


def test_a_step_of_ones_own_is_all_a_new_task_needs() -> None:
    model = nn.Linear(4, 4)

    def reconstruct(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = model(batch[0])
        return nn.functional.mse_loss(outputs, batch[0]), outputs

    history = helpers.fit(
        model, loader(), loader(blobs(20)), epochs=8, lr=0.03, step=reconstruct
    )
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]
    assert history["valid_loss"][-1] < history["valid_loss"][0]


def test_regression_with_another_loss_has_no_accuracy() -> None:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, x @ torch.tensor([[1.0], [-2.0], [0.5]]))
    model = nn.Linear(3, 1)
    history = helpers.fit(
        model,
        loader(data),
        loader(data),
        epochs=30,
        lr=0.1,
        loss=nn.functional.mse_loss,
    )
    assert history["valid_loss"][-1] < 0.01
    assert "valid_accuracy" not in history.rows[0]


def test_soft_labels_and_class_weights_are_those_of_the_loss() -> None:
    x, y = blobs().tensors
    soft = TensorDataset(x, nn.functional.one_hot(y, 3).float() * 0.9 + 0.1 / 3)
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    plain = mlp()
    helpers.fit(plain, loader(), epochs=2)
    for data, loss in [(soft, nn.functional.cross_entropy), (blobs(), weighted)]:
        ours, theirs = mlp(), mlp()
        adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True)
        by_hand(theirs, loader(data), adamw, loss=loss)
        helpers.fit(ours, loader(data), epochs=2, loss=loss)
        assert same(ours, theirs)
        assert not same(ours, plain)


def test_several_inputs_reach_the_model() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.head(a - 2 * b)

    x, y = blobs().tensors
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    # Only both together, and in this order, tell the class.
    data = loader(TensorDataset(x + 2 * noise, noise, y))
    model = Two()
    helpers.fit(model, data, data, epochs=6, lr=0.05)
    loss = nn.functional.cross_entropy(model.head(x), y).item()
    assert helpers.evaluate(model, data)["loss"] == pytest.approx(loss, rel=1e-4)
    assert loss < 0.5
    assert torch.equal(helpers.predict(model, data).argmax(1), model.head(x).argmax(1))


def test_metrics_of_torchmetrics_fill_columns() -> None:
    macro = torchmetrics.F1Score("multiclass", num_classes=3, average="macro")
    model = mlp()
    valid = loader(blobs(31, seed=0))
    history = helpers.fit(model, loader(), valid, epochs=2, metrics={"f1": macro})
    x, y = valid.dataset.tensors  # type: ignore[attr-defined]
    macro.reset()
    expected = macro(model(x), y).item()
    assert history["valid_f1"][-1] == pytest.approx(expected)
    assert set(history.rows[0]) == {
        *("epoch", "lr", "train_loss", "valid_loss", "valid_f1", "seconds")
    }


@pytest.mark.parametrize("n", [64, 61, 57], ids=["even", "short group", "last of one"])
def test_accumulating_equals_one_big_batch(n: int) -> None:
    big, small = mlp(), mlp()
    data = blobs(n)
    kind = torch.optim.SGD  # Adam would blow a rounding error up to a whole step
    helpers.fit(
        big, loader(data, 24), epochs=2, optimizer=kind(big.parameters(), lr=0.1)
    )
    history = helpers.fit(
        small,
        loader(data, 8),
        epochs=2,
        accumulate=3,
        optimizer=kind(small.parameters(), lr=0.1),
    )
    assert history.steps == 2 * math.ceil(n / 24)
    assert distance(big, small) < 1e-6


def test_channels_last_changes_only_the_memory_layout() -> None:
    plain, last = cnn(), cnn()
    data = loader(pictures())
    for model, channels_last in [(plain, False), (last, True)]:
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        helpers.fit(model, data, optimizer=sgd, channels_last=channels_last)
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert distance(plain, last) < 1e-5


def test_patience_stops_early_and_restores_the_best_weights() -> None:
    model = mlp()
    seen: list[dict[str, torch.Tensor]] = []
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.4])

    def step(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = model(batch[0])
        loss = nn.functional.cross_entropy(outputs, batch[1])
        if not model.training:
            seen.append(weights(model))
            loss = torch.tensor(next(losses))
        return loss, outputs

    valid = DataLoader(blobs(4), 4)
    history = helpers.fit(model, loader(), valid, epochs=9, patience=2, step=step)
    assert history.outcome == "early stop"
    assert history["valid_loss"] == pytest.approx([0.9, 0.5, 0.7, 0.6])
    assert same(model, seen[1])


def test_patience_restores_the_best_weights_when_epochs_run_out() -> None:
    model = mlp()
    valid = loader(blobs(30, seed=5))  # other clouds: it gets worse at once
    kept = mlp()
    history = helpers.fit(model, loader(), valid, epochs=4, lr=0.05, patience=4)
    best = int(history.best()["epoch"])
    assert best < 4
    helpers.fit(kept, loader(), valid, epochs=best, lr=0.05)
    assert same(model, kept)


def test_monitor_watches_a_score_that_should_rise() -> None:
    history = helpers.fit(
        mlp(),
        loader(),
        loader(blobs(30)),
        epochs=30,
        lr=0.05,
        patience=2,
        monitor="valid_accuracy",
    )
    assert history.outcome == "early stop"
    best = max(history["valid_accuracy"])
    assert history["valid_accuracy"].index(best) == len(history) - 3


def test_the_bar_shows_on_request_and_nothing_else_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    helpers.fit(mlp(), loader(), loader(), epochs=2, progress=False)
    helpers.evaluate(mlp(), loader())
    assert capfd.readouterr() == ("", "")
    helpers.fit(mlp(), loader(), epochs=2, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "0/16 [" in err
    assert not err.rsplit("\r", 1)[-1].strip()  # cleared at the end


def test_bar_follows_course_interactive(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_INTERACTIVE", "0")
    helpers.fit(mlp(), loader())
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("COURSE_INTERACTIVE", "1")
    helpers.fit(mlp(), loader())
    assert "0/8 [" in capfd.readouterr().err


def test_data_loader_workers_give_the_same_weights() -> None:
    models = [mlp(), mlp()]
    data = Augmented(blobs(24))
    for model, workers in zip(models, [0, 2], strict=True):
        helpers.fit(model, loader(data, num_workers=workers))
    assert same(*models)


def test_compiling_changes_nothing_but_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A backend that needs no C compiler, and counts how often its graph is used.
    calls: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            calls.append(graph)
            return graph(*args)

        return run

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda m: compiled(m, backend=backend))
    plain, fast = mlp(), mlp()
    helpers.fit(plain, loader(), epochs=2)
    history = helpers.fit(fast, loader(), epochs=2, compile=True)
    assert history.outcome == "finished"
    assert len(calls) == 2 * 8
    assert distance(plain, fast) < 1e-5
    assert list(fast.state_dict()) == list(plain.state_dict())


def test_parts_that_share_weights_train_as_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3))
    model[2].weight = model[0].weight
    copied = copy.deepcopy(model)
    helpers.fit(model, loader())
    assert model[2].weight is model[0].weight
    assert not torch.equal(copied[0].weight, model[0].weight)
    assert helpers.count_parameters(model) == (16 + 4 + 4 + 15, 16 + 4 + 4 + 15)
