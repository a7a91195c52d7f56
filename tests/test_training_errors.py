"""What ``fit`` says when something cannot work: the fault, its place and the way out.

Each message is checked for the words a learner needs, not for its wording.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import helpers
from helpers.loop import accelerator as accelerator_module
from helpers.loop.batches import Batches
from helpers.loop.run import NonFiniteLoss
from helpers.loop.steps import LabelGuard
from tests.training_cases import Listed, blobs, cnn, loader, mlp, pictures, same


def refuses(*words: str, error: type[Exception] = ValueError, **arguments: Any) -> None:
    """``fit`` raises ``error`` with all these words in its message."""
    model = arguments.pop("model", None)
    model = mlp() if model is None else model
    train = arguments.pop("train", None)
    with pytest.raises(error) as caught:
        helpers.fit(model, loader() if train is None else train, **arguments)
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


# Arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("accumulate", 0),
        ("patience", 0),
        ("save_every", 0),
    ],
)
def test_counts(name: str, value: Any) -> None:
    refuses(f"{name}={value}", "whole number", **{name: value}, valid=loader())


@pytest.mark.parametrize("lr", [0, -1e-3, math.nan])
def test_learning_rate(lr: float) -> None:
    refuses(f"lr={lr}", "positive", lr=lr)


@pytest.mark.parametrize("clip", [0, -1.0])
def test_clip(clip: float) -> None:
    refuses(f"clip={clip}", "positive", "None", clip=clip)


def test_patience_without_validation_data() -> None:
    refuses("patience=2", "valid=", patience=2)


def test_monitor_that_nobody_records_before_any_training() -> None:
    model = mlp()
    arguments: Any = {"valid": loader(), "patience": 1, "model": model}
    refuses("'valid_f1'", "valid_loss", **arguments, monitor="valid_f1")
    refuses("'accuracy'", "valid_loss", **arguments, monitor="accuracy")
    f1 = {"f1": torchmetrics.F1Score("multiclass", num_classes=3)}
    refuses("'valid_f2'", "valid_f1", **arguments, monitor="valid_f2", metrics=f1)
    assert same(model, mlp())


def test_precision_and_device() -> None:
    refuses("precision='fp8'", "'auto'", "'bf16'", precision="fp8")
    refuses("precision='fp16'", "CUDA", "'fp32'", precision="fp16", device="cpu")


def test_bf16_on_a_cpu_that_would_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator_module, "_cpu_has_bf16", lambda: False)
    refuses("bf16", "slower", "'fp32'", precision="bf16", device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there() -> None:
    refuses("'cuda'", "cpu", device="cuda")


def test_metrics() -> None:
    name, value = "metrics['f1']", torchmetrics.functional.f1_score
    refuses(name, "torchmetrics", error=TypeError, metrics={"f1": value})
    one = torchmetrics.Accuracy("multiclass", num_classes=3)
    refuses("dict", error=TypeError, metrics=one)


def test_a_metric_of_several_numbers() -> None:
    each = torchmetrics.F1Score("multiclass", num_classes=3, average=None)
    words = ("metrics['f1']", "(3,)", "one number")
    refuses(*words, error=TypeError, metrics={"f1": each}, valid=loader())


# Optimizer and scheduler -----------------------------------------------------


def test_nothing_to_train() -> None:
    refuses("no trainable parameter", "unfreeze", model=helpers.freeze(mlp()))


def test_optimizer_of_another_model() -> None:
    foreign = torch.optim.SGD(mlp().parameters(), lr=0.1)
    refuses("optimizer", "model.parameters()", optimizer=foreign)
    model, temperature = mlp(), nn.Parameter(torch.ones(()))
    both = torch.optim.SGD([*model.parameters(), temperature], lr=0.1)
    refuses("1 parameters", "model.temperature", model=model, optimizer=both)


def test_optimizer_that_is_none() -> None:
    words = ("optimizer", "SGD", "torch.optim")
    refuses(*words, error=TypeError, optimizer=torch.optim.SGD)


def test_schedulers() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = StepLR(torch.optim.SGD(mlp().parameters(), lr=0.1), 1)
    both: Any = {"model": model, "optimizer": optimizer}
    refuses("scheduler", "another optimizer", **both, scheduler=other)
    refuses("NoneType", error=TypeError, **both, scheduler=lambda o, n: None)
    plateau = ReduceLROnPlateau(optimizer)
    refuses("ReduceLROnPlateau", "patience", error=TypeError, **both, scheduler=plateau)


# Models ----------------------------------------------------------------------


def test_models_on_no_device_or_on_two() -> None:
    refuses("meta", "one device", model=nn.Linear(4, 3, device="meta"))
    two = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3, device="meta"))
    refuses("cpu, meta", "one device", model=two)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights(dtype: torch.dtype) -> None:
    refuses(str(dtype), "model.float()", "precision", model=mlp().to(dtype))
    frozen_half = nn.Sequential(helpers.freeze(nn.Linear(4, 4)).to(dtype), Upcast())
    helpers.fit(frozen_half, loader(Listed(Converted(dtype))))


class Upcast(nn.Linear):
    """A float32 head that takes what a half-precision body gives."""

    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.float())


class Converted(Listed):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(blobs())
        self.dtype = dtype

    def __getitem__(self, index: int) -> Any:
        x, y = self.dataset[index]
        return x.to(self.dtype), y


def test_something_that_is_no_model() -> None:
    for function in (helpers.fit, helpers.evaluate, helpers.predict):
        with pytest.raises(
            TypeError, match=r"mlp.*not an nn.Module.*call the function"
        ):
            function(mlp, loader())  # type: ignore[operator]


def test_a_model_without_a_head() -> None:
    from transformers import BertModel

    from tests.test_training_hygiene import Sentences, bert

    headless = BertModel(bert().config)
    with pytest.raises(ValueError, match=r"no head.*mean_pool"):
        helpers.predict(headless, loader(Sentences()))


def test_what_would_be_ignored_is_refused() -> None:
    from tests.test_training_hygiene import Sentences, bert

    refuses("save_every=5", "folder=", save_every=5)
    own = nn.CrossEntropyLoss(label_smoothing=0.1)
    step = own_step
    refuses("step=", "loss=", step=step, loss=own)
    refuses("dict batches", "step=", model=bert(), train=loader(Sentences()), loss=own)
    with pytest.raises(ValueError, match=r"step=.*loss="):
        helpers.evaluate(mlp(), loader(), step=step, loss=own)


def own_step(model: nn.Module, batch: Any) -> Any:
    outputs = model(batch[0])
    return nn.functional.cross_entropy(outputs, batch[1]), outputs


def test_a_seed_that_is_no_number() -> None:
    refuses("seed=None", "whole number", error=TypeError, seed=None)


def test_a_model_without_scores() -> None:
    flat = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    refuses("shape (8,)", "(n, classes)", model=flat)


# Loaders ---------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from blobs()


def test_things_that_are_no_loader() -> None:
    refuses("TensorDataset", "DataLoader(", error=TypeError, train=blobs())
    refuses("list", "DataLoader(", error=TypeError, train=[blobs()[0]])
    refuses("valid", "TensorDataset", error=TypeError, valid=blobs())


def test_loaders_without_batches() -> None:
    empty = DataLoader(blobs(0), 8)
    refuses("train", "no batches", "0 examples", train=empty)
    short = loader(blobs(5), drop_last=True)
    refuses("5 examples", "batch_size=8", "drop_last=True", train=short)
    refuses("valid", "no batches", valid=empty)


def test_datasets_without_places() -> None:
    stream = DataLoader(Stream(), 8)
    refuses("IterableDataset", "__getitem__", error=TypeError, train=stream)
    refuses("batch_size=None", train=DataLoader(blobs(), batch_size=None))


def test_batches_without_labels() -> None:
    alone = loader(TensorDataset(torch.randn(9, 4)))
    refuses("(x, y)", "step=", error=TypeError, train=alone)
    bare = loader([torch.zeros(4)] * 9)
    refuses("Tensor", "(x, y)", "step=", error=TypeError, train=bare)


def test_dicts_without_labels() -> None:
    from tests.test_training_hygiene import bert

    ids = [{"input_ids": torch.ones(4, dtype=torch.int64)}] * 4
    refuses("input_ids", '"labels"', model=bert(), train=loader(ids))


@pytest.mark.parametrize("channels_last", [False, True])
def test_data_on_another_device(channels_last: bool) -> None:
    x = torch.zeros(9, 3, 8, 8, device="meta")
    data = [(x[i], torch.tensor(0)) for i in range(9)]
    arguments: Any = {"train": loader(data), "channels_last": channels_last}
    refuses("meta", "model trains on cpu", ".to('cpu')", model=cnn(), **arguments)


# Labels ----------------------------------------------------------------------


def labelled(label: int, place: int = 17, wrap: Callable = Listed) -> DataLoader:
    data = blobs()
    data.tensors[1][place] = label
    return loader(wrap(data))


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
@pytest.mark.parametrize("label", [3, -1, 99])
def test_labels_out_of_range_name_the_example(label: int, wrap: Callable) -> None:
    words = ("example 17 ", f"is {label},", "3 outputs", "0..2")
    refuses(*words, train=labelled(label, wrap=wrap))


def test_labels_out_of_range_in_validation_and_evaluation() -> None:
    refuses("example 17 ", "is 3,", "0..2", valid=labelled(3))
    with pytest.raises(ValueError, match=r"example 17 .* is 3,"):
        helpers.evaluate(mlp(), labelled(3))


def test_labels_out_of_range_for_a_transformers_model() -> None:
    from tests.test_training_hygiene import Sentences, bert

    data = [Sentences()[i] for i in range(20)]
    data[13]["labels"] = torch.tensor(2)
    words = ("example 13 ", "is 2,", "2 outputs")
    refuses(*words, model=bert(), train=loader(data))


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
def test_on_an_accelerator_labels_are_watched_before_they_get_there(
    wrap: Callable,
) -> None:
    # The meta device stands for a GPU: the guard may only look at the host's copy.
    batches = Batches(labelled(3, wrap=wrap), "train", 0)
    device = torch.device("meta")
    guard = LabelGuard(mlp().to(device), batches, None, nn.functional.cross_entropy)
    with pytest.raises(ValueError, match=r"example 17 of train.dataset is 3,"):
        for part, batch in batches.read(batches.plan(0)):
            guard.check(part, batch, device)


def test_labels_that_are_no_classes_are_not_watched() -> None:
    batches = Batches(labelled(99), "train", 0)
    device = torch.device("meta")
    guard = LabelGuard(mlp().to(device), batches, None, nn.functional.mse_loss)
    for part, batch in batches.read(batches.plan(0)):
        guard.check(part, batch, device)


def test_the_label_that_means_no_label_is_left_out() -> None:
    history = helpers.fit(mlp(), labelled(-100))
    assert math.isfinite(history["train_loss"][0])


@pytest.mark.parametrize(
    "convert", [torch.Tensor.float, torch.Tensor.int, torch.Tensor.bool]
)
def test_labels_of_a_wrong_dtype(convert: Callable[[torch.Tensor], Any]) -> None:
    x, y = blobs().tensors
    data = TensorDataset(x, convert(y))
    words = (str(convert(y).dtype), "int64", "y.long()")
    refuses(*words, error=TypeError, train=loader(data))
    refuses(*words, error=TypeError, train=loader(Listed(data)))


# Losses ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_step_and_examples(value: float) -> None:
    data = blobs(20)
    data.tensors[0][13] = value
    model = mlp()
    with pytest.raises(NonFiniteLoss) as caught:
        helpers.fit(model, DataLoader(data, 8), epochs=2)
    text = str(caught.value)
    assert "epoch 1, batch 2 of 3" in text
    assert re.search(r"examples 8, 9, 10, 11, 12, 13, 14, 15 of", text)
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_loss_of_several_numbers() -> None:
    each = nn.CrossEntropyLoss(reduction="none")
    refuses("shape (8,)", "mean", loss=each)


def test_a_step_that_returns_no_pair() -> None:
    def step(model: nn.Module, batch: Any) -> Any:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    refuses("step", "(loss, outputs)", error=TypeError, step=step)

    def number(model: nn.Module, batch: Any) -> Any:
        return step(model, batch).item(), None

    refuses("float", ".item()", error=TypeError, step=number)


def test_metrics_of_batches_without_labels() -> None:
    def step(model: nn.Module, batch: Any) -> Any:
        outputs = model(batch[0])
        return outputs.square().mean(), outputs

    data = loader(TensorDataset(blobs().tensors[0]))
    one = {"accuracy": torchmetrics.Accuracy("multiclass", num_classes=3)}
    assert helpers.evaluate(mlp(), data, step=step)["loss"] > 0
    with pytest.raises(ValueError, match=r"'accuracy'.*need labels"):
        helpers.evaluate(mlp(), data, step=step, metrics=one)


def test_evaluation_complains_alike() -> None:
    with pytest.raises(TypeError, match="DataLoader"):
        helpers.evaluate(mlp(), blobs())
    with pytest.raises(ValueError, match="no batches"):
        helpers.evaluate(mlp(), DataLoader(blobs(0), 8))
    with pytest.raises(TypeError, match="metrics"):
        helpers.evaluate(mlp(), loader(), metrics={"f1": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no batches"):
        helpers.predict(mlp(), DataLoader(blobs(0), 8))
    assert helpers.evaluate(cnn(), loader(pictures()))["loss"] > 0


class Given:
    """A metric that computes what it was given."""

    higher_is_better = True

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def update(self, preds: Any, target: Any) -> None: ...

    def reset(self) -> None: ...

    def compute(self) -> float:
        return next(self.values)


def test_a_single_column_has_no_accuracy() -> None:
    def loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], y.float())

    data = loader(blobs(classes=2))
    assert set(helpers.evaluate(mlp(classes=1), data, loss=loss)) == {"loss"}


@pytest.mark.parametrize(
    "loss", [nn.functional.mse_loss, nn.SmoothL1Loss(), nn.functional.l1_loss]
)
def test_a_regression_does_not_broadcast(loss: Any) -> None:
    x, _ = blobs().tensors
    flat = loader(TensorDataset(x, x.sum(1)))
    words = ("(8, 1)", "(8,)", "y.unsqueeze(1)")
    refuses(*words, model=mlp(classes=1), train=flat, loss=loss)
    column = loader(TensorDataset(x, x.sum(1, keepdim=True)))
    helpers.fit(mlp(classes=1), column, loss=loss)


def test_a_metric_may_not_take_the_place_of_the_loss() -> None:
    refuses("'loss'", "another name", valid=loader(), metrics={"loss": Given(1.0)})


def test_a_monitor_that_is_no_number_ends_the_run_and_keeps_the_epoch(
    tmp_path: Any,
) -> None:
    common: Any = {"monitor": "valid_m", "patience": 2, "folder": tmp_path}
    common |= {"valid": loader(), "epochs": 2}
    metrics = {"m": Given(0.5, math.nan)}
    refuses("valid_m", "NaN", "epoch 2", metrics=metrics, **common)
    model, whole = mlp(), mlp()
    metrics = {"m": Given(0.6)}
    history = helpers.fit(model, loader(), metrics=metrics, **common)
    assert history["valid_m"] == [0.5, 0.6]
    helpers.fit(whole, loader(), epochs=2)
    assert same(model, whole)


@pytest.mark.parametrize(
    "wrong", [{"precision": "fp16"}, {"scheduler": 5}, {"optimizer": 5}]
)
def test_a_refused_fit_leaves_modes_and_gradients(wrong: Any) -> None:
    model = mlp().train()
    model[3].weight.grad = torch.ones(3, 16)
    with pytest.raises((ValueError, TypeError)):
        helpers.fit(model, loader(), device="cpu", **wrong)
    assert model.training
    assert model[3].weight.grad is not None


def note_of(model: nn.Module, train: Any) -> str:
    with pytest.raises(Exception) as caught:
        helpers.evaluate(model, train)
    return "\n".join([str(caught.value), *caught.value.__notes__])


def test_an_index_error_of_the_dataset_is_not_the_embeddings() -> None:
    class Short(Listed):
        def __getitem__(self, index: int) -> Any:
            return [self.dataset[index]][index // 13]

    assert "Embedding" not in note_of(mlp(), loader(Short(blobs())))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_a_model_of_another_dtype_is_told_from_such_data(kind: torch.dtype) -> None:
    assert "model.float()" in note_of(mlp().to(kind), loader())
    assert "model.float()" in note_of(cnn().to(kind), loader(pictures()))


def test_labels_in_a_column_or_in_words() -> None:
    x, y = blobs().tensors
    column = note_of(mlp(), loader(TensorDataset(x, y[:, None])))
    assert "y.squeeze(1)" in column

    class Words(Listed):
        def __getitem__(self, index: int) -> Any:
            return self.dataset[index][0], "cat"

    words = note_of(mlp(), loader(Words(blobs())))
    assert "str" in words
    assert "number" in words
