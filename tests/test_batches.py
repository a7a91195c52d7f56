"""The order of examples and everything random in them follow from (seed, epoch)."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections import Counter, namedtuple
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from helpers.loop.batches import Batches, targets, to_device
from helpers.loop.seeding import mix, reseed
from tests.training_cases import Augmented, Listed, blobs, loader


def order(train: DataLoader, epoch: int = 0, seed: int = 0) -> list[int]:
    return list(chain.from_iterable(Batches(train, "train", seed).plan(epoch)))


def read(train: DataLoader, epoch: int = 0, start: int = 0, seed: int = 0) -> Any:
    batches = Batches(train, "train", seed)
    return [b for _, b in batches.read(batches.plan(epoch), epoch, start)]


def equal(first: Any, second: Any) -> bool:
    pairs = zip(chain(*first), chain(*second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_every_example_comes_once_an_epoch_in_a_new_order() -> None:
    train = loader()
    first, second = order(train, 0), order(train, 1)
    assert sorted(first) == sorted(second) == list(range(60))
    assert first != second
    assert first != list(range(60))
    assert order(train, 0) == first
    assert order(train, 0, seed=1) != first


def test_a_loader_that_does_not_shuffle_keeps_its_order() -> None:
    assert order(loader(shuffle=False), 3) == list(range(60))


def test_batch_size_and_drop_last_are_respected() -> None:
    sizes = [len(b) for b in Batches(loader(), "train", 0).plan(0)]
    assert sizes == [8] * 7 + [4]
    dropped = Batches(loader(drop_last=True), "train", 0)
    assert [len(b) for b in dropped.plan(0)] == [8] * 7
    assert dropped.num_batches == 7


SAMPLERS: dict[str, Any] = {
    "weighted": lambda d: WeightedRandomSampler(torch.arange(len(d)) % 3 + 0.0, 40),
    "with replacement": lambda d: RandomSampler(d, replacement=True, num_samples=30),
    "some": lambda d: RandomSampler(d, num_samples=20),
    "subset": lambda d: SubsetRandomSampler([1, 5, 9, 13, 17]),
    "own generator": lambda d: RandomSampler(
        d, replacement=True, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_are_respected_and_repeatable(name: str) -> None:
    data = blobs()
    train = DataLoader(data, 8, sampler=SAMPLERS[name](data))
    first = order(train, 0)
    assert len(first) == len(train.sampler)  # type: ignore[arg-type]
    torch.rand(3)  # what the caller draws in between must not matter
    assert order(train, 0) == first
    assert order(train, 1) != first
    allowed = {"weighted": [i for i in range(60) if i % 3], "subset": [1, 5, 9, 13, 17]}
    assert set(first) <= set(allowed.get(name, range(60)))


def test_batch_samplers_of_ones_own_are_respected() -> None:
    class Pairs(BatchSampler):
        def __iter__(self) -> Any:
            starts = list(range(0, 60, 2))
            random.shuffle(starts)
            yield from ([i, i + 1] for i in starts)

        def __len__(self) -> int:
            return 30

    sampler = Pairs(SequentialSampler(range(60)), 2, drop_last=False)
    train = DataLoader(blobs(), batch_sampler=sampler)
    plan = Batches(train, "train", 0).plan(0)
    assert all(b == a + 1 for a, b in plan)
    assert sorted(chain(*plan)) == list(range(60))
    assert Batches(train, "train", 0).plan(0) == plan
    assert Batches(train, "train", 0).plan(1) != plan


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_from_the_middle_gives_the_same_batches(workers: int) -> None:
    train = loader(Augmented(blobs(40)), num_workers=workers)
    whole = read(train, epoch=1)
    assert equal(read(train, epoch=1, start=2), whole[2:])
    assert not equal(read(train, epoch=0), whole)
    assert equal(read(loader(Augmented(blobs(40))), epoch=1), whole)


def test_tensors_in_memory_give_what_the_data_loader_gives() -> None:
    assert equal(read(loader(blobs(61))), read(loader(Listed(blobs(61)))))


def test_a_collate_function_is_used() -> None:
    def collate(items: list[Any]) -> Any:
        return torch.stack([x for x, _ in items]) * 0, torch.zeros(len(items))

    assert all(bool((x == 0).all()) for x, _ in read(loader(collate_fn=collate)))


def test_a_subset_reads_many_at_once() -> None:
    part = Subset(blobs(), range(0, 60, 3))
    x, _ = read(DataLoader(part, 4))[0]
    assert torch.equal(x, blobs().tensors[0][[0, 3, 6, 9]])


class Handlers(Listed):
    def __getitem__(self, index: int) -> bool:
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


class Numbered(Listed):
    number = -1

    def __getitem__(self, index: int) -> int:
        return self.number


def number_it(number: int) -> None:
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    assert info is not None
    info.dataset.dataset.number = 7  # type: ignore[attr-defined]


def test_workers_outlive_ctrl_c() -> None:
    (ignored,) = read(loader(Handlers(blobs(8)), num_workers=1))
    assert bool(ignored.all())


def test_the_callers_own_worker_function_runs() -> None:
    train = loader(Numbered(blobs(8)), num_workers=1, worker_init_fn=number_it)
    assert read(train)[0].tolist() == [7] * 8


class Process(Listed):
    def __getitem__(self, index: int) -> int:
        return os.getpid()


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_live_for_more_than_an_epoch(persistent: bool) -> None:
    train = loader(Process(blobs(40)), num_workers=2, persistent_workers=persistent)
    batches = Batches(train, "train", 0)
    epochs = [
        {int(n) for _, b in batches.read(batches.plan(epoch), epoch) for n in b}
        for epoch in (0, 1)
    ]
    assert [len(workers) for workers in epochs] == [2, 2]
    assert (epochs[0] == epochs[1]) == persistent


def test_fit_keeps_persistent_workers_until_it_ends() -> None:
    import helpers
    from tests.training_cases import mlp

    class WithProcess(Listed):
        def __getitem__(self, index: int) -> Any:
            return *self.dataset[index], os.getpid()

    seen: dict[bool, set[int]] = {True: set(), False: set()}

    def step(model: Any, batch: Any) -> Any:
        x, y, processes = batch
        seen[model.training].update(processes.tolist())
        outputs = model(x)
        return torch.nn.functional.cross_entropy(outputs, y), outputs

    data = loader(WithProcess(blobs()), num_workers=2, persistent_workers=True)
    helpers.fit(mlp(), data, data, step=step, metrics={}, epochs=3)
    assert [len(processes) for processes in seen.values()] == [2, 2]
    assert not multiprocessing.active_children()


def test_persistent_workers_give_the_same_batches() -> None:
    data = Augmented(blobs(40))
    kept = Batches(loader(data, num_workers=2, persistent_workers=True), "train", 0)
    for epoch, start in [(0, 0), (1, 2), (1, 0)]:
        found = [b for _, b in kept.read(kept.plan(epoch), epoch, start)]
        assert equal(found, read(loader(data), epoch, start))
    # An epoch that was left in the middle does not leak into the next one.
    next(kept.read(kept.plan(0), 0))
    found = [b for _, b in kept.read(kept.plan(2), 2)]
    assert equal(found, read(loader(data), 2))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_batch_without_gap_or_overlap(world: int) -> None:
    train = loader(blobs(61))  # the last batch holds 5
    plan = Batches(train, "train", 0).plan(0)
    for epoch in (0, 1):
        shares = []
        for rank in range(world):
            batches = Batches(train, "train", 0, rank, world)
            shares.append([p for p, _ in batches.read(batches.plan(epoch), epoch)])
        assert len({len(share) for share in shares}) == 1
        seen = Counter(
            i for share in shares for p in share for i in p.indices[: p.count]
        )
        assert seen == Counter(range(61))
    assert len(plan[-1]) == 5


def test_a_process_without_examples_keeps_the_others_company() -> None:
    train = DataLoader(blobs(9), 8)  # the last batch holds one example
    batches = Batches(train, "train", 0, rank=1, world=2)
    last, (x, _) = list(batches.read(batches.plan(0)))[-1]
    assert last.count == 0
    assert len(x) == 1


def test_labels_are_known_at_once_only_in_memory() -> None:
    known = Batches(loader(), "train", 0).labels_in_memory
    assert known is not None
    assert torch.equal(known, blobs().tensors[1])
    assert Batches(loader(Listed(blobs())), "train", 0).labels_in_memory is None


def test_seeds_are_well_mixed() -> None:
    seeds = {mix(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(0, 1) != mix(1, 0)
    assert mix(-1) != mix(1)
    flipped = (mix(5, 7) ^ mix(5, 6)).bit_count()
    assert 16 < flipped < 48  # one bit changes about half of all bits


def test_one_seed_sets_all_three_generators() -> None:
    def roll() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    reseed(2**62 + 3)
    first = roll()
    assert roll() != first
    reseed(2**62 + 3)
    assert roll() == first


def test_moving_keeps_the_kind_of_batch() -> None:
    Pair = namedtuple("Pair", "x y")
    cpu = torch.device("cpu")
    x = torch.ones(2)
    moved = to_device(Pair(x, [x, "text"]), cpu)
    assert isinstance(moved, Pair)
    assert moved.y[1] == "text"
    assert to_device({"a": (x, 1)}, cpu) == {"a": (x, 1)}


def test_named_tuples_train() -> None:
    import helpers
    from tests.training_cases import mlp

    Pair = namedtuple("Pair", "x y")

    class Named(Listed):
        def __getitem__(self, index: int) -> Any:
            return Pair(*self.dataset[index])

    history = helpers.fit(mlp(), loader(Named(blobs())), epochs=3, lr=0.05)
    assert history["train_loss"][-1] < history["train_loss"][0]


@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_get_the_kind_of_batch_that_the_loader_gives(channels_last: bool) -> None:
    import helpers
    from tests.training_cases import cnn, pictures

    Pair = namedtuple("Pair", "x y")

    class Named(Listed):
        def __getitem__(self, index: int) -> Any:
            return Pair(*self.dataset[index])

    def step(model: Any, batch: Any) -> Any:
        layout = batch.x.is_contiguous(memory_format=torch.channels_last)
        assert layout == channels_last
        outputs = model(batch.x)
        return torch.nn.functional.cross_entropy(outputs, batch.y), outputs

    data = loader(Named(pictures()))
    helpers.fit(cnn(), data, step=step, channels_last=channels_last)


def test_a_dataset_in_memory_stays_what_it_is() -> None:
    data = TensorDataset(*blobs().tensors)
    before = [t.clone() for t in data.tensors]
    read(loader(data))
    assert all(torch.equal(a, b) for a, b in zip(before, data.tensors, strict=True))


def test_a_sampler_may_draw_more_than_there_is() -> None:
    twice = RandomSampler(blobs(10), num_samples=20)
    batches = Batches(DataLoader(blobs(10), 4, sampler=twice), "train", 0)
    plan = batches.plan(0)
    assert len(plan) == batches.num_batches == 5
    assert sorted(i for batch in plan for i in batch) == sorted([*range(10)] * 2)
    assert plan == batches.plan(0) != batches.plan(1)


def test_labels_are_only_where_there_are_some() -> None:
    x, y = torch.ones(2, 3), torch.ones(2)
    assert targets((x, y)) is y
    assert targets({"labels": y, "x": x}) is y
    for batch in (x, (x,), [x], {"x": x}):
        assert targets(batch) is None
