"""A checkpoint continues its own run exactly, no other run, and never when damaged."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import TensorDataset

import helpers
from helpers.loop import checkpoints
from helpers.loop.checkpoints import CheckpointMismatch, name_of
from helpers.loop.run import Run
from tests.training_cases import Augmented, blobs, cnn, loader, mlp, pictures, same

FILE = "checkpoint.safetensors"


class Stop(Exception):
    """Ends a run in the middle, as a crash would."""


def crashing(at: int) -> Callable[[nn.Module, Any], Any]:
    """A classification step that fails when it is called for the ``at``-th time."""
    calls = iter(range(at))

    def step(model: nn.Module, batch: Any) -> Any:
        if next(calls, None) is None:
            raise Stop
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    return step


def crash_and_resume(
    folder: Path, make: Callable[[], nn.Module], at: int, **arguments: Any
) -> tuple[nn.Module, Any]:
    """Train until the crash, then again with a new model; return what came out."""
    arguments = {"folder": folder, "save_every": 1, **arguments}
    with pytest.raises(Stop):
        helpers.fit(make(), step=crashing(at), **arguments)
    model = make()
    return model, helpers.fit(model, step=crashing(10**9), **arguments)


def without_seconds(history: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in history.rows]


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, int], Any]] = {
    "multi-step": lambda o, n: lr_scheduler.MultiStepLR(o, [3, 10], 0.1),
    "one cycle": lambda o, n: lr_scheduler.OneCycleLR(o, 0.1, n),
    "sequence": lambda o, n: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, 0.1, 1.0, 4), lr_scheduler.CosineAnnealingLR(o, n)],
        [4],
    ),
    "function": lambda o, n: lr_scheduler.LambdaLR(o, lambda step: 1 - step / n),
    "restarts": lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("at", [5, 12])
def test_every_schedule_goes_on(name: str, at: int, tmp_path: Path) -> None:
    whole = mlp(dropout=0.3)
    common: Any = {
        "train": loader(Augmented(blobs())),
        "valid": loader(),
        "epochs": 2,
        "scheduler": SCHEDULES[name],
    }
    expected = helpers.fit(whole, step=crashing(10**9), **common)
    model, history = crash_and_resume(tmp_path, lambda: mlp(dropout=0.3), at, **common)
    assert same(whole, model)
    assert without_seconds(history) == without_seconds(expected)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    "plain": lambda p: torch.optim.SGD(p, 0.05),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "groups": lambda p: torch.optim.AdamW([{"params": [q]} for q in p], lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, centered=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on(name: str, tmp_path: Path) -> None:
    def train(model: nn.Module, **arguments: Any) -> None:
        helpers.fit(
            model,
            loader(),
            epochs=2,
            optimizer=OPTIMIZERS[name](model.parameters()),
            folder=tmp_path,
            save_every=1,
            **arguments,
        )

    model = mlp(dropout=0.3)
    with pytest.raises(Stop):
        train(model, step=crashing(11))
    resumed, whole = mlp(dropout=0.3), mlp(dropout=0.3)
    train(resumed, step=crashing(10**9))
    train(whole, step=crashing(10**9), resume=False)
    assert same(whole, resumed)


def test_statistics_of_batch_norm_and_frozen_parts_go_on(tmp_path: Path) -> None:
    def make() -> nn.Module:
        model = cnn()
        helpers.freeze(model[0])
        return model

    common: Any = {"train": loader(pictures()), "epochs": 2, "accumulate": 2}
    whole = make()
    helpers.fit(whole, step=crashing(10**9), **common)
    model, _ = crash_and_resume(tmp_path, make, 4, **common)
    assert same(whole, model)


def test_moments_stored_channels_last_go_on(tmp_path: Path) -> None:
    common: Any = {"train": loader(pictures()), "epochs": 2, "channels_last": True}
    whole = cnn()
    helpers.fit(whole, step=crashing(10**9), **common)
    model, _ = crash_and_resume(tmp_path, cnn, 4, **common)
    assert same(whole, model)


def test_patience_goes_on_with_its_best_weights(tmp_path: Path) -> None:
    common: Any = {
        "train": loader(),
        "valid": loader(blobs(30, seed=5)),  # other clouds: it soon gets worse
        "epochs": 8,
        "lr": 0.05,
        "patience": 3,
    }
    whole = mlp()
    expected = helpers.fit(whole, step=crashing(10**9), **common)
    assert expected.outcome == "early stop"
    steps = 8 * (len(expected) - 1) + 4 * (len(expected) - 1) + 5
    model, history = crash_and_resume(tmp_path, mlp, steps, **common)
    assert same(whole, model)
    assert history.outcome == "early stop"
    again = mlp()  # finished: nothing more to do, the best weights come back
    history = helpers.fit(again, step=crashing(0), folder=tmp_path, **common)
    assert same(whole, again)
    assert without_seconds(history) == without_seconds(expected)


@pytest.mark.parametrize("patience", [None, 5])
def test_more_epochs_continue_a_finished_run(
    patience: int | None, tmp_path: Path
) -> None:
    # With patience the best weights are put back, but training goes on from the last.
    common: Any = {"valid": loader(blobs(30, seed=5)), "lr": 0.05, "patience": patience}
    whole, model = mlp(), mlp()
    helpers.fit(whole, loader(), epochs=5, **common)
    helpers.fit(model, loader(), epochs=3, folder=tmp_path, **common)
    history = helpers.fit(model, loader(), epochs=5, folder=tmp_path, **common)
    assert same(whole, model)
    assert len(history) == 5


def test_the_same_optimizer_object_goes_on_in_the_same_kernel(tmp_path: Path) -> None:
    def prepare(model: nn.Module) -> Any:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, 16)
        return {"optimizer": optimizer, "scheduler": schedule, "epochs": 2}

    whole, model = mlp(), mlp()
    helpers.fit(whole, loader(), **prepare(whole))
    arguments = {"folder": tmp_path, "save_every": 1, **prepare(model)}
    with pytest.raises(Stop):
        helpers.fit(model, loader(), step=crashing(6), **arguments)
    helpers.fit(model, loader(), step=crashing(10**9), **arguments)
    assert same(whole, model)


# Another run's checkpoint ----------------------------------------------------


def wider() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 17), nn.ReLU(), nn.Linear(17, 3))


def frozen(scale: float = 1.0) -> nn.Module:
    model = mlp()
    helpers.freeze(model[0])
    with torch.no_grad():
        model[0].weight *= scale
    return model


@pytest.mark.parametrize(
    ("words", "make", "changes"),
    [
        ("0.weight was [16, 4]", wider, {}),
        ("0.weight was [16, 4] torch.float32 learns", frozen, {}),
        ("lr was 0.001, is 0.002", mlp, {"lr": 2e-3}),
        ("seed: was 0, is 1", mlp, {"seed": 1}),
        ("accumulate: was 1, is 2", mlp, {"accumulate": 2}),
        ("clip: was 1.0, is 2.0", mlp, {"clip": 2.0}),
        ("scheduler: was None", mlp, {"scheduler": SCHEDULES["one cycle"]}),
        ("examples: was 60, is 61", mlp, {"train": loader(blobs(61))}),
        ("batches an epoch: was 8, is 15", mlp, {"train": loader(batch_size=4)}),
        ("order of the first epoch", mlp, {"train": loader(shuffle=False)}),
        ("2 was Dropout(p=0.0", lambda: mlp(dropout=0.5), {}),
        (
            "'label_smoothing': 0.1",
            mlp,
            {"loss": nn.CrossEntropyLoss(None, label_smoothing=0.1)},
        ),
        ("channels last: was False, is True", mlp, {"channels_last": True}),
    ],
)
def test_another_runs_checkpoint_is_refused(
    words: str, make: Callable[[], nn.Module], changes: Any, tmp_path: Path
) -> None:
    helpers.fit(mlp(), loader(), folder=tmp_path)
    model, arguments = make(), {"train": loader(), "folder": tmp_path, **changes}
    with pytest.raises(CheckpointMismatch) as caught:
        helpers.fit(model, **arguments)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "resume=False" in str(caught.value)
    assert same(model, make())
    history = helpers.fit(model, **arguments, resume=False)
    assert history.outcome == "finished"


def other_step(model: nn.Module, batch: Any) -> Any:
    outputs = model(batch[0])
    return -nn.functional.cross_entropy(outputs, batch[1]), outputs


def weighted(last: float) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, last]))


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("step", {}, {"step": other_step}),
        ("step", {"step": crashing(99)}, {"step": other_step}),
        (
            "loss",
            {"loss": lambda o, y: nn.functional.cross_entropy(o, y)},
            {"loss": lambda o, y: nn.functional.multi_margin_loss(o, y)},
        ),
        ("loss", {"loss": weighted(1.0)}, {"loss": weighted(5.0)}),
        (
            "scheduler settings",
            {"scheduler": lambda o, n: lr_scheduler.StepLR(o, 3, gamma=0.1)},
            {"scheduler": lambda o, n: lr_scheduler.StepLR(o, 3, gamma=0.9)},
        ),
    ],
)
def test_another_step_loss_or_schedule_is_refused(
    key: str, first: Any, second: Any, tmp_path: Path
) -> None:
    helpers.fit(mlp(), loader(), folder=tmp_path, **first)
    helpers.fit(mlp(), loader(), folder=tmp_path, **first)  # itself goes on
    with pytest.raises(CheckpointMismatch, match=f"  {key}: was"):
        helpers.fit(mlp(), loader(), folder=tmp_path, **second)


def test_a_function_of_the_notebook_is_known_by_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = name_of(other_step)
    monkeypatch.setattr(other_step, "__module__", "__main__")
    before = name_of(other_step)
    assert library == "other_step"
    assert before == name_of(other_step) != library
    edited = other_step.__code__.replace(co_consts=(None, 5))
    monkeypatch.setattr(other_step, "__code__", edited)
    assert name_of(other_step) != before


def test_a_schedule_over_a_used_optimizer_is_the_same(tmp_path: Path) -> None:
    model = mlp()
    common: Any = {
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "scheduler": lambda o, n: lr_scheduler.StepLR(o, 3, gamma=0.1),
        "folder": tmp_path,
    }
    helpers.fit(model, loader(), **common)
    helpers.fit(model, loader(), **common)


# Before the first step -------------------------------------------------------


def test_a_run_without_a_step_goes_on_from_its_first_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, whole = mlp(), mlp()
    with pytest.raises(Stop):
        helpers.fit(model, loader(), step=crashing(5), folder=tmp_path)
    helpers.fit(model, loader(), step=crashing(99), folder=tmp_path)
    helpers.fit(whole, loader())
    assert same(model, whole)
    assert capsys.readouterr().out == ""


def test_where_nothing_was_trained_another_run_may_begin(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        helpers.fit(mlp(), loader(), step=crashing(5), folder=tmp_path)
    other, whole = wider(), wider()
    helpers.fit(other, loader(), folder=tmp_path)
    helpers.fit(whole, loader())
    assert same(other, whole)


def test_what_cannot_be_saved_is_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="begins anew") as caught:
        helpers.fit(mlp(), loader(), step=crashing(0), folder=tmp_path / "file")
    assert "intact" not in str(caught.value)
    model = mlp()
    sgd = torch.optim.SGD(model.parameters(), lr=np.float32(0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plain numbers"):
        helpers.fit(model, loader(), optimizer=sgd, step=crashing(0), folder=tmp_path)


def test_an_error_in_validation_keeps_the_trained_epoch(tmp_path: Path) -> None:
    x, y = blobs(30, seed=5).tensors
    wrong = y.clone()
    wrong[20] = 9
    model, whole = mlp(), mlp()
    with pytest.raises(ValueError, match="label of example 20"):
        helpers.fit(
            model, loader(), loader(TensorDataset(x, wrong)), epochs=2, folder=tmp_path
        )
    valid = loader(TensorDataset(x, y))
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert found.values["history"]["steps"] == 8
    history = helpers.fit(mlp(), loader(), valid, epochs=2, folder=tmp_path)
    expected = helpers.fit(whole, loader(), valid, epochs=2)
    assert without_seconds(history) == without_seconds(expected)


def test_a_batch_that_spoilt_statistics_spoils_no_checkpoint(tmp_path: Path) -> None:
    x, y = blobs().tensors
    spoilt = x.clone()
    spoilt[20] = float("nan")

    def make() -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), mlp())

    model, whole = make(), make()
    with pytest.raises(ArithmeticError):
        helpers.fit(model, loader(TensorDataset(spoilt, y), shuffle=False))
    with pytest.raises(ValueError, match="model's 0.running_mean holds NaN"):
        helpers.fit(model, loader())
    with pytest.raises(ValueError, match="0.running_mean holds NaN"):
        helpers.fit(model, loader(), folder=tmp_path)
    assert not list(tmp_path.iterdir())

    def mending(model: nn.Module, batch: Any) -> Any:
        return crashing(99)(model, (batch[0] * scale, batch[1]))

    model, scale = make(), float("nan")
    with pytest.raises(ArithmeticError):
        helpers.fit(model, loader(), step=mending, folder=tmp_path)
    scale = 1.0
    helpers.fit(model, loader(), step=mending, folder=tmp_path)
    helpers.fit(whole, loader())
    assert same(model, whole)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = mlp()
    with torch.no_grad():
        model[0].weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"0\.weight holds inf"):
        helpers.fit(model, loader())


def test_a_mask_of_minus_infinity_is_no_fault() -> None:
    model = mlp()
    model.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    helpers.fit(model, loader())


def test_another_optimizer_or_backbone_is_refused(tmp_path: Path) -> None:
    helpers.fit(frozen(), loader(), folder=tmp_path)
    with pytest.raises(CheckpointMismatch, match="frozen weights"):
        helpers.fit(frozen(2.0), loader(), folder=tmp_path)
    model = frozen()
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3)
    with pytest.raises(CheckpointMismatch, match="kind was AdamW, is SGD"):
        helpers.fit(model, loader(), folder=tmp_path, optimizer=sgd)


# Damage ----------------------------------------------------------------------


def trained(folder: Path) -> bytes:
    helpers.fit(mlp(), loader(), folder=folder)
    return (folder / FILE).read_bytes()


def refused(folder: Path) -> str:
    model = mlp()
    with pytest.raises(ValueError) as caught:
        helpers.fit(model, loader(), epochs=2, folder=folder)
    assert same(model, mlp())
    assert str(folder) in str(caught.value)
    assert "resume=False" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = trained(tmp_path)
    (tmp_path / FILE).write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refused(tmp_path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    whole = trained(tmp_path)
    generator = random.Random(0)
    header = int.from_bytes(whole[:8], "little")
    places = [generator.randrange(8 * 8) for _ in range(5)]
    places += [generator.randrange(8 * header) + 64 for _ in range(60)]
    places += [generator.randrange(8 * len(whole)) for _ in range(35)]
    for place in places:
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        (tmp_path / FILE).write_bytes(changed)
        with pytest.raises(ValueError, match="damaged|not one of fit's"):
            checkpoints.load(tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(3)}, tmp_path / FILE)
    assert "not one of fit's" in refused(tmp_path)


def full_disk(*args: Any, **kwargs: Any) -> None:
    Path(args[1]).write_bytes(b"half a file")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full_disk)
        with pytest.raises(OSError, match="No space left") as caught:
            helpers.fit(mlp(), loader(), epochs=2, folder=tmp_path)
    for word in (str(tmp_path), "Make room", "intact"):
        assert word in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == whole
    model, expected = mlp(), mlp()
    helpers.fit(model, loader(), epochs=2, folder=tmp_path)
    helpers.fit(expected, loader(), epochs=2)
    assert same(model, expected)


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="give a folder that can be written"):
        helpers.fit(mlp(), loader(), folder=tmp_path / "file")

    def read_only(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoints, "save_file", read_only)
    with pytest.raises(OSError, match="give a folder that can be written"):
        helpers.fit(mlp(), loader(), folder=tmp_path / "new")


def test_a_value_that_no_checkpoint_can_hold_is_named(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1))
    with pytest.raises(TypeError, match="plain numbers"):
        helpers.fit(model, loader(), optimizer=optimizer, folder=tmp_path)


def test_what_a_killed_save_left_is_tidied(tmp_path: Path) -> None:
    here = socket.gethostname()
    (tmp_path / f".saving@{here}@999999999@checkpoint").write_bytes(b"half a file")
    theirs = tmp_path / f".saving@{here}@{os.getppid()}@checkpoint"
    theirs.write_bytes(b"another run that still lives is writing this")
    helpers.fit(mlp(), loader(), folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, theirs.name}


def test_tied_and_shared_weights_are_saved(tmp_path: Path) -> None:
    def make() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
        model[1].weight = model[0].weight
        return model

    whole = make()
    helpers.fit(whole, loader(), step=crashing(10**9))
    model, _ = crash_and_resume(tmp_path, make, 5, train=loader())
    assert same(whole, model)
    assert model[1].weight is model[0].weight  # type: ignore[index]


def test_a_frozen_tied_weight_is_in_no_checkpoint(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    helpers.fit(model, loader(), folder=tmp_path)
    found = checkpoints.load(tmp_path)
    assert found is not None
    assert set(found.tensors["model"]) == {"0.bias", "1.bias", "2.weight", "2.bias"}


def test_a_checkpoint_is_written_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[int, int]] = []
    save = Run.save

    def spy(run: Run) -> None:
        saved.append((run.epoch, run.step))
        save(run)

    monkeypatch.setattr(Run, "save", spy)
    helpers.fit(mlp(), loader(), folder=tmp_path, save_every=3)
    assert saved == [(0, 0), (0, 3), (0, 6), (1, 0)]
    assert (tmp_path / FILE).stat().st_size < 20_000
