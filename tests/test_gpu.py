"""What only a GPU can show: half precision, its memory, exact resuming there."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset

import helpers
from helpers.loop.run import NonFiniteGradient, NonFiniteLoss
from tests.test_checkpoints import Stop, crashing
from tests.test_training_gradients import breaking
from tests.training_cases import (
    Augmented,
    Listed,
    blobs,
    cnn,
    distance,
    loader,
    mlp,
    overflowing_step,
    pictures,
    same,
)

# One skip for all of them, so that it is seen.
if not torch.cuda.is_available():
    pytest.skip("GPU checks did not run: no CUDA device", allow_module_level=True)

ROOT = Path(__file__).parent.parent

needs_bf16 = pytest.mark.skipif(
    not torch.cuda.is_bf16_supported(False), reason="this GPU does not compute in bf16"
)


def dtypes(model: nn.Module) -> set[torch.dtype]:
    """A set that fills with the dtypes of the last layer's outputs."""
    seen: set[torch.dtype] = set()
    layer = list(model.modules())[-1]
    layer.register_forward_hook(lambda module, inputs, out: seen.add(out.dtype))
    return seen


@needs_bf16
@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_bf16(precision: Any) -> None:
    model = mlp()
    seen = dtypes(model)
    history = helpers.fit(
        model, loader(), loader(), epochs=6, lr=0.02, precision=precision
    )
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert next(model.parameters()).device.type == "cuda"
    assert history["valid_accuracy"][-1] > 0.9


def test_fp16_with_its_scaler() -> None:
    model = mlp()
    seen = dtypes(model)
    history = helpers.fit(
        model, loader(), loader(), epochs=6, lr=0.02, precision="fp16"
    )
    assert seen == {torch.float16}
    assert history["valid_accuracy"][-1] > 0.9
    assert all(p.isfinite().all() for p in model.parameters())


def test_fp16_skips_steps_whose_gradients_overflow() -> None:
    model = mlp()

    def constant(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    history = helpers.fit(
        model,
        loader(),
        step=overflowing_step(at=4),
        precision="fp16",
        scheduler=constant,
        lr=0.01,
    )
    assert history.skipped == 1
    assert history.steps == 8
    assert history["lr"] == pytest.approx([0.01 * 0.5**7])
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
@pytest.mark.parametrize("at", [3, 13])
def test_resuming_is_exact(precision: Any, at: int, tmp_path: Path) -> None:
    common: Any = {
        "train": loader(Augmented(blobs())),
        "valid": loader(),
        "epochs": 2,
        "precision": precision,
        "accumulate": 2,
    }
    whole, model = mlp(dropout=0.3), mlp(dropout=0.3)
    helpers.fit(whole, step=crashing(10**9), **common)
    with pytest.raises(Stop):
        helpers.fit(
            mlp(dropout=0.3),
            step=crashing(at),
            folder=tmp_path,
            save_every=1,
            **common,
        )
    helpers.fit(model, step=crashing(10**9), folder=tmp_path, save_every=1, **common)
    assert same(whole, model)


class Words(nn.Module):
    """An embedding and a convolution: their gradients are sums in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 64)
        self.convolution = nn.Conv1d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states = self.embedding(tokens).transpose(1, 2)
        return self.head(self.convolution(states).relu().mean(2))


def words() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Words()


def sentences(n: int = 512) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(20, (n, 64), generator=generator)
    return TensorDataset(tokens, torch.arange(n) % 3)


def convolutions() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            # To one number: a larger grid has no deterministic gradient.
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 3),
        )


@pytest.mark.parametrize("make", [convolutions, words])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
def test_deterministic_resuming_is_exact(
    make: Any, precision: Any, tmp_path: Path
) -> None:
    data = pictures(512) if make is convolutions else sentences()
    common: Any = {
        "train": loader(data, batch_size=64),
        "valid": loader(data, batch_size=64),
        "epochs": 2,
        "precision": precision,
        "deterministic": True,
    }
    whole, again, resumed = make(), make(), make()
    for model in (whole, again):
        helpers.fit(model, step=crashing(10**9), **common)
    assert same(whole, again)
    keep: Any = {"folder": tmp_path, "save_every": 1}
    with pytest.raises(Stop):
        helpers.fit(make(), step=crashing(5), **keep, **common)
    helpers.fit(resumed, step=crashing(10**9), **keep, **common)
    assert same(whole, resumed)


@needs_bf16
def test_scores_are_fp32_by_default() -> None:
    model = mlp()
    seen = dtypes(model)
    helpers.fit(model, loader(), loader())
    assert seen == {torch.bfloat16}
    for call in (helpers.evaluate, helpers.predict):
        seen.clear()
        call(model, loader())
        assert seen == {torch.float32}


def test_data_in_memory_is_moved_once() -> None:
    seen: list[torch.Tensor] = []

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
                seen.append(args[0])
            return func(*args, **(kwargs or {}))

    data, model = blobs(), mlp().cuda()
    with Copies():
        helpers.fit(model, loader(data), epochs=3)
    assert [t.shape for t in seen if t.is_floating_point()] == [(60, 4)]
    assert {t.device.type for t in data.tensors} == {"cpu"}


def test_random_numbers_of_a_gpu_that_was_not_started_go_on() -> None:
    code = (
        "import torch, helpers\n"
        "from tests.training_cases import loader, mlp\n"
        "assert not torch.cuda.is_initialized()\n"
        "torch.cuda.manual_seed(5)\n"
        "helpers.fit(mlp(dropout=0.5), loader())\n"
        "found = torch.rand(3, device='cuda')\n"
        "torch.cuda.manual_seed(5)\n"
        "assert torch.equal(found, torch.rand(3, device='cuda'))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def allocated() -> int:
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
def test_memory_is_given_back(precision: Any) -> None:
    def once() -> None:
        model = nn.Sequential(nn.Linear(4, 2000), nn.ReLU(), nn.Linear(2000, 3))
        helpers.fit(model, loader(), loader(), patience=1, precision=precision)
        helpers.predict(model, loader())

    once()  # cuBLAS keeps its workspace
    before = allocated()
    for _ in range(3):
        once()
        assert allocated() <= before


@pytest.mark.parametrize("wrap", [lambda d: d, Listed], ids=["in memory", "one by one"])
def test_a_wrong_label_is_an_error_not_the_end_of_the_process(wrap: Any) -> None:
    data = blobs()
    data.tensors[1][17] = 3
    wrong = loader(wrap(data))
    for call in (
        lambda: helpers.fit(mlp(), wrong),
        lambda: helpers.fit(mlp(), loader(), wrong),
        lambda: helpers.evaluate(mlp(), wrong),
    ):
        with pytest.raises(ValueError, match=r"example 17 .* is 3,"):
            call()
    # After a device-side assert nothing would work any more.
    assert torch.ones(2, device="cuda").sum().item() == 2


def test_a_wrong_label_of_a_transformers_model() -> None:
    from tests.test_training_hygiene import Sentences, bert

    data = [Sentences()[i] for i in range(20)]
    data[13]["labels"] = torch.tensor(2)
    with pytest.raises(ValueError, match=r"example 13 .* is 2,"):
        helpers.fit(bert(), loader(data))


def test_a_loss_that_is_no_number_is_found_and_not_saved(tmp_path: Path) -> None:
    data = blobs(400)
    data.tensors[0][130] = torch.nan
    model = mlp()
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 17 of 50"):
        helpers.fit(model, loader(data, shuffle=False), folder=tmp_path, save_every=10)
    seen: list[int] = []

    def step(model: nn.Module, batch: Any) -> Any:
        seen.append(1)
        assert all(p.isfinite().all() for p in model.parameters())
        raise Stop

    with pytest.raises(Stop):
        helpers.fit(mlp(), loader(data, shuffle=False), folder=tmp_path, step=step)
    assert seen == [1]


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_that_is_no_number_moves_no_weight(
    fused: bool, tmp_path: Path
) -> None:
    model, train = mlp(), loader(blobs(400), shuffle=False)
    adamw = torch.optim.AdamW(model.cuda().parameters(), fused=fused)
    with pytest.raises(NonFiniteGradient, match="epoch 1, batch 17 of 50"):
        helpers.fit(
            model,
            train,
            optimizer=adamw,
            step=breaking(16),
            folder=tmp_path,
            save_every=10,
            precision="fp32",
        )
    assert all(p.isfinite().all() for p in model.parameters())
    adamw = torch.optim.AdamW(model.parameters(), fused=fused)
    common: Any = {"optimizer": adamw, "folder": tmp_path, "precision": "fp32"}
    history = helpers.fit(model, train, step=breaking(-1), **common)
    assert history.outcome == "finished"


def test_cpu_and_gpu_agree() -> None:
    on_cpu, on_gpu = cnn(), cnn()
    for model, device in [(on_cpu, "cpu"), (on_gpu, "cuda")]:
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        helpers.fit(
            model, loader(pictures()), optimizer=sgd, device=device, precision="fp32"
        )
    assert distance(on_cpu, on_gpu.cpu()) < 1e-3


def test_data_on_the_gpu_is_used_there() -> None:
    x, y = (t.cuda() for t in blobs().tensors)
    data = torch.utils.data.TensorDataset(x, y)
    history = helpers.fit(mlp(), loader(data), loader(data), epochs=3, lr=0.02)
    assert history["valid_accuracy"][-1] > 0.8
    with pytest.raises(ValueError, match="data is on cuda.*trains on cpu"):
        helpers.fit(mlp(), loader(data), device="cpu")


def test_random_numbers_of_the_gpu_are_untouched() -> None:
    torch.cuda.manual_seed(5)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(5)
    helpers.fit(mlp(dropout=0.5), loader())
    assert torch.equal(torch.rand(3, device="cuda"), expected)
