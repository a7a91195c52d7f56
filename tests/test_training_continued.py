"""The same folder continues the same run, says so, and refuses everything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import helpers
from tests.test_checkpoints import Stop, crashing
from tests.test_training_interrupt import ctrl_c, pressing
from tests.training_cases import Augmented, Listed, blobs, loader, mlp, same


def other_start(seed: int = 2) -> nn.Module:
    """The network of :func:`mlp` with other initial weights."""
    model = mlp()
    torch.manual_seed(seed)
    for part in model:  # type: ignore[attr-defined]
        if isinstance(part, nn.Linear):
            part.reset_parameters()
    return model


def refuses(*words: str, model: nn.Module | None = None, **arguments: Any) -> None:
    """``fit`` refuses the folder in these words and leaves the model as it is."""
    model = mlp() if model is None else model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train = arguments.pop("train", None)
    with pytest.raises(ValueError) as caught:
        helpers.fit(model, loader() if train is None else train, **arguments)
    assert type(caught.value).__name__ == "CheckpointMismatch"
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    assert same(model, before)


# The line ------------------------------------------------------------------------


def test_a_continued_run_says_so_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    common: Any = {"epochs": 2, "folder": "runs/first"}
    helpers.fit(mlp(), loader(), step=pressing({10}), **common)
    assert capsys.readouterr().out == ""
    common["step"] = pressing(set())
    helpers.fit(mlp(), loader(), **common)
    assert capsys.readouterr().out == (
        "continued from epoch 2 (step 11) in runs/first\n"
    )
    common |= {"epochs": 3, "folder": Path("runs") / "first"}
    helpers.fit(mlp(), loader(), **common)
    assert capsys.readouterr().out == (
        "continued from epoch 2 (step 16) in runs/first\n"
    )


def test_a_finished_run_says_that_nothing_is_left_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helpers.fit(mlp(), loader(), epochs=2, folder=tmp_path)
    helpers.fit(mlp(), loader(), epochs=2, folder=tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("continued from epoch 2 (step 16)")
    assert "nothing left to train" in line
    helpers.fit(mlp(), loader(), epochs=2, folder=tmp_path, resume=False)
    assert capsys.readouterr().out == ""


# The model -----------------------------------------------------------------------


def test_other_initial_weights_are_refused(tmp_path: Path) -> None:
    helpers.fit(mlp(), loader(), folder=tmp_path)
    words = ("weights", "resume=False", "folder", str(tmp_path))
    refuses(*words, model=other_start(), folder=tmp_path)
    refuses(*words, model=other_start(), folder=tmp_path, epochs=2)
    history = helpers.fit(other_start(), loader(), folder=tmp_path, resume=False)
    assert history.outcome == "finished"
    # From now on the folder belongs to that model.
    helpers.fit(other_start(), loader(), folder=tmp_path)
    refuses(*words, folder=tmp_path)


def test_the_trained_model_and_a_fresh_one_both_continue(tmp_path: Path) -> None:
    whole, trained, fresh = mlp(), mlp(), mlp()
    helpers.fit(whole, loader(), epochs=4)
    helpers.fit(trained, loader(), epochs=2, folder=tmp_path)
    helpers.fit(trained, loader(), epochs=3, folder=tmp_path)
    helpers.fit(fresh, loader(), epochs=4, folder=tmp_path)
    assert same(whole, fresh)
    refuses("weights", model=trained, epochs=5, folder=tmp_path)  # of three epochs


def test_the_best_weights_of_an_early_stop_continue(tmp_path: Path) -> None:
    worse = loader(blobs(30, seed=5))
    common: Any = {"epochs": 8, "lr": 0.05, "patience": 2, "folder": tmp_path}
    model = mlp()
    history = helpers.fit(model, loader(), worse, **common)
    assert history.outcome == "early stop"
    again = helpers.fit(model, loader(), worse, **common)
    assert again.rows == history.rows


@pytest.mark.parametrize("how", ["crash", "second Ctrl-C"])
def test_a_model_left_in_mid_run_continues_in_the_same_kernel(
    how: str, tmp_path: Path
) -> None:
    def twice() -> None:
        ctrl_c()
        ctrl_c()

    common: Any = {"epochs": 3, "folder": tmp_path, "save_every": 3}
    model, whole = mlp(), mlp()
    step = pressing({7}, twice)
    if how == "crash":
        step = crashing(7)
        with pytest.raises(Stop):
            helpers.fit(model, loader(), step=step, **common)
    else:
        helpers.fit(model, loader(), step=step, **common)
    # Its seventh step is in no checkpoint; the run goes on from the sixth.
    step = crashing(99) if how == "crash" else pressing(set())
    helpers.fit(model, loader(), step=step, **common)
    helpers.fit(whole, loader(), epochs=3)
    assert same(model, whole)


def test_a_model_changed_after_a_crash_is_refused(tmp_path: Path) -> None:
    model = mlp()
    common: Any = {"folder": tmp_path, "save_every": 3}
    with pytest.raises(Stop):
        helpers.fit(model, loader(), step=crashing(5), **common)
    other = tmp_path / "other"
    helpers.fit(other_start(), loader(), folder=other)
    refuses("weights", model=model, folder=other)  # left by another run
    model.load_state_dict(other_start().state_dict())
    refuses("weights", model=model, step=crashing(99), **common)


def test_statistics_of_a_batch_norm_are_initial_weights_too(tmp_path: Path) -> None:
    from tests.training_cases import cnn, pictures

    helpers.fit(cnn(), loader(pictures()), folder=tmp_path)
    model = cnn()
    model[1].running_mean += 1
    train = loader(pictures())
    refuses("weights", model=model, train=train, folder=tmp_path)
    helpers.fit(cnn(), train, epochs=2, folder=tmp_path)


# The data ------------------------------------------------------------------------


def flipped(n: int = 60) -> TensorDataset:
    x, y = blobs(n).tensors
    return TensorDataset(x, 2 - y)


WRAPS: dict[str, Callable[[Any], Any]] = {
    "in memory": lambda d: d,
    "one by one": Listed,
    "augmented": Augmented,
    "subset": lambda d: Subset(d, range(60)),
}


@pytest.mark.parametrize("name", WRAPS)
def test_other_labels_are_refused(name: str, tmp_path: Path) -> None:
    def train(data: Any) -> DataLoader:
        return loader(WRAPS[name](data))

    helpers.fit(mlp(), train(blobs()), folder=tmp_path)
    refuses("labels", "resume=False", train=train(flipped()), folder=tmp_path)
    helpers.fit(mlp(), train(blobs()), epochs=2, folder=tmp_path)


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    helpers.fit(mlp(), loader(), folder=tmp_path)
    x, y = blobs().tensors
    scaled = loader(TensorDataset(x / 2, y))
    refuses("inputs", "resume=False", train=scaled, folder=tmp_path)


def test_one_mended_label_in_memory_is_noticed(tmp_path: Path) -> None:
    data = blobs(3000)
    helpers.fit(mlp(), loader(data, 500), folder=tmp_path)
    data.tensors[1][1235] = 0
    refuses("labels", train=loader(data, 500), folder=tmp_path)


def test_other_labels_in_dicts_are_refused(tmp_path: Path) -> None:
    from tests.test_training_hygiene import Sentences, bert

    class Flipped(Sentences):
        def __getitem__(self, index: int) -> Any:
            example = super().__getitem__(index)
            return {**example, "labels": 1 - example["labels"]}

    helpers.fit(bert(), loader(Sentences()), folder=tmp_path)
    train = loader(Flipped())
    refuses("labels", model=bert(), train=train, folder=tmp_path)


def test_other_validation_data_is_refused_where_it_decides(tmp_path: Path) -> None:
    def fit(valid: Any, **arguments: Any) -> Any:
        folder = tmp_path / str(arguments)
        return helpers.fit(mlp(), loader(), loader(valid), folder=folder, **arguments)

    fit(blobs(30), patience=1)
    with pytest.raises(ValueError, match="validation data: labels was"):
        fit(flipped(30), patience=1)
    fit(blobs(30))
    fit(flipped(30))  # without patience it decides nothing


class OwnGenerator(Listed):
    """Noise that no seed of the course reaches, as some libraries draw it."""

    def __getitem__(self, index: int) -> Any:
        x, y = self.dataset[index]
        noise = np.random.default_rng().normal(size=len(x))
        return x + torch.from_numpy(noise).float(), y


def test_noise_that_cannot_be_seeded_is_no_reason_to_refuse(tmp_path: Path) -> None:
    helpers.fit(mlp(), loader(OwnGenerator(blobs())), folder=tmp_path)
    train = loader(OwnGenerator(blobs()))
    assert len(helpers.fit(mlp(), train, epochs=2, folder=tmp_path)) == 2
    train = loader(OwnGenerator(flipped()))
    refuses("labels", train=train, epochs=2, folder=tmp_path)


def test_looking_at_the_data_is_cheap_and_only_for_a_folder(tmp_path: Path) -> None:
    class Counted(Listed):
        reads = 0

        def __getitem__(self, index: int) -> Any:
            self.reads += 1
            return self.dataset[index]

    data = Counted(blobs(600))
    helpers.fit(mlp(), loader(data, 100))
    assert data.reads == 600
    helpers.fit(mlp(), loader(data, 100), folder=tmp_path)
    assert data.reads <= 2 * 600 + 64


def test_a_folder_changes_no_random_number(tmp_path: Path) -> None:
    with_folder, without = mlp(dropout=0.3), mlp(dropout=0.3)
    helpers.fit(with_folder, loader(Augmented(blobs())), folder=tmp_path)
    helpers.fit(without, loader(Augmented(blobs())))
    assert same(with_folder, without)


# The length ----------------------------------------------------------------------


def test_fewer_epochs_than_the_checkpoint_has_are_refused(tmp_path: Path) -> None:
    helpers.fit(mlp(), loader(), epochs=2, folder=tmp_path)
    words = ("2 epochs", "epochs=1", "resume=False", "folder", str(tmp_path))
    refuses(*words, epochs=1, lr=0.1, folder=tmp_path)
    refuses(*words, epochs=1, folder=tmp_path)


def test_an_epoch_that_was_begun_counts(tmp_path: Path) -> None:
    stopped = helpers.fit(
        mlp(), loader(), epochs=3, step=pressing({10}), folder=tmp_path
    )
    assert stopped.outcome == "interrupted"
    refuses("epochs=1", epochs=1, folder=tmp_path)
    common: Any = {"step": pressing(set()), "folder": tmp_path}
    assert len(helpers.fit(mlp(), loader(), epochs=2, **common)) == 2
    assert re.match("finished|early", helpers.fit(mlp(), loader(), epochs=2).outcome)
