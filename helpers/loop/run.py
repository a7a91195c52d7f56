"""The state of one training run: its place, its optimizer, its checkpoint."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from accelerate.utils import broadcast, gather_object
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import LRScheduler

from helpers.files import remove_leftovers
from helpers.loop import checkpoints
from helpers.loop.accelerator import Prepared
from helpers.loop.batches import Batch, Batches, Shard, same_kind, to_device
from helpers.loop.checkpoints import (
    START,
    Checkpoint,
    CheckpointMismatch,
    fingerprint,
    name_of,
    settings_of,
    weights_hash,
)
from helpers.loop.evaluation import Metric, score
from helpers.loop.history import History, Mode
from helpers.loop.modes import train_mode
from helpers.loop.readings import NonFiniteGradient, NonFiniteLoss, Readings
from helpers.loop.seeding import reseed
from helpers.loop.steps import LabelGuard, Loss, Step, checked_step, choose_step

__all__ = ["NonFiniteGradient", "NonFiniteLoss", "Run", "Settings"]

_READING_TO_FORWARD = 0x5DEECE66D
# Models that an error left in mid-step: hashes of their weights, at first and then.
_LEFT: WeakKeyDictionary[nn.Module, tuple[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Settings:
    """What ``fit`` was asked to do, apart from model, data and optimizer."""

    epochs: int
    accumulate: int
    clip: float | None
    channels_last: bool
    patience: int | None
    monitor: str
    modes: dict[str, Mode]
    folder: Path | None
    save_every: int | None
    seed: int
    deterministic: bool


class Run:
    """Trains ``model`` from its current place on, one epoch at a time.

    The place (epoch, step) counts batches and is only ever read, saved or left at an
    optimizer-step boundary.
    """

    def __init__(
        self,
        model: nn.Module,
        prepared: Prepared,
        settings: Settings,
        train: Batches,
        valid: Batches | None,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler | None,
        *,
        step: Step | None,
        loss: Loss,
        metrics: Mapping[str, Metric] | None,
        forward: nn.Module,
    ) -> None:
        self.model, self.forward, self.prepared = model, forward, prepared
        self.settings, self.train, self.valid = settings, train, valid
        self.optimizer, self.scheduler = optimizer, scheduler
        self.given_step, self.loss, self.metrics = step, loss, metrics
        self._labels = LabelGuard(model, train, step, loss)
        self.parameters = [p for g in optimizer.param_groups for p in g["params"]]
        self.history = History(modes=dict(settings.modes))
        self.epoch = self.step = 0
        self.readings = Readings(prepared.device)
        self._place = (0, 0, train.num_batches)
        self.waiting, self.best_value = 0, math.inf
        self.best: dict[str, torch.Tensor] = {}
        self._scale: float | None = None

    # One epoch -----------------------------------------------------------------

    def train_epoch(self, should_stop: Callable[[int, float], bool]) -> bool:
        """Train from the current step to the epoch's end; False if asked to stop.

        ``should_stop(batches done, last loss)`` is called after every optimizer step.
        """
        plan = self.train.plan(self.epoch)
        size = self.settings.accumulate
        train_mode(self.model)
        for part, batch in self.train.read(plan, self.epoch, self.step):
            self._place = (self.epoch, self.step, len(plan))
            first = self.step - self.step % size
            group = plan[first : first + size]
            last = self.step == first + len(group) - 1
            self._backward(part, batch, sum(map(len, group)), sync=last)
            self.step += 1
            if last:
                self._optimizer_step(group)
                if self._due():
                    self.save()
                if should_stop(len(group), self.readings.mean_loss):
                    return False
        self.readings.read()
        return True

    def _backward(self, part: Shard, batch: Batch, total: int, sync: bool) -> None:
        """Add this batch's share of the group's mean gradient."""
        self._labels.check(part, batch, self.prepared.device)
        batch = self._placed(batch)
        accelerator = self.prepared.accelerator
        # Averaging over processes divides by their number; the weight undoes that.
        weight = part.count * self.prepared.world / total
        if sync or self.prepared.world == 1:
            loss = self._loss(part, batch)
            accelerator.backward(loss if weight == 1 else loss * weight)
            return
        with accelerator.no_sync(self.prepared.model):
            accelerator.backward(self._loss(part, batch) * weight)

    def _loss(self, part: Shard, batch: Batch) -> torch.Tensor:
        step = choose_step(self.given_step, batch, self.loss)
        reseed(part.seed ^ _READING_TO_FORWARD)
        loss, _ = checked_step(step, self.forward, batch, part, self.train.name)
        if not loss.requires_grad:
            raise ValueError(
                "the loss has no gradient, so nothing can learn: in the step or the "
                "model a tensor was cut off by .detach(), .item(), .numpy() or "
                "torch.no_grad(), or no parameter that learns takes part in it."
            )
        self.readings.add_loss(loss, self._place, part.indices, part.count)
        return loss

    def _placed(self, batch: Batch) -> Batch:
        batch = to_device(batch, self.prepared.device)
        if not self.settings.channels_last:
            return batch
        if hasattr(batch, "items"):
            return {name: _channels_last(value) for name, value in batch.items()}
        if isinstance(batch, (tuple, list)):
            return same_kind(batch, [*map(_channels_last, batch[:-1]), batch[-1]])
        return _channels_last(batch)

    def _optimizer_step(self, group: Sequence[Sequence[int]]) -> None:
        """Move the weights by the gradient of a group of batches, clipped.

        Raises:
            NonFiniteGradient: instead of moving them by NaN.
        """
        scaler, clip = self.prepared.accelerator.scaler, self.settings.clip
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = None
        if gradients and (scaler is None or clip is not None):
            norm = nn.utils.get_total_norm(gradients)
            if scaler is None:  # a scaler skips such steps itself
                self.readings.add_norm(norm, self._place, group)
            # Where the norm can be read without waiting, most steps need no scaling.
            if clip is not None and (not self.readings.at_once or norm.item() > clip):
                nn.utils.clip_grads_with_norm_(self.parameters, clip, norm)
        skipped = False
        if scaler is None:
            self._move(norm)
        else:
            # Reading the scale waits for the GPU: once a step, and kept for the next.
            before = scaler.get_scale() if self._scale is None else self._scale
            scaler.step(self.optimizer)
            scaler.update()
            self._scale = scaler.get_scale()
            skipped = self._scale < before
        self.optimizer.zero_grad(set_to_none=True)
        self.history.steps += 1
        self.history.skipped += skipped
        # A step that fp16 skipped must not move the learning rate.
        if self.scheduler is not None and not skipped:
            self.scheduler.step()

    def _move(self, norm: torch.Tensor | None) -> None:
        """Step the optimizer, but leave the weights alone if ``norm`` is no number.

        On a GPU that is not known yet. A fused optimizer can look there itself, in the
        attribute through which a GradScaler tells it; any other one has to wait.
        """
        if norm is None or self.readings.all_read:
            self.optimizer.step()
        elif _looks_itself(self.optimizer, norm):
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            try:
                self.optimizer.step()
            finally:
                del self.optimizer.found_inf  # type: ignore[attr-defined]
        else:
            self.readings.read()
            self.optimizer.step()

    # Between epochs ------------------------------------------------------------

    def finish_epoch(self, seconds: float) -> bool:
        """Validate, add a row to the history; True if training should end early."""
        self._share_buffers()
        row = {
            "epoch": float(self.epoch + 1),
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "train_loss": self._mean_train_loss(),
        }
        started = time.perf_counter()
        if self.valid is not None:
            try:
                scores = score(
                    self.model,
                    self.valid,
                    self.prepared,
                    step=self.given_step,
                    loss=self.loss,
                    metrics=self.metrics,
                )
                row |= {f"valid_{name}": value for name, value in scores.items()}
                self._check_monitored(row)
            except BaseException:
                # The epoch is trained: only its scores are missing.
                if self.prepared.world == 1:
                    self.save()
                raise
        row["seconds"] = seconds + time.perf_counter() - started
        self.history.rows.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        self.readings.loss_sum, self.readings.seen = 0.0, 0
        return self._no_longer_better(row)

    def _share_buffers(self) -> None:
        """Give all processes rank 0's buffers, so that they score and keep one model.

        Each process's batch norms have seen its own share of the last batches.
        """
        if self.prepared.world > 1:
            broadcast(list(self.model.buffers()))

    def _mean_train_loss(self) -> float:
        loss_sum, seen = self._loss_totals()
        return loss_sum / seen

    def _loss_totals(self) -> tuple[float, float]:
        """Sum of the epoch's losses and number of examples, over all processes."""
        own = [self.readings.loss_sum, self.readings.seen]
        if self.prepared.world == 1:
            return own[0], own[1]
        device = self.prepared.device
        local = torch.tensor(own, dtype=torch.float64, device=device)
        loss_sum, seen = self.prepared.accelerator.reduce(local, "sum").tolist()
        return loss_sum, seen

    def _check_monitored(self, row: dict[str, float]) -> None:
        monitor = self.settings.monitor
        if self.settings.patience is None:
            return
        if monitor not in row:
            raise ValueError(
                f"monitor={monitor!r} is not recorded: use one of "
                f"{', '.join(name for name in row if name.startswith('valid_'))}."
            )
        if math.isnan(row[monitor]):
            raise ValueError(
                f"monitor={monitor!r} is NaN in epoch {self.epoch + 1}, so nobody can "
                "tell whether that is better: look at the validation data, let the "
                "metric give a number, or watch another column."
            )

    def _no_longer_better(self, row: dict[str, float]) -> bool:
        patience, monitor = self.settings.patience, self.settings.monitor
        if patience is None:
            return False
        falling = self.history.mode(monitor) == "min"
        value = row[monitor] if falling else -row[monitor]
        if value < self.best_value:
            self.best_value, self.waiting = value, 0
            self.best = copy.deepcopy(self._trained())
            return False
        self.waiting += 1
        return self.waiting >= patience

    def restore_best(self) -> None:
        """Put the best epoch's weights back, where early stopping kept them."""
        if self.best:
            self.model.load_state_dict(self.best, strict=False)

    # Checkpoints ---------------------------------------------------------------

    def _due(self) -> bool:
        every = self.settings.save_every
        return bool(every) and self.history.steps % every == 0  # type: ignore[operator]

    def _trained(self) -> dict[str, torch.Tensor]:
        """What training changes: parameters that learn, and buffers."""
        # Both names of a tied weight, such as a frozen embedding that is also a head.
        named = self.model.named_parameters(remove_duplicate=False)
        frozen = {name for name, p in named if not p.requires_grad}
        state = self.model.state_dict()
        return {name: t.detach() for name, t in state.items() if name not in frozen}

    def save(self) -> None:
        """Write the checkpoint, if there is a folder (rank 0 writes, the rest wait)."""
        folder = self.settings.folder
        if folder is None:
            return
        self.readings.read()
        totals = self._loss_totals()
        if self.prepared.rank == 0:
            tensors, rest = checkpoints.split_optimizer(self.optimizer)
            groups = {"model": self._trained(), "best": self.best, "optimizer": tensors}
            scaler = self.prepared.accelerator.scaler
            values = {
                "place": [self.epoch, self.step, *totals],
                "patience": [self.waiting, self.best_value],
                "history": asdict(self.history),
                "optimizer": rest,
                "scheduler": self.scheduler.state_dict() if self.scheduler else None,
                "scaler": scaler.state_dict() if scaler else None,
            }
            checkpoints.save(folder, Checkpoint(groups, values, self._fingerprint))
        if self.prepared.world > 1:
            self.prepared.accelerator.wait_for_everyone()

    def resume(self, wanted: bool, total_steps: int | None) -> None:
        """Continue from the folder's checkpoint, if there is one and it is wanted.

        Otherwise the first weights are saved, which shows at once whether they can be.

        Raises:
            CheckpointMismatch: the checkpoint is another run's.
            ValueError: the checkpoint is damaged, or the model holds NaN.
            OSError, TypeError: the folder cannot be written, or the state not saved.
        """
        goes_on = self._go_on(wanted, total_steps)
        _refuse_non_finite(self.model)
        if not goes_on:
            self.save()

    def _go_on(self, wanted: bool, total_steps: int | None) -> bool:
        """Take over the folder's checkpoint; False if there is none to go on from."""
        folder = self.settings.folder
        if folder is None:
            return False
        monitor = self.settings.monitor if self.settings.patience else None
        self._fingerprint = fingerprint(
            self.model,
            self.optimizer,
            self.train,
            self.valid if self.settings.patience else None,
            {
                "scheduler": type(self.scheduler).__name__ if self.scheduler else None,
                # One made for this call has not moved yet.
                "scheduler settings": settings_of(self.scheduler)
                if self.scheduler is not None and total_steps is not None
                else None,
                "total steps": total_steps,
                "precision": self.prepared.precision,
                "loss": name_of(self.loss),
                "step": name_of(self.given_step) if self.given_step else None,
                "seed": self.settings.seed,
                "accumulate": self.settings.accumulate,
                "clip": self.settings.clip,
                "channels last": self.settings.channels_last,
                "deterministic": self.settings.deterministic,
                "monitor": monitor,
                "mode": self.history.mode(monitor) if monitor else None,
                "patience": self.settings.patience,
            },
        )
        self._fingerprint[START] = weights_hash(self._trained())
        if self.prepared.rank == 0:
            remove_leftovers(folder)
        found = checkpoints.load(folder) if wanted else None
        if not self._is_this_run(found) or found is None:
            return False
        self._fingerprint[START] = found.fingerprint[START]
        values, tensors = found.values, found.tensors
        self.model.load_state_dict(tensors.get("model", {}), strict=False)
        best = tensors.get("best", {})
        self.best = {name: t.to(self.prepared.device) for name, t in best.items()}
        checkpoints.join_optimizer(
            self.optimizer, tensors.get("optimizer", {}), values["optimizer"]
        )
        if self.scheduler is not None:
            self.scheduler.load_state_dict(values["scheduler"])
        if self.prepared.accelerator.scaler is not None:
            self.prepared.accelerator.scaler.load_state_dict(values["scaler"])
        self.epoch, self.step, *totals = values["place"]
        if self.prepared.rank == 0:
            # The checkpoint holds the sum over all processes; one of them keeps it.
            self.readings.loss_sum, self.readings.seen = totals
        self.waiting, self.best_value = values["patience"]
        self.history = History.from_values(values["history"], str(folder))
        self.history.modes |= self.settings.modes
        if self.prepared.rank == 0 and self.history.steps:
            done = self.epoch + (self.step > 0)
            rest = ": nothing left to train" if self.ended else ""
            steps = self.history.steps
            place = folder.as_posix()
            print(f"continued from epoch {done} (step {steps}) in {place}{rest}")
        return True

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return (
            self.history.outcome == "early stop" or self.epoch >= self.settings.epochs
        )

    def leave(self) -> None:
        """Note the weights that an error left in mid-step and no checkpoint holds.

        The same call may then go on with this model, without making it anew.
        """
        # A GPU that has failed cannot tell them.
        with contextlib.suppress(RuntimeError):
            if self.settings.folder is not None:
                start = self._fingerprint[START]
                _LEFT[self.model] = start, weights_hash(self._trained())

    def _is_this_run(self, found: Checkpoint | None) -> bool:
        """All processes must have found the same, and the checkpoint of this run.

        False where another run has not trained yet: this one may take its place.

        Raises:
            CheckpointMismatch: they have not, on every process.
        """
        place = found.values["place"][:2] if found else None
        # Every process starts from the first one's weights; its own are not asked for.
        problem = self._problem(found) if found and self.prepared.rank == 0 else None
        everyone = [(place, problem)]
        if self.prepared.world > 1:
            everyone = gather_object(everyone)
        places, (problem, *_) = map(list, zip(*everyone, strict=True))
        folder = self.settings.folder
        if any(place != places[0] for place in places):
            raise CheckpointMismatch(
                f"folder={str(folder)!r}: the processes find different checkpoints "
                f"there, at (epoch, batch) {places}. Give a folder that all machines "
                "share, or resume=False."
            )
        if problem is not None and place != [0, 0]:
            raise CheckpointMismatch(
                f"the checkpoint in {folder} {problem}\nUse another folder for this "
                "run, or resume=False to start it afresh."
            )
        return problem is None

    def _problem(self, found: Checkpoint) -> str | None:
        epoch, step = found.values["place"][:2]
        begun, epochs = epoch + (step > 0), self.settings.epochs
        if begun > epochs:
            reached = f"is in epoch {begun}" if step else f"has trained {begun} epochs"
            return (
                f"{reached}, and epochs={epochs} asks for fewer.\nPass epochs={begun} "
                "or more to go on."
            )
        start, left = _LEFT.get(self.model, (None, None))
        same_run = start == found.fingerprint[START]
        return checkpoints.differences(
            found, self._fingerprint, left if same_run else None
        )


def _refuse_non_finite(model: nn.Module) -> None:
    """Weights must be numbers; a buffer may be infinite, as masks are, but not NaN."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        # Neither float8 nor a lazy module's parameter can be asked.
        askable = tensor.is_floating_point() and tensor.element_size() > 1
        if is_lazy(tensor) or not askable:
            continue
        held = "NaN" if tensor.isnan().any() else "inf"
        weight = isinstance(tensor, nn.Parameter)
        if held == "NaN" or weight and tensor.isinf().any():
            raise ValueError(
                f"model's {name} holds {held}, left by an earlier batch: make the "
                "model anew."
            )


def _looks_itself(optimizer: torch.optim.Optimizer, norm: torch.Tensor) -> bool:
    """Whether a step obeys ``optimizer.found_inf``, as every fused one does on CUDA."""
    fused = getattr(optimizer, "_step_supports_amp_scaling", False)
    return bool(fused) and norm.device.type != "mps"


def _channels_last(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
