"""Figures that several notebooks draw: pictures in a row, confusion, runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["plot_confusion_matrix", "plot_mean_std", "show_images"]


def show_images(
    images: Iterable[Any], titles: Sequence[str] = (), *, columns: int = 8
) -> None:
    """Draw pictures in rows: PIL images, or tensors (c, h, w) or (h, w) in 0..1."""
    pictures = [_drawable(image) for image in images]
    rows = -(-len(pictures) // columns)
    size = (1.2 * columns, (1.5 if titles else 1.2) * rows)
    _, axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    for number, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(picture, cmap="gray" if picture.ndim == 2 else None)
        if number < len(titles):
            ax.set_title(titles[number], fontsize=8)
    plt.show()


def _drawable(image: Any) -> np.ndarray:
    picture = np.asarray(image)
    if picture.ndim == 3 and picture.shape[0] in (1, 3):
        picture = picture.transpose(1, 2, 0)
    return picture.squeeze(-1) if picture.shape[-1] == 1 else picture


def plot_confusion_matrix(
    matrix: ArrayLike, names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draw a confusion matrix (rows: truth, columns: prediction) with its counts."""
    counts = np.asarray(matrix).astype(int)
    size = 1.6 + 0.45 * len(names)
    if ax is None:
        _, ax = plt.subplots(figsize=(size + 0.6, size), layout="constrained")
    # Colours by row share: a rare class must not look empty.
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.5 else "black"
            ax.text(
                column, row, str(count), ha="center", va="center", color=color, size=8
            )
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def plot_mean_std(
    x: ArrayLike, runs: ArrayLike, ax: Axes, *, label: str, style: str = "o-"
) -> None:
    """Draw the mean of several runs (runs, points) with a band of one deviation."""
    values = np.asarray(runs, dtype=float)
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    (line,) = ax.plot(x, mean, style, ms=4, label=label)
    low, high = mean - deviation, mean + deviation
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)
