"""Calling ``fit`` leaves nothing behind: no state, no patches, no memory."""

from __future__ import annotations

import contextlib
import gc
import random
import signal
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import helpers
from helpers.loop import accelerator as accelerator_module
from helpers.loop.seeding import deterministic_algorithms
from tests.training_cases import (
    Augmented,
    blobs,
    cnn,
    distance,
    loader,
    mlp,
    overflowing_step,
    pictures,
    same,
)


class Sentences(torch.utils.data.Dataset):
    """Token ids whose first one tells the class, as dicts with "labels"."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(5, 20, (6,), generator=generator)
        ids[0] = index % 2
        return {
            "input_ids": ids,
            "attention_mask": torch.ones(6, dtype=torch.int64),
            "labels": torch.tensor(index % 2),
        }


def bert() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(config)


def dice() -> tuple[Any, ...]:
    """The next numbers of every generator, without moving it on."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    rolled = random.random(), np.random.rand(), torch.rand(1).item()
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    return rolled


def test_a_transformers_model_trains_on_dict_batches() -> None:
    model, data = bert(), Sentences()
    history = helpers.fit(
        model, loader(data), loader(data), epochs=6, lr=0.02, patience=6
    )
    assert history["valid_accuracy"][-1] > 0.9
    assert history["train_loss"][-1] < 0.6 * history["train_loss"][0]
    scores = helpers.predict(model, loader(data))
    labels = torch.tensor([int(data[i]["labels"]) for i in range(len(data))])
    accuracy = (scores.argmax(1) == labels).float().mean().item()
    result = helpers.evaluate(model, loader(data))
    assert result["accuracy"] == pytest.approx(accuracy)


CALLS: dict[str, Callable[[nn.Module, Any], object]] = {
    "fit": lambda model, data: helpers.fit(model, data, data, epochs=2),
    "evaluate": helpers.evaluate,
    "predict": helpers.predict,
    "cache_features": helpers.cache_features,
}


@pytest.mark.parametrize("name", CALLS)
def test_the_callers_random_numbers_are_untouched(name: str) -> None:
    data = blobs(20) if name == "cache_features" else Augmented(blobs(20))
    before = dice()
    CALLS[name](mlp(dropout=0.5), loader(data))
    assert dice() == before


def test_random_numbers_are_untouched_after_an_error_too() -> None:
    def step(model: nn.Module, batch: Any) -> Any:
        raise RuntimeError("mine")

    before, handler = dice(), signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="mine"):
        helpers.fit(mlp(), loader(), step=step)
    assert dice() == before
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("name", ["evaluate", "predict", "cache_features"])
def test_every_modules_mode_is_put_back(name: str) -> None:
    model = mlp()
    model.train()
    model[0].eval()
    before = [module.training for module in model.modules()]
    CALLS[name](model, loader(blobs(20)))
    assert [module.training for module in model.modules()] == before


def test_the_signal_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside: list[Any] = []

    def step(model: nn.Module, batch: Any) -> Any:
        inside.append(signal.getsignal(signal.SIGINT))
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    helpers.fit(mlp(), loader(), step=step)
    assert inside[0] is not before
    assert signal.getsignal(signal.SIGINT) is before


def pretend_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any CPU computes in bf16, some of them slowly; tiny models do not mind."""
    monkeypatch.setattr(accelerator_module, "_cpu_has_bf16", lambda: True)


def dtypes_in_forward(model: nn.Module) -> list[torch.dtype]:
    """A list that fills with the dtype of the last layer's output."""
    seen: list[torch.dtype] = []
    layer = list(model.modules())[-1]
    layer.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    return seen


def test_bf16_computes_in_bf16_and_keeps_float32_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_bf16(monkeypatch)
    plain, half = mlp(), mlp()
    seen = dtypes_in_forward(half)
    helpers.fit(plain, loader(), epochs=3, lr=0.02)
    history = helpers.fit(half, loader(), loader(), epochs=3, lr=0.02, precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    assert 0 < distance(plain, half) < 0.05
    assert history["valid_accuracy"][-1] > 0.8
    assert helpers.predict(half, loader()).dtype == torch.float32


def test_settings_do_not_leak_from_one_fit_into_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_bf16(monkeypatch)
    alone = mlp()
    helpers.fit(alone, loader(), epochs=2)
    model = mlp()
    seen = dtypes_in_forward(model)
    precisions: list[Any] = ["bf16", "fp32", "bf16", "auto"]
    for precision in precisions:
        helpers.fit(cnn(), loader(pictures()), precision=precision, channels_last=True)
        seen.clear()
        helpers.evaluate(model, loader(), precision=precision)
        wanted = torch.bfloat16 if precision == "bf16" else torch.float32
        assert set(seen) == {wanted}
    seen.clear()
    helpers.fit(model, loader(), epochs=2)
    assert set(seen) == {torch.float32}
    assert same(alone, model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_forward_is_the_models_own_again(
    precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_bf16(monkeypatch)
    model = bert()
    names = set(vars(model))
    helpers.fit(model, loader(Sentences()), precision=precision)
    helpers.evaluate(model, loader(Sentences()), precision=precision)
    assert set(vars(model)) == names
    assert model.forward.__func__ is BertForSequenceClassification.forward


def test_forward_is_put_back_after_an_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_bf16(monkeypatch)
    model = mlp()
    with pytest.raises(RuntimeError):
        helpers.fit(model, loader(blobs(width=5)), precision="bf16")
    assert "forward" not in vars(model)


def test_scores_are_fp32_after_training_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_bf16(monkeypatch)
    known = accelerator_module.resolve_precision

    def as_on_a_gpu(precision: str, device: torch.device) -> str:
        return "bf16" if precision == "auto" else known(precision, device)

    monkeypatch.setattr(accelerator_module, "resolve_precision", as_on_a_gpu)
    model = mlp()
    seen = dtypes_in_forward(model)
    helpers.fit(model, loader(), loader())
    assert set(seen) == {torch.bfloat16}  # validation too: what patience goes by
    for scored in (helpers.evaluate, helpers.predict):
        seen.clear()
        scored(model, loader())
        assert set(seen) == {torch.float32}


def with_scaler(monkeypatch: pytest.MonkeyPatch, scaler: Any) -> None:
    """Train with a gradient scaler on the CPU, as fp16 does on a GPU."""
    make = accelerator_module._accelerator

    def made(*arguments: Any) -> Any:
        ready = make(*arguments)
        ready.scaler = scaler
        return ready

    monkeypatch.setattr(accelerator_module, "_accelerator", made)


def test_fp16_waits_for_its_scale_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(torch.amp.GradScaler):
        reads = 0

        def get_scale(self) -> float:
            self.reads += 1
            return super().get_scale()

    scaler = Counting("cpu")
    with_scaler(monkeypatch, scaler)
    model = mlp()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    history = helpers.fit(
        model, loader(), epochs=2, optimizer=sgd, step=overflowing_step(at=4)
    )
    assert (history.steps, history.skipped) == (16, 1)
    assert scaler.reads <= history.steps + 1  # and once before the first step


def test_what_a_model_keeps_in_evaluation_can_be_trained_through() -> None:
    class Lazy(nn.Module):
        """Keeps a table it makes at the first call, as rotary embeddings do."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()
            self.table: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table is None:
                self.table = torch.linspace(1, 2, 3)
            return self.inner(x) * self.table

    for name, call in CALLS.items():
        model = Lazy()
        call(model, loader(blobs(20)))
        history = helpers.fit(model, loader(blobs(20)))
        assert history.outcome == "finished", name


def determinism() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )


@pytest.mark.parametrize("fails", [False, True])
def test_deterministic_algorithms_are_chosen_for_one_call_only(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    seen: set[Any] = set()

    def step(model: nn.Module, batch: Any) -> Any:
        seen.add(determinism())
        if fails:
            raise RuntimeError("mine")
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    before = determinism()
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        helpers.fit(mlp(), loader(), loader(), step=step, deterministic=True)
    assert seen == {(True, False, False)}
    assert determinism() == before


def test_deterministic_without_cublas_s_setting_is_refused_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = determinism()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with (
        pytest.raises(ValueError, match=r"deterministic=True.*Restart the kernel"),
        deterministic_algorithms(torch.device("cuda")),
    ):
        pytest.fail("not refused")
    assert determinism() == before


def test_random_numbers_of_a_gpu_that_starts_within_go_on_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A stand-in for torch.cuda: asleep until the model is placed, seeded by the caller.
    awake, state = [], [torch.tensor(5)]
    place = Accelerator.prepare_model

    def waking(*arguments: Any, **options: Any) -> Any:
        awake.append(True)
        return place(*arguments, **options)

    def put(states: list[torch.Tensor]) -> None:
        state[:] = states

    monkeypatch.setattr(Accelerator, "prepare_model", waking)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(awake))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda s: put([torch.tensor(s)]))
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(state))
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", put)
    for call in CALLS.values():
        awake.clear()
        call(mlp(), loader(blobs(20)))
        assert awake and [int(s) for s in state] == [5]


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_given_back(precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_bf16(monkeypatch)
    model = mlp()
    moments: list[Any] = []

    def schedule(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        moments.append(weakref.ref(optimizer))
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    helpers.fit(model, loader(), loader(), scheduler=schedule, precision=precision)
    gc.collect()
    assert moments[0]() is None
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_many_fits_hold_no_more_than_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    pretend_bf16(monkeypatch)
    data = loader(blobs(16))

    def several() -> None:
        precisions: list[Any] = ["fp32", "bf16", "auto"]
        for number, precision in enumerate(precisions):
            model, folder = mlp(), tmp_path / str(number)
            helpers.fit(model, data, data, precision=precision, patience=1)
            helpers.fit(model, data, folder=folder, precision=precision, resume=False)
            helpers.predict(model, data)
            with contextlib.suppress(ValueError):
                helpers.fit(model, data, metrics={"a": 1}, epochs=0)  # type: ignore[dict-item]

    several()
    before = live_tensors()
    for _ in range(3):
        several()
    assert live_tensors() <= before
