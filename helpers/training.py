"""The training loop of the course: ``fit``, ``evaluate`` and ``predict``.

Taught in notebook 08, where the loop is written by hand first. Three ideas: every
step's randomness follows from (seed, epoch, step), so a killed run continues to
bit-identical weights; a step function is the only thing a new task has to supply; and
Accelerate runs the same call on a CPU, a GPU or several processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from helpers.environment import interactive
from helpers.loop.accelerator import Precision, prepare, resolve_precision
from helpers.loop.arguments import check_counts, check_positive
from helpers.loop.batches import Batches, dataset_order, to_device
from helpers.loop.evaluation import (
    Metric,
    check_metrics,
    check_monitor,
    modes_of,
    score,
)
from helpers.loop.explain import explained
from helpers.loop.history import History, Mode
from helpers.loop.interrupts import Interrupt
from helpers.loop.modes import in_eval_mode
from helpers.loop.run import Run, Settings
from helpers.loop.seeding import deterministic_algorithms, own_randomness
from helpers.loop.steps import Loss, Step, check_loss, classify, hf_step, inputs_of

__all__ = ["classify", "epoch_order", "evaluate", "fit", "hf_step", "predict"]
__all__ += ["resolve_precision"]

Scheduler = LRScheduler | Callable[[torch.optim.Optimizer, int], LRScheduler]


def fit(
    model: nn.Module,
    train: DataLoader,
    valid: DataLoader | None = None,
    *,
    epochs: int = 1,
    lr: float = 1e-3,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Scheduler | None = None,
    step: Step | None = None,
    loss: Loss = nn.functional.cross_entropy,
    metrics: Mapping[str, Metric] | None = None,
    precision: Precision = "auto",
    accumulate: int = 1,
    clip: float | None = 1.0,
    channels_last: bool = False,
    compile: bool = False,
    patience: int | None = None,
    monitor: str = "valid_loss",
    mode: Mode | None = None,
    folder: str | Path | None = None,
    resume: bool = True,
    save_every: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> History:
    """Train ``model`` in place and return what happened, one row an epoch.

    The model comes back in eval mode, ready to predict.

    Taught in notebook 08; freezing in 09; fine-tuning, precision and resuming in 10.

    Args:
        model: any module. Parameters with ``requires_grad=False`` stay as they are, and
            so do the running statistics of batch norms whose parameters are frozen.
        train, valid: DataLoaders of (x, y) tuples, or of dicts with "labels" as
            transformers models take. ``fit`` draws the order itself, from ``seed``.
        epochs: passes over ``train``, counted from the start of the run.
        lr: learning rate of the default optimizer, fused AdamW.
        optimizer: your own, over the parameters that should learn.
        scheduler: stepped after every optimizer step; or a function (optimizer, total
            steps) that makes one.
        step: ``step(model, batch) -> (mean loss, outputs)`` for any other task.
        loss: ``loss(outputs, y)`` of the default step, a mean over the batch.
        metrics: torchmetrics objects by name, computed on ``valid``; accuracy when None
            and the outputs are scores of two classes or more.
        precision: "fp32", "bf16", "fp16" (CUDA, with gradient scaling) or "auto":
            bf16 on a GPU that has it, else fp32.
        accumulate: batches an optimizer step; their gradients are averaged by example
            (elsewhere called gradient_accumulation_steps).
        clip: largest norm of the whole gradient (max_grad_norm), or None.
        channels_last: store pictures (n, c, h, w) with channels innermost: faster
            convolutions, the same numbers up to rounding.
        compile: run the model through ``torch.compile``.
        patience: stop after so many epochs without a better ``monitor``, and put the
            best epoch's weights back.
        monitor, mode: the column of the history that ``patience`` watches, and whether
            its best value is the "min" or the "max". None takes that from the metric
            (torchmetrics' ``higher_is_better``).
        folder: keep a checkpoint there, of the start, every ``save_every`` optimizer
            steps and of every epoch. The same call then continues an interrupted run to
            weights that are equal bit for bit, and says so: always on a CPU (same
            machine, same thread count), with ``deterministic=True`` on a CUDA GPU. Give
            it the same model (made again as at first, or as that run left it) and step.
        resume: False ignores a checkpoint in ``folder`` and starts again.
        seed: of order, augmentation and dropout.
        deterministic: use only algorithms that add in the same order every time. Needed
            on a CUDA GPU, and slower there; an operation that has none is an error.
        device: None picks CUDA, else MPS, else the CPU.
        progress: show one bar; None means unless COURSE_INTERACTIVE=0.

    Returns:
        The history. After Ctrl-C its outcome is "interrupted" and the model holds what
        was reached.

    Raises:
        ValueError, TypeError: an argument or a model that cannot work (or that holds
            NaN); nothing was trained.
        OSError: ``folder`` cannot be written; a checkpoint from before is intact.
        NonFiniteLoss, NonFiniteGradient: names the step and the examples; the
            parameters and the checkpoint are those from before it, but running
            statistics may have moved.
        CheckpointMismatch: ``folder`` holds another run: other settings, step, initial
            weights or data (as far as a few examples show it), or more epochs.

    What torch or the dataset raises gets a note: batch, examples, shapes, likely fix.
    """
    _check_model(model)
    check_counts(epochs=epochs, accumulate=accumulate, patience=patience)
    check_counts(save_every=save_every)
    if save_every is not None and folder is None:
        raise ValueError(f"save_every={save_every} needs a place: pass folder=....")
    if not isinstance(seed, int):
        raise TypeError(f"seed={seed!r}: give a whole number; runs then repeat.")
    check_metrics(metrics)
    check_loss(step, loss)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip={clip}: give a positive number, or None for no limit.")
    modes = modes_of(metrics) | ({monitor: mode} if mode else {})
    check_monitor(monitor, mode, patience, valid is not None, metrics)
    settings = Settings(
        epochs=epochs,
        accumulate=accumulate,
        clip=clip,
        channels_last=channels_last,
        patience=patience,
        monitor=monitor,
        modes=modes,
        folder=Path(folder) if folder is not None else None,
        save_every=save_every,
        seed=seed,
        deterministic=deterministic,
    )
    preparing = prepare(model, precision=precision, device=device, training=True)
    with preparing as prepared, ExitStack() as putting_back:
        putting_back.enter_context(own_randomness())
        if deterministic:
            putting_back.enter_context(deterministic_algorithms(prepared.device))
        if channels_last:
            model.to(memory_format=torch.channels_last)
        share = (prepared.rank, prepared.world, prepared.device)
        batches = Batches(train, "train", seed, *share)
        chosen = _optimizer(model, optimizer, lr)
        steps = epochs * -(-batches.num_batches // accumulate)
        run = Run(
            model,
            prepared,
            settings,
            batches,
            Batches(valid, "valid", seed, *share) if valid is not None else None,
            chosen,
            _scheduler(scheduler, chosen, steps),
            step=step,
            loss=loss,
            metrics=metrics,
            forward=torch.compile(prepared.model) if compile else prepared.model,  # type: ignore[arg-type]
        )
        shown = interactive() if progress is None else progress
        # A schedule made for so many steps belongs to a run of that length.
        fixed = scheduler is not None and not isinstance(scheduler, LRScheduler)
        run.resume(resume, steps if fixed else None)
        with _ready_to_predict(model):
            _train(run, show=shown and prepared.rank == 0)
    return run.history


@contextmanager
def _ready_to_predict(model: nn.Module) -> Iterator[None]:
    """No gradient from before goes in and none stays; in the end dropout is off."""
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        model.eval()
        model.zero_grad(set_to_none=True)


def _train(run: Run, show: bool) -> None:
    """Epoch after epoch until the end, an early stop or Ctrl-C."""
    size, epochs = run.train.num_batches, run.settings.epochs
    history = run.history
    if run.ended:
        run.restore_best()
        return
    history.outcome = "running"
    done = run.epoch * size + run.step
    with (
        Interrupt(active=run.prepared.world == 1) as interrupt,
        tqdm(total=epochs * size, initial=done, disable=not show, leave=False) as bar,
    ):

        def should_stop(batches: int, loss: float) -> bool:
            if bar.update(batches):
                bar.set_postfix_str(f"loss {loss:.3g}", refresh=False)
            return interrupt.requested

        try:
            while run.epoch < epochs:
                bar.set_description(f"epoch {run.epoch + 1} of {epochs}", refresh=False)
                started = time.perf_counter()
                if not run.train_epoch(should_stop):
                    history.outcome = "interrupted"
                    break
                early = run.finish_epoch(time.perf_counter() - started)
                ended = early or run.epoch == epochs
                if ended:
                    history.outcome = "early stop" if early else "finished"
                # The last weights are saved, so that a longer run can go on from them.
                run.save()
                if ended:
                    run.restore_best()
                    break
            if history.outcome == "interrupted":
                run.save()
        except KeyboardInterrupt:
            # A second Ctrl-C, in mid-step: the last checkpoint stays where it is.
            history.outcome = "interrupted"
            run.leave()
        except Exception:
            run.leave()
            raise


def evaluate(
    model: nn.Module,
    loader: DataLoader,
    *,
    step: Step | None = None,
    loss: Loss = nn.functional.cross_entropy,
    metrics: Mapping[str, Metric] | None = None,
    precision: Precision = "fp32",
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Mean loss and metrics of ``model`` over ``loader``, e.g. {"loss", "accuracy"}.

    Taught in notebook 08. Runs in eval mode without gradients and puts the model's
    modes back. Arguments and errors as in :func:`fit`, except that ``precision`` is
    "fp32" unless you ask for less; ``fit`` validates in the precision it trains in.
    """
    _check_model(model)
    check_metrics(metrics)
    check_loss(step, loss)
    with (
        prepare(model, precision=precision, device=device) as prepared,
        own_randomness(),
    ):
        share = (prepared.rank, prepared.world, prepared.device)
        batches = Batches(loader, "loader", 0, *share)
        return score(model, batches, prepared, step=step, loss=loss, metrics=metrics)


def predict(
    model: nn.Module,
    loader: DataLoader,
    *,
    precision: Precision = "fp32",
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """The outputs (n, …) for every example, in dataset order, on the CPU.

    Taught in notebook 08. Labels in the batches are ignored; a loader that shuffles is
    read in dataset order all the same, so row i belongs to ``loader.dataset[i]``.
    ``precision`` as in :func:`evaluate`.
    """
    _check_model(model)
    outputs = []
    with (
        prepare(model, precision=precision, device=device) as prepared,
        own_randomness(),
    ):
        batches = Batches(loader, "loader", 0, device=prepared.device)
        plan = batches.all_batches()
        with in_eval_mode(model):
            for part, batch in batches.read(plan):
                batch = to_device(batch, prepared.device)
                with explained(part, batch):
                    outputs.append(inputs_of(model, batch).float().cpu())
    return dataset_order(outputs, plan)


def epoch_order(
    loader: DataLoader, *, seed: int = 0, epoch: int = 0
) -> list[list[int]]:
    """The indices into ``loader.dataset`` of every batch, as ``fit`` reads them.

    Taught in notebook 08, where a loop by hand trains in the same order.

    Args:
        loader: as given to :func:`fit`.
        seed: as given to :func:`fit`.
        epoch: counted from 0.

    Raises:
        TypeError, ValueError: a loader that :func:`fit` would refuse.
    """
    with own_randomness():
        return Batches(loader, "loader", seed).plan(epoch)


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        kind = getattr(model, "__name__", repr(model))
        raise TypeError(
            f"model is {kind}, a {type(model).__name__} and not an nn.Module: pass the "
            "network itself; call the function or class that makes it first."
        )


def _optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer | None, lr: float
) -> torch.optim.Optimizer:
    """The caller's optimizer, checked against the model, or fused AdamW.

    Raises:
        ValueError: nothing would learn, or the optimizer holds other parameters.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError(
            "the model has no trainable parameter: all have requires_grad=False. "
            "Replace its head after freezing, or helpers.unfreeze(model.head)."
        )
    half = {p.dtype for p in trainable} & {torch.float16, torch.bfloat16}
    if half:
        raise ValueError(
            f"the weights that learn are {half.pop()}, in which small updates vanish: "
            "train model.float(), and let precision='fp16' or 'bf16' compute in half "
            "precision. (Frozen weights may stay as they are.)"
        )
    if optimizer is None:
        check_positive(1e-3, lr=lr)
        fused = all(p.is_floating_point() for p in trainable)
        return torch.optim.AdamW(trainable, lr=lr, fused=fused)
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = getattr(optimizer, "__name__", type(optimizer).__name__)
        raise TypeError(
            f"optimizer is {kind}, not a torch.optim.Optimizer object: make one, e.g. "
            "torch.optim.SGD(model.parameters(), lr=0.01)."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not held & {id(p) for p in trainable}:
        raise ValueError(
            "optimizer holds none of the model's trainable parameters: make it after "
            "the last change to the model, from model.parameters()."
        )
    if foreign := held - {id(p) for p in model.parameters()}:
        raise ValueError(
            f"optimizer holds {len(foreign)} parameters that are not the model's, and "
            "no checkpoint would keep them: register them on the model, e.g. "
            "model.temperature = nn.Parameter(...)."
        )
    return optimizer


def _scheduler(
    scheduler: Scheduler | None, optimizer: torch.optim.Optimizer, steps: int
) -> LRScheduler | None:
    if scheduler is None:
        return None
    if isinstance(scheduler, LRScheduler):
        made = scheduler
    else:
        made = scheduler(optimizer, steps)
    if not isinstance(made, LRScheduler):
        raise TypeError(
            f"scheduler gave a {type(made).__name__}: give a torch LRScheduler, or a "
            "function (optimizer, total_steps) that returns one."
        )
    if isinstance(made, ReduceLROnPlateau):
        raise TypeError(
            "ReduceLROnPlateau waits for a score, but fit moves its scheduler after "
            "every optimizer step: use patience=... or another schedule."
        )
    if made.optimizer is not optimizer:
        raise ValueError(
            "scheduler drives another optimizer than fit does: pass that one as "
            "optimizer=..., or a function (optimizer, total_steps) as scheduler."
        )
    return made
