"""One file that holds a training run at an optimizer-step boundary.

Tensors are stored as safetensors, everything else as JSON in the file's header, so
reading a checkpoint never unpickles anything. A file is written under a temporary name,
synced and renamed: after a crash the folder holds the old checkpoint or the new one.
A checksum covers all of it, so a damaged file is refused and not trained on. A
fingerprint of the run keeps another run from going on from it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from helpers.files import replacing
from helpers.loop.batches import Batches
from helpers.loop.hashing import ContentHash, raw_bytes

__all__ = ["Checkpoint", "CheckpointMismatch", "differences", "fingerprint"]
__all__ += ["join_optimizer", "load", "name_of", "save", "split_optimizer"]
__all__ += ["START", "settings_of", "weights_hash"]

FILE = "checkpoint.safetensors"
_FORMAT = 2
START = "initial weights"  # in a fingerprint
_LOOKED_AT = 16  # examples
# What a schedule moves: betas and momentum too, as OneCycleLR does.
_SCHEDULED = {"momentum", "betas"}


class CheckpointMismatch(ValueError):
    """A folder's checkpoint belongs to another run; the message lists differences."""


@dataclass
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        tensors: groups of named tensors ("model", "best", "optimizer").
        values: everything else, as JSON can hold it (place, history, scheduler, …).
        fingerprint: what must be the same when the run goes on.
    """

    tensors: dict[str, dict[str, torch.Tensor]]
    values: dict[str, Any]
    fingerprint: dict[str, Any] = field(default_factory=dict)


def split_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimizer's state as (tensors named "index.name", everything else)."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, slots in state["state"].items():
        for name, value in slots.items():
            kind = tensors if isinstance(value, torch.Tensor) else numbers
            kind[f"{index}.{name}"] = value
    return tensors, {"numbers": numbers, "groups": state["param_groups"]}


def join_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
) -> None:
    """Put back what :func:`split_optimizer` took apart."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *values["numbers"].items()]:
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})
    # Fused kernels take moments to lie in memory as their parameters do.
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            shape = getattr(value, "shape", None)
            if shape == parameter.shape and value.stride() != parameter.stride():
                slots[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(
                    value
                )


def _encode(value: Any) -> Any:
    """A value as JSON can hold it; tuples and numbers as keys come back as they were.

    Without that a scheduler's milestones {30: 1} would return as {"30": 1}, and the
    learning rate would never drop.
    """
    if isinstance(value, tuple):
        return {"__tuple__": [_encode(part) for part in value]}
    if isinstance(value, list):
        return [_encode(part) for part in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _encode(part) for key, part in value.items()}
        return {"__pairs__": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(
        f"the optimizer or scheduler keeps {value!r}, a {type(value).__name__}, and a "
        "checkpoint holds only tensors, numbers and text: train without folder=..., or "
        "use plain numbers."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "__tuple__" in value:
        return tuple(_decode(value["__tuple__"]))
    if "__pairs__" in value:
        return {k: v for k, v in _decode(value["__pairs__"])}
    return {key: _decode(part) for key, part in value.items()}


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``folder/checkpoint.safetensors`` atomically.

    Raises:
        OSError: the folder cannot be written or the disk is full; a checkpoint that
            was there before is untouched and no temporary file is left.
    """
    header = {
        "format": _FORMAT,
        "values": _encode(checkpoint.values),
        "fingerprint": checkpoint.fingerprint,
    }
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for group, named in checkpoint.tensors.items():
        for name, tensor in named.items():
            flat = tensor.detach().to("cpu").contiguous()
            # safetensors refuses tensors that share memory, such as tied weights.
            pointer = flat.untyped_storage().data_ptr()
            tensors[f"{group}/{name}"] = flat.clone() if pointer in seen else flat
            seen.add(pointer)
    text = json.dumps(header)
    there = (folder / FILE).exists()
    metadata = {"course": text, "checksum": _checksum(text, tensors)}
    try:
        with replacing(folder / FILE) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        state = "no checkpoint is there, and the same call begins anew."
        if there:
            state = "the checkpoint from before is intact, and the same call continues "
            state += "from it."
        raise OSError(
            f"the checkpoint was not written to {folder}: {error}. Make room there, or "
            f"give a folder that can be written; {state}"
        ) from error


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    total = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        kind = f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        total = zlib.crc32(raw_bytes(tensor), zlib.crc32(kind.encode(), total))
    return f"{total:08x}"


def load(folder: Path) -> Checkpoint | None:
    """Read a folder's checkpoint on the CPU; None when there is none.

    Raises:
        ValueError: the file is damaged or from an unknown version of the course.
    """
    path = folder / FILE
    if not path.exists():
        return None
    remedy = f"Delete {path.name} there, or pass resume=False to start again."
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            # Copies: Windows cannot replace a file that is still mapped into memory.
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"the checkpoint in {folder} is damaged ({error}). {remedy}"
        ) from error
    if "course" not in metadata:
        raise ValueError(f"the checkpoint in {folder} is not one of fit's. {remedy}")
    text = metadata["course"]
    if metadata.get("checksum") != _checksum(text, tensors):
        raise ValueError(
            f"the checkpoint in {folder} is damaged: its checksum is wrong. {remedy}"
        )
    header = json.loads(text)
    if header["format"] != _FORMAT:
        raise ValueError(f"the checkpoint in {folder} has another format. {remedy}")
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = tensor
    return Checkpoint(groups, _decode(header["values"]), header["fingerprint"])


def fingerprint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Batches,
    valid: Batches | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe a run so that another model, data order or setting is noticed.

    Args:
        model, optimizer, train: of the run, before its first step.
        valid: the validation data, if it decides anything.
        settings: everything else that must be equal, added as it is.

    Raises:
        TypeError: the optimizer has a tensor where a checkpoint can hold a number.
    """
    order = repr(train.plan(0)).encode()
    scheduled = settings.get("scheduler") is not None
    return {
        "modules": {
            name: _without_addresses(f"{type(part).__name__}({part.extra_repr()})")
            for name, part in model.named_modules()
        },
        **_parameters(model),
        "optimizer": _optimizer(optimizer, _SCHEDULED if scheduled else set()),
        "examples": len(train.loader.dataset),  # type: ignore[arg-type]
        "batches an epoch": train.num_batches,
        "order of the first epoch": hashlib.sha256(order).hexdigest()[:16],
        "training data": _contents(train),
        "validation data": _contents(valid) if valid is not None else None,
        **settings,
    }


def weights_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """A name for named tensors, whatever their order."""
    return ContentHash(sorted(tensors.items())).name()


def _contents(batches: Batches) -> dict[str, str]:
    """Hashes of the inputs and labels of a few examples, spread over the data.

    Labels that lie in memory are hashed in full. Every example is read twice: a part
    that then differs has noise that no seed reaches, which is no sign of other data.
    """
    used = sorted({index for batch in batches.plan(0) for index in batch})
    count = min(_LOOKED_AT, len(used))
    hashes: dict[str, ContentHash] = {}
    for number in range(count):
        index = used[number * (len(used) - 1) // max(count - 1, 1)]
        first, again = (_parts(batches.example(index)) for _ in range(2))
        for name, value in first.items():
            seen = _hash(value)
            fixed = seen == _hash(again.get(name))
            hashes.setdefault(name, ContentHash()).add(seen if fixed else None)
    known = getattr(batches.loader.dataset, "targets", None)  # as torchvision has it
    in_memory = batches.labels_in_memory
    hashes.setdefault("labels", ContentHash()).add(
        _hash(known if in_memory is None else in_memory)
    )
    return {name: content.name()[:8] for name, content in hashes.items()}


def _parts(example: Any) -> dict[str, Any]:
    if hasattr(example, "items"):
        return dict(example)
    if isinstance(example, (tuple, list)) and len(example) > 1:
        return {"inputs": list(example[:-1]), "labels": example[-1]}
    return {"inputs": example}


def _hash(value: Any) -> str | None:
    try:
        return ContentHash(value).name()
    except TypeError:  # a kind of object that nobody can see into
        return None


def _parameters(model: nn.Module) -> dict[str, Any]:
    frozen = hashlib.sha256()
    parameters = {}
    for name, p in model.named_parameters():
        parameters[name] = f"{list(p.shape)} {p.dtype}"
        if p.requires_grad:
            parameters[name] += " learns"
        else:
            frozen.update(raw_bytes(p))
    return {"parameters": parameters, "frozen weights": frozen.hexdigest()[:16]}


def _optimizer(optimizer: torch.optim.Optimizer, moving: set[str]) -> dict[str, Any]:
    hidden = {"params", "lr", *moving}
    described: dict[str, Any] = {"kind": type(optimizer).__name__}
    groups = optimizer.param_groups
    for number, group in enumerate(groups):
        prefix = f"group {number} " if len(groups) > 1 else ""
        kept = {k: v for k, v in group.items() if k not in hidden}
        kept["lr"] = group.get("initial_lr", group["lr"])
        kept["number of tensors"] = len(group["params"])
        for name, value in kept.items():
            if isinstance(value, torch.Tensor):
                raise TypeError(
                    f"the optimizer's {name} is {value}, and beside its state a "
                    "checkpoint holds plain numbers only: use plain numbers, or train "
                    "without folder=...."
                )
        described |= {f"{prefix}{name}": value for name, value in kept.items()}
    return described


def name_of(function: Callable[..., Any]) -> str:
    """What a loss or step is called and how it was set, as far as it can be told.

    A function of the notebook or of another function is known by its code, too; what
    it takes from outside is not looked at.
    """
    if isinstance(function, nn.Module):
        settings = {k: v for k, v in vars(function).items() if k[0] != "_"}
        if tensors := function.state_dict():  # such as the weights of classes
            settings["tensors"] = weights_hash(tensors)[:8]
        return _without_addresses(f"{type(function).__name__} {settings}")
    name = getattr(function, "__qualname__", repr(function))
    code = getattr(function, "__code__", None)
    if code is not None and ("<" in name or function.__module__ == "__main__"):
        name += f" {ContentHash(code).name()[:8]}"
    return _without_addresses(name)


def settings_of(scheduler: LRScheduler) -> str | None:
    """A name for the settings of a schedule that was just made, if they can be seen."""
    return _hash(_unmoved(scheduler.state_dict()))


def _unmoved(state: Any) -> Any:
    """A schedule's state without the learning rate that its optimizer has by now."""
    if isinstance(state, Mapping):
        return {k: _unmoved(v) for k, v in state.items() if k != "_last_lr"}
    return [*map(_unmoved, state)] if isinstance(state, (list, tuple)) else state


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def differences(
    found: Checkpoint, wanted: Mapping[str, Any], left: str | None = None
) -> str | None:
    """How this run differs from the one of a checkpoint; None if it may go on from it.

    Args:
        wanted: the fingerprint of this run.
        left: hash of the weights that an error left in that run's model.
    """
    wanted = json.loads(json.dumps(wanted))
    lines = []
    for key in sorted({*found.fingerprint, *wanted} - {START}):
        before, now = found.fingerprint.get(key), wanted.get(key)
        if before != now:
            lines.append(f"  {key}: {_difference(before, now)}")
    if lines:
        return "belongs to another run:\n" + "\n".join(lines)
    saved = (weights_hash(found.tensors.get(group, {})) for group in ("model", "best"))
    if wanted[START] in (found.fingerprint[START], left, *saved):
        return None
    return (
        "belongs to a run with other initial weights: the model given now has neither "
        "those nor the saved ones.\nTo go on, make it as that run did (same seed, same "
        "pretrained weights, no batch through it in train mode)."
    )


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [k for k in {**before, **now} if before.get(k) != now.get(k)]
        shown = [f"{k} was {before.get(k)}, is {now.get(k)}" for k in keys[:3]]
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        return "; ".join(shown) + more
    return f"was {before}, is {now}"
