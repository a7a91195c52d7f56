"""Batches whose order and randomness depend only on (seed, epoch, step).

That is what makes an interrupted training continue bit for bit: nothing has to be
remembered about random number generators, since every step sets them anew. The order
is drawn here and not by the DataLoader, whose iterator takes numbers from the very
generators that a resumed run has just set (measured: ten of eleven ways of restoring
their state ended in different weights).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from helpers.loop.explain import explained, listed
from helpers.loop.seeding import mix, reseed

__all__ = ["Batch", "Batches", "Shard", "dataset_order", "same_kind", "targets"]
__all__ += ["to_device"]

# Of the free memory; training data and validation data may each take it.
_SHARE_OF_GPU = 0.2

Batch = Any
"""What a loader yields: a tuple or list of tensors, or a dict of tensors."""


def targets(batch: Batch) -> Any:
    """``batch["labels"]``, or the last of a tuple's parts; None without them."""
    if hasattr(batch, "items"):
        return batch.get("labels")
    return batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a batch; anything else stays as it is.

    Raises:
        ValueError: a tensor lies on another accelerator than the model, or on "meta".
    """
    if isinstance(batch, torch.Tensor):
        if batch.device == device:
            return batch
        if batch.device.type != "cpu":
            raise ValueError(
                f"the data is on {batch.device} but the model trains on {device}: "
                f"move the data with .to({str(device)!r}) or keep it on the CPU, "
                "from where every batch is moved for you."
            )
        return batch.to(device, non_blocking=True)
    if hasattr(batch, "items"):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return same_kind(batch, [to_device(value, device) for value in batch])
    return batch


def same_kind(batch: Batch, parts: list[Any]) -> Batch:
    """``parts`` as the kind of tuple or list that ``batch`` is, also a named one."""
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def dataset_order(parts: list[torch.Tensor], plan: list[list[int]]) -> torch.Tensor:
    """Rows that were read batch by batch after a plan, put in the dataset's order.

    The result is a tensor of its own, on which the caller may go on to train.
    """
    place = torch.tensor([index for batch in plan for index in batch]).argsort()
    return torch.cat(parts)[place]


@dataclass(frozen=True)
class Shard:
    """This process's share of one batch.

    Attributes:
        indices: dataset indices, never empty.
        seed: of everything random while the share is read.
        count: examples that matter: 0 for a share that only keeps the others company.
        number, total: the batch, counted from 0, and how many there are.
        name: whose batch it is: "train", say.
    """

    indices: list[int]
    seed: int
    count: int
    number: int
    total: int
    name: str

    def __str__(self) -> str:
        return (
            f"batch {self.number + 1} of {self.total} of {self.name}, the "
            f"{listed(self.indices)} of {self.name}.dataset"
        )


class _SeededReader(Dataset):
    """Reads the examples of one planned batch, after seeding (in a worker too)."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitems__(self, shards: list[Shard]) -> list[Any]:
        (batch,) = shards
        reseed(batch.seed)
        # torch's own protocol: Subset and datasets that read many at once have it.
        many = getattr(self.dataset, "__getitems__", None)
        if callable(many):
            return many(batch.indices)
        examples: list[Any] = []
        try:
            for index in batch.indices:
                examples.append(self.dataset[index])
        except Exception as error:
            error.add_note(f"It comes from dataset[{batch.indices[len(examples)]}].")
            raise
        return examples


def _fits(tensors: Sequence[torch.Tensor], device: torch.device) -> bool:
    """Whether tensors of the CPU would take a small part of a GPU's free memory."""
    if any(t.device.type != "cpu" for t in tensors):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(t.nbytes for t in tensors) <= _SHARE_OF_GPU * free


def _start_worker(then: Callable[[int], None] | None, number: int) -> None:
    # Ctrl-C reaches workers too, but the loop still needs them for its last step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if then is not None:
        then(number)


class Batches:
    """A DataLoader's batches in an order that is a function of (seed, epoch).

    Args:
        loader: over a map-style dataset. Its sampler, batch size, ``drop_last``,
            ``collate_fn`` and workers are respected; a TensorDataset is sliced in
            memory (a quarter of the DataLoader's time, the same tensors).
        name: "train" or "valid", for error messages.
        seed: of the order and of everything random while reading.
        rank, world: this process's share of every batch, and how many share it.
        device: where the batches will go: a TensorDataset that is small beside a GPU's
            free memory is moved there at once, so that no step waits for a copy.

    Raises:
        TypeError: not a DataLoader, or one over an IterableDataset or with a
            DistributedSampler.
        ValueError: the loader has no batches or no batch size.
    """

    def __init__(
        self,
        loader: DataLoader,
        name: str,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        if not isinstance(loader, DataLoader):
            raise TypeError(
                f"{name} is a {type(loader).__name__}: give a torch DataLoader, e.g. "
                f"DataLoader(dataset, batch_size=64, shuffle={name == 'train'})."
            )
        if isinstance(loader.dataset, IterableDataset):
            raise TypeError(
                f"{name} reads an IterableDataset, whose place cannot be found again "
                "after an interruption: give a dataset with __getitem__ and __len__."
            )
        if loader.batch_sampler is None:
            raise ValueError(f"{name} has batch_size=None: give it a batch size.")
        if isinstance(loader.sampler, DistributedSampler):
            raise TypeError(
                f"{name} has a DistributedSampler, but fit divides every batch among "
                "the processes itself: use shuffle=True instead."
            )
        self.loader, self.name, self.seed = loader, name, seed
        self.rank, self.world = rank, world
        self.num_batches = len(loader)
        if self.num_batches == 0:
            raise ValueError(
                f"{name} has no batches: its dataset holds {len(loader.dataset)} "  # type: ignore[arg-type]
                f"examples with batch_size={loader.batch_size} and "
                f"drop_last={loader.drop_last}. Give it more data, a smaller batch "
                "size or drop_last=False."
            )
        dataset = loader.dataset
        # Workers were asked for; slicing in memory needs none.
        plain = loader.collate_fn is default_collate and type(dataset) is TensorDataset
        self._tensors: Sequence[torch.Tensor] | None = (
            dataset.tensors if plain and isinstance(dataset, TensorDataset) else None
        )
        self._pin = False
        if self._tensors and device is not None and device.type == "cuda":
            if _fits(self._tensors, device):
                self._tensors = [t.to(device) for t in self._tensors]
            self._pin = loader.pin_memory and not self._tensors[0].is_cuda
        self._kept: DataLoader | None = None

    @property
    def labels_in_memory(self) -> torch.Tensor | None:
        """All labels at once when the dataset is a TensorDataset, else None."""
        return targets(self._tensors) if self._tensors else None

    def plan(self, epoch: int) -> list[list[int]]:
        """The dataset indices of every batch of an epoch, in order."""
        loader, seed = self.loader, mix(self.seed, epoch)
        sampler, batch_sampler = loader.sampler, loader.batch_sampler
        if type(batch_sampler) is BatchSampler and loader.batch_size is not None:
            order = self._order(sampler, seed, epoch)
            size = loader.batch_size
            batches = [order[i : i + size] for i in range(0, len(order), size)]
            if loader.drop_last and len(batches[-1]) < size:
                batches.pop()
            return batches
        self._seed_sampler(batch_sampler, seed, epoch)
        return [list(indices) for indices in batch_sampler]  # type: ignore[union-attr]

    def _order(self, sampler: Any, seed: int, epoch: int) -> list[int]:
        count = len(self.loader.dataset)  # type: ignore[arg-type]
        if type(sampler) is SequentialSampler:
            return list(range(count))
        once = type(sampler) is RandomSampler and not sampler.replacement
        if once and sampler.num_samples <= count:
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(count, generator=generator).tolist()
            return order[: sampler.num_samples]
        self._seed_sampler(sampler, seed, epoch)
        return list(sampler)

    @staticmethod
    def _seed_sampler(sampler: Any, seed: int, epoch: int) -> None:
        reseed(seed)
        if isinstance(getattr(sampler, "generator", None), torch.Generator):
            sampler.generator.manual_seed(seed)
        if callable(getattr(sampler, "set_epoch", None)):
            sampler.set_epoch(epoch)

    def all_batches(self) -> list[list[int]]:
        """A plan that reads every example once, whatever the sampler leaves out.

        In the sampler's own batches if it has a reason for them, as one that groups
        texts by length does, else in dataset order; see :func:`dataset_order`.
        """
        count = len(self.loader.dataset)  # type: ignore[arg-type]
        plain = type(self.loader.sampler) in (SequentialSampler, RandomSampler)
        if not plain or type(self.loader.batch_sampler) is not BatchSampler:
            plan = self.plan(0)
            if sorted(index for batch in plan for index in batch) == list(range(count)):
                return plan
        size = self.loader.batch_size or max(map(len, self.plan(0)))
        return [list(range(i, min(i + size, count))) for i in range(0, count, size)]

    def example(self, index: int) -> Any:
        """One example as the dataset gives it, with the same randomness every time."""
        shard = Shard([index], mix(index), 1, 0, 1, self.name)
        return _SeededReader(self.loader.dataset).__getitems__([shard])[0]

    def read(
        self, plan: list[list[int]], epoch: int = 0, start: int = 0
    ) -> Iterator[tuple[Shard, Batch]]:
        """Yield this process's share of every batch of a plan from ``start`` on.

        An empty share (fewer examples than processes) reads the batch's first example
        with ``count`` 0, so that every process takes part in every step.
        """
        shards = []
        for number in range(start, len(plan)):
            indices = plan[number]
            share = indices[self.rank :: self.world] if self.world > 1 else indices
            seed = mix(self.seed, epoch, number, self.rank)
            place = (number, len(plan), self.name)
            shards.append(Shard(share or indices[:1], seed, len(share), *place))
        if self._tensors is None:
            read = iter(self._loader(shards))
            for part in shards:
                with explained(part):
                    batch = next(read)
                yield part, batch
            return
        everywhere = [index for part in shards for index in part.indices]
        index = torch.tensor(everywhere, dtype=torch.int64).to(self._tensors[0].device)
        sizes = [len(part.indices) for part in shards]
        for part, rows in zip(shards, index.split(sizes), strict=True):
            batch = tuple(t.index_select(0, rows) for t in self._tensors)
            yield part, tuple(t.pin_memory() for t in batch) if self._pin else batch

    def _loader(self, shards: list[Shard]) -> DataLoader:
        loader, queue = self.loader, [[part] for part in shards]
        if self._kept is not None:
            # The workers of the epoch before go on; only what they read is new.
            self._kept.batch_sampler[:] = queue  # type: ignore[index]
            return self._kept
        made = DataLoader(
            _SeededReader(loader.dataset),
            batch_sampler=queue,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=partial(_start_worker, loader.worker_init_fn),
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
            # Its own generator: the base seed must not come out of the caller's.
            generator=torch.Generator().manual_seed(self.seed % 2**63),
        )
        if loader.persistent_workers:
            self._kept = made
        return made
