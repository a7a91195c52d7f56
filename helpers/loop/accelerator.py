"""Where and how precisely a model runs, on Hugging Face Accelerate.

Accelerate keeps one state for the whole process and patches the model it prepares; a
notebook trains many models with many settings. :func:`prepare` hides that: it starts
from a clean state and leaves the model, and the memory, as it found them.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from helpers import environment

__all__ = ["Precision", "Prepared", "prepare", "resolve_precision"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]
# What Accelerate writes on a model it prepares; left there, a later call with another
# precision, or on several processes, would silently not be prepared.
_PATCHED = ("forward", "_original_forward", "_is_accelerate_prepared")
_ACCELERATE = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class Prepared:
    """A prepared model and what runs it.

    Attributes:
        accelerator: Accelerate's object, for gathering, waiting and the fp16 scaler.
        model: the model to call in training (wrapped on several processes).
        precision: "fp32", "bf16" or "fp16".
    """

    accelerator: Accelerator
    model: nn.Module
    precision: str

    @property
    def device(self) -> torch.device:
        device = self.accelerator.device
        if device.type == "cpu" or device.index is not None:
            return device
        # A tensor says "cuda:0" where Accelerate says "cuda".
        number = torch.cuda.current_device() if device.type == "cuda" else 0
        return torch.device(device.type, number)

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def world(self) -> int:
        return self.accelerator.num_processes


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "auto" becomes bf16 where a GPU computes in it, else fp32; the rest is checked.

    Raises:
        ValueError: an unknown name, or a precision that this device lacks.
    """
    if precision not in get_args(Precision):
        known = ", ".join(map(repr, get_args(Precision)))
        raise ValueError(f"precision={precision!r}: use one of {known}.")
    cuda = device.type == "cuda"
    if precision == "auto":
        return "bf16" if cuda and torch.cuda.is_bf16_supported(False) else "fp32"
    if precision == "fp16" and not cuda:
        raise ValueError(
            f"precision='fp16' needs a CUDA GPU, and this model runs on {device}: use "
            "'auto' or 'fp32'."
        )
    if precision == "bf16" and cuda and not torch.cuda.is_bf16_supported(False):
        name = torch.cuda.get_device_name(device)
        raise ValueError(f"precision='bf16': {name} lacks it. Use 'fp16' or 'auto'.")
    if precision == "bf16" and device.type == "cpu" and not _cpu_has_bf16():
        raise ValueError(
            "precision='bf16': this CPU has no bf16 units and would emulate them 5 to "
            "75 times slower than fp32. Use 'auto' or 'fp32'."
        )
    return precision


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _check_devices(model: nn.Module) -> None:
    """Parts on the CPU and on one accelerator may be joined; more cannot."""
    devices = {str(p.device) for p in model.parameters()}
    if len(devices - {"cpu"}) > 1 or "meta" in devices:
        raise ValueError(
            f"the model's parameters lie on {', '.join(sorted(devices))}: put all of "
            "them on one device with model.to(device) (from_pretrained: leave out "
            "device_map)."
        )


def _accelerator(wanted: torch.device | None, precision: str) -> Accelerator:
    # Another precision or device than the last fit's must not clash with its state.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Accelerate joins several processes on the CPU only when it is told of the CPU.
    on_cpu = (wanted or environment.device()).type == "cpu"
    chosen = PartialState(cpu=on_cpu).device
    if wanted is not None and chosen.type != wanted.type:
        raise ValueError(f"device={str(wanted)!r}: this machine offers {chosen}.")
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked > 1 and PartialState().num_processes == 1:
        raise ValueError(
            f"this is one of {asked} processes, but on {chosen} they cannot work "
            "together: pass device='cpu', or start a single process."
        )
    kind = _ACCELERATE[resolve_precision(precision, chosen)]
    made = Accelerator(cpu=on_cpu, mixed_precision=kind)
    if made.num_processes > 1:
        _close_at_exit()
    return made


@cache
def _close_at_exit() -> None:
    """Leave the other processes in order when this one ends.

    Threads of the connection that are still open then would abort it, now and then.
    """
    atexit.register(_close)


def _close() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def prepare(
    model: nn.Module,
    *,
    precision: str = "auto",
    device: torch.device | str | None = None,
    training: bool = False,
) -> Iterator[Prepared]:
    """Prepare ``model`` for a training or an evaluation, and undo it at the end.

    All of the model is moved to the chosen device, also a new head that is still on the
    CPU, and stays there; its ``forward`` is the original again.

    Raises:
        ValueError: a device or precision that is not there, or a model spread over
            several accelerators.
    """
    _check_devices(model)
    wanted = torch.device(device) if device is not None else None
    own = vars(model)
    before = {name: own[name] for name in _PATCHED if name in own}
    with ExitStack() as undo:
        if wanted is not None and wanted.type == "cuda" and torch.cuda.is_available():
            undo.enter_context(torch.cuda.device(wanted))
        accelerator = _accelerator(wanted, precision)
        chosen = resolve_precision(precision, accelerator.device)
        if accelerator.device.type == "cuda":
            # Its generators exist from now on, for own_randomness to keep.
            torch.cuda.init()
        try:
            ready = accelerator.prepare_model(model, evaluation_mode=not training)
            yield Prepared(accelerator, ready, chosen)
        finally:
            for name in _PATCHED:
                own.pop(name, None)
            own.update(before)
            # The process-wide state would keep the prepared model alive.
            if accelerator.device.type != "cpu" or chosen != "fp32":
                accelerator.free_memory()
