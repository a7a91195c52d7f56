"""Run a frozen backbone once, keep its vectors, train heads on them in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm

from helpers.environment import interactive
from helpers.files import remove_leftovers, replacing
from helpers.loop.accelerator import prepare
from helpers.loop.batches import (
    Batch,
    Batches,
    dataset_order,
    targets,
    to_device,
)
from helpers.loop.explain import explained
from helpers.loop.hashing import ContentHash
from helpers.loop.modes import in_eval_mode
from helpers.loop.seeding import own_randomness
from helpers.loop.steps import inputs_of

__all__ = ["Features", "cache_features", "mean_pool"]

Embed = Callable[[nn.Module, Batch], torch.Tensor]


@dataclass(frozen=True)
class Features:
    """Vectors of a dataset and its labels, in dataset order.

    Attributes:
        x: (n, d) float32, on the CPU; memory-mapped when a folder was given.
        y: the labels, (n, …).
        from_cache: True when they were read back instead of computed.
    """

    x: torch.Tensor
    y: torch.Tensor
    from_cache: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def width(self) -> int:
        """Length d of a vector: the ``in_features`` of a head."""
        return self.x.shape[1]

    def loader(self, batch_size: int = 64, shuffle: bool = False) -> DataLoader:
        """A DataLoader of (vectors, labels) for ``fit`` or ``evaluate``."""
        return DataLoader(TensorDataset(self.x, self.y), batch_size, shuffle=shuffle)


def mean_pool(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean of a transformers encoder's last hidden states over real tokens: (n, d).

    The sentence embedding of all-MiniLM-L6-v2 before its normalisation (Reimers &
    Gurevych 2019). Padding does not count. Taught in notebook 01.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def cache_features(
    backbone: nn.Module,
    loader: DataLoader,
    *,
    embed: Embed | None = None,
    folder: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Features:
    """Embed every example of a loader once, in eval mode without gradients.

    Taught in notebook 09. The vectors come in dataset order, also from a loader that
    shuffles. A head trained on them equals a head trained behind the frozen backbone,
    as long as nothing random happens before the backbone.

    Args:
        backbone: frozen or not, it is only read; its modes are put back.
        loader: over (x, y) tuples, or dicts with "labels".
        embed: ``embed(backbone, batch) -> (n, d)``; by default ``backbone(x)``, for
            dicts ``mean_pool`` is a good one.
        folder: keep the vectors there, memory-mapped, under a name made from the
            backbone's weights, ``embed`` and every input as transformed; the next call
            with the same ones reads them back.
        device, progress: as in ``fit``.

    Raises:
        TypeError: ``loader`` is not a DataLoader, or ``embed`` uses what cannot be
            named in a file name.
        ValueError: the inputs change from one reading to the next (augmentation), the
            outputs are not (n, d), the loader is empty or without labels, or a file in
            ``folder`` is damaged.
    """
    with (
        prepare(backbone, precision="fp32", device=device) as prepared,
        own_randomness(),
    ):
        batches = Batches(loader, "loader", 0)
        _refuse_random_inputs(batches)
        path, y = None, None
        if folder is not None:
            key, y = _key(backbone, batches, embed)
            path = Path(folder) / f"features-{key}.npy"
            remove_leftovers(path.parent)
            if path.exists():
                return Features(_memory_mapped(path), y, from_cache=True)
        x, y = _run(backbone, batches, embed or inputs_of, prepared.device, progress)
    if path is not None:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, x.numpy())
        x = _memory_mapped(path)
    return Features(x, y)


def _run(
    backbone: nn.Module,
    batches: Batches,
    embed: Embed,
    device: torch.device,
    progress: bool | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    vectors, labels = [], []
    plan = batches.all_batches()
    shown = interactive() if progress is None else progress
    reader = tqdm(batches.read(plan), total=len(plan), disable=not shown, leave=False)
    with in_eval_mode(backbone):
        for part, batch in reader:
            with explained(part, batch):
                x = embed(backbone, to_device(batch, device))
            if x.ndim != 2:
                raise ValueError(
                    f"the backbone returned shape {tuple(x.shape)}, not (n, d): pool "
                    "the rest away, e.g. embed=lambda m, b: m(b[0]).mean((2, 3))."
                )
            vectors.append(x.float().cpu())
            labels.append(_labels(batch))
    return dataset_order(vectors, plan), dataset_order(labels, plan)


def _refuse_random_inputs(batches: Batches) -> None:
    # Enough examples that even a rare event, such as a mirrored picture, happens.
    first = [list(range(min(16, len(batches.loader.dataset))))]  # type: ignore[arg-type]
    names = []
    for epoch in (0, 1):  # two epochs have different seeds
        content = ContentHash()
        content.add(next(batches.read(first, epoch))[1])
        names.append(content.name())
    if names[0] != names[1]:
        raise ValueError(
            "reading the same examples twice gave different inputs: the dataset's "
            "transform is random, and a cache would keep one roll of the dice. Use the "
            "transform without augmentation, or train behind the backbone with fit."
        )


def _key(
    backbone: nn.Module, batches: Batches, embed: Embed | None
) -> tuple[str, torch.Tensor]:
    """A name for (weights, code, inputs), and the labels met on the way."""
    content = ContentHash()
    content.add(backbone)
    content.add(embed)
    labels, plan = [], batches.all_batches()
    for _, batch in batches.read(plan):
        content.add(batch)
        labels.append(_labels(batch))
    return content.name(), dataset_order(labels, plan)


def _labels(batch: Batch) -> torch.Tensor:
    y = targets(batch)
    if y is None:
        raise ValueError(
            "loader gives no labels, and features are kept together with them: let its "
            'dataset return (x, y), or dicts with "labels"; zeros will do.'
        )
    return torch.as_tensor(y)


def _memory_mapped(path: Path) -> torch.Tensor:
    try:
        # Copy-on-write: torch asks for writable memory, the file itself never changes.
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and it is computed anew."
        ) from error
