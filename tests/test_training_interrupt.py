"""Ctrl-C, or Jupyter's stop button, ends a training at a clean place."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import helpers
from tests.training_cases import blobs, loader, mlp, same

pytestmark = pytest.mark.usefixtures("sigint")


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def pressing(
    at: set[int], press: Callable[[], None] = ctrl_c, in_training: bool = True
) -> Callable[[nn.Module, Any], Any]:
    """A classification step during whose numbers ``at`` somebody presses Ctrl-C."""
    calls = 0

    def step(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        if model.training == in_training:
            if calls in at:
                press()
            calls += 1
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    return step


def test_what_was_reached_is_kept_and_the_same_call_goes_on(tmp_path: Path) -> None:
    common: Any = {"epochs": 3, "accumulate": 2, "folder": tmp_path}
    model, whole = mlp(dropout=0.3), mlp(dropout=0.3)
    first = helpers.fit(model, loader(), loader(), step=pressing({10}), **common)
    assert first.outcome == "interrupted"
    assert len(first) == 1  # the first epoch's row
    assert first.steps == 4 + 2  # the group of batches 10 and 11 was finished
    assert not model.training
    reached = mlp(dropout=0.3)
    helpers.fit(
        reached, loader(), loader(), step=pressing({10}), epochs=3, accumulate=2
    )
    assert same(model, reached)

    last = helpers.fit(model, loader(), loader(), step=pressing(set()), **common)
    assert last.outcome == "finished"
    helpers.fit(whole, loader(), loader(), epochs=3, accumulate=2)
    assert same(model, whole)
    assert len(last) == 3


@pytest.mark.parametrize("at", [0, 7, 23])
def test_pressed_in_the_first_or_last_step(at: int, tmp_path: Path) -> None:
    model, whole = mlp(), mlp()
    history = helpers.fit(
        model, loader(), epochs=3, step=pressing({at}), folder=tmp_path
    )
    assert history.outcome == "interrupted"
    assert history.steps == at + 1
    history = helpers.fit(
        model, loader(), epochs=3, step=pressing(set()), folder=tmp_path
    )
    assert history.outcome == "finished"
    helpers.fit(whole, loader(), epochs=3)
    assert same(model, whole)


def test_without_a_folder_it_just_stops() -> None:
    model = mlp()
    history = helpers.fit(model, loader(), epochs=3, step=pressing({4}))
    assert history.outcome == "interrupted"
    assert history.steps == 5
    assert history.table().empty
    assert not same(model, mlp())


def test_during_validation_the_epoch_is_still_recorded() -> None:
    step = pressing({0}, in_training=False)
    history = helpers.fit(mlp(), loader(), loader(), epochs=3, step=step)
    assert history.outcome == "interrupted"
    assert len(history) == 1
    assert "valid_loss" in history.rows[0]
    assert history.steps <= 9


def test_a_second_press_stops_at_once_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    def twice() -> None:
        ctrl_c()
        ctrl_c()
        pytest.fail("the second Ctrl-C should have ended the step")

    common: Any = {"epochs": 3, "folder": tmp_path, "save_every": 3}
    model = mlp()
    history = helpers.fit(model, loader(), step=pressing({7}, twice), **common)
    assert history.outcome == "interrupted"
    assert history.steps == 7
    calls: list[int] = []
    resumed, whole = mlp(), mlp()
    resumed.register_forward_hook(lambda *_: calls.append(1))
    helpers.fit(resumed, loader(), step=pressing(set()), **common)
    assert len(calls) == 24 - 6  # from the checkpoint of step 6
    helpers.fit(whole, loader(), epochs=3)
    assert same(resumed, whole)


def test_a_second_press_in_validation_keeps_the_trained_epoch(tmp_path: Path) -> None:
    def twice() -> None:
        ctrl_c()
        ctrl_c()

    common: Any = {"epochs": 2, "folder": tmp_path}
    model, whole = mlp(), mlp()
    step = pressing({1}, twice, in_training=False)
    history = helpers.fit(model, loader(), loader(), step=step, **common)
    assert history.outcome == "interrupted"
    calls: list[int] = []
    resumed = mlp()
    resumed.register_forward_hook(lambda m, *_: calls.append(1) if m.training else None)
    history = helpers.fit(resumed, loader(), loader(), step=pressing(set()), **common)
    assert len(calls) == 8  # the second epoch only
    assert len(history) == 2
    helpers.fit(whole, loader(), epochs=2)
    assert same(resumed, whole)


def test_a_real_signal_from_outside() -> None:
    def send() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    history = helpers.fit(mlp(), loader(), epochs=3, step=pressing({5}, send))
    assert history.outcome == "interrupted"
    assert history.steps in (6, 7)


def test_afterwards_ctrl_c_is_the_callers_again() -> None:
    helpers.fit(mlp(), loader(), step=pressing({3}))
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []
    outcomes: list[str] = []

    def step(model: nn.Module, batch: Any) -> Any:
        seen.append(signal.getsignal(signal.SIGINT))
        return pressing(set())(model, batch)

    def work() -> None:
        outcomes.append(helpers.fit(mlp(), loader(), step=step).outcome)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcomes == ["finished"]
    assert set(seen) == {before}


def test_an_interrupt_raised_by_the_callers_own_code_is_an_interrupt_too() -> None:
    def step(model: nn.Module, batch: Any) -> Any:
        raise KeyboardInterrupt

    history = helpers.fit(mlp(), loader(), step=step)
    assert history.outcome == "interrupted"


def test_interrupted_workers_leave_no_processes() -> None:
    import psutil

    from tests.training_cases import Listed

    before = {p.pid for p in psutil.Process().children(recursive=True)}
    torch.manual_seed(0)
    train = loader(Listed(blobs(400)), num_workers=2)
    history = helpers.fit(mlp(), train, epochs=2, step=pressing({3}))
    assert history.outcome == "interrupted"
    after = {
        p.pid
        for p in psutil.Process().children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE
    }
    assert after <= before
