"""What a training run recorded: one row an epoch, as a table, a plot or a file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from helpers.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["History", "Mode", "Outcome"]

Outcome = Literal["running", "finished", "early stop", "interrupted"]
Mode = Literal["min", "max"]
_OWN_MODES: dict[str, Mode] = {
    "train_loss": "min",
    "valid_loss": "min",
    "valid_accuracy": "max",
}


@dataclass
class History:
    """One row an epoch: epoch, lr, train_loss, valid_loss, valid_<metric>, seconds.

    ``history["valid_loss"]`` is that column as a list, NaN where an epoch lacks it.
    ``outcome`` says how the run
    ended, ``steps`` how many optimizer steps it made, ``skipped`` how many of them the
    gradient scaler of fp16 skipped because of an overflow. ``modes`` says of each
    metric, as far as it is known, whether its best value is the "min" or the "max".
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    outcome: Outcome = "running"
    steps: int = 0
    skipped: int = 0
    modes: dict[str, Mode] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            known = ", ".join(self._columns) or "nothing yet"
            raise KeyError(f"history has no column {name!r}; it holds {known}")
        return [row.get(name, math.nan) for row in self.rows]

    @property
    def _columns(self) -> list[str]:
        """All names: a continued run may have been given other metrics."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def last(self) -> dict[str, float]:
        """The row of the last finished epoch."""
        if not self.rows:
            raise IndexError("no epoch was finished, so there is no last row")
        return self.rows[-1]

    def mode(self, name: str) -> Mode:
        """Whether the best value of a column is its "min" or its "max".

        Raises:
            ValueError: its metric does not say.
        """
        known = self.modes.get(name) or _OWN_MODES.get(name)
        if known is None:
            raise ValueError(
                f"nothing says whether a good {name!r} is low or high (its metric has "
                "no higher_is_better): pass mode='min' or mode='max'."
            )
        return known

    def best(
        self, monitor: str = "valid_loss", mode: Mode | None = None
    ) -> dict[str, float]:
        """The first row with the best value of a column (lowest for a loss).

        Raises:
            ValueError: nobody knows which values are better; pass ``mode``.
        """
        sign = 1 if (mode or self.mode(monitor)) == "min" else -1
        values = [sign * value for value in self[monitor]]
        order = range(len(values))
        return self.rows[min(order, key=lambda i: (math.isnan(values[i]), values[i]))]

    def table(self, *, timing: bool = False) -> pd.DataFrame:
        """A row an epoch. Seconds only on request: they differ from run to run."""
        import pandas as pd

        frame = pd.DataFrame(self.rows)
        if frame.empty:
            return frame
        frame = frame.astype({"epoch": int}).set_index("epoch")
        return frame if timing else frame.drop(columns="seconds")

    def plot(self, ax: Axes | None = None, *, label: str = "") -> Axes:
        """Losses against epochs (left axis) and, if recorded, metrics (right axis)."""
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            _, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
        epochs = self["epoch"]
        prefix = f"{label} " if label else ""
        for name, style in [("train_loss", "o-"), ("valid_loss", "s--")]:
            if name in self._columns:
                text = prefix + name.replace("_", " ")
                ax.plot(epochs, self[name], style, ms=4, label=text)
        others = {"epoch", "lr", "seconds", "train_loss", "valid_loss"}
        scores = [name for name in self._columns if name not in others]
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        lines, labels = ax.get_legend_handles_labels()
        if scores:
            right = ax.twinx()
            for number, name in enumerate(scores):
                text = prefix + name.replace("_", " ")
                # From the fourth on: the third is a pale grey in colour-blind styles.
                color = f"C{number + 3}"
                right.plot(epochs, self[name], "^:", ms=4, color=color, label=text)
            right.set_ylabel(", ".join(n.removeprefix("valid_") for n in scores))
            more, names = right.get_legend_handles_labels()
            lines, labels = lines + more, labels + names
        # Below the axes: inside, it would hide the end of a rising curve.
        ax.legend(
            lines,
            labels,
            frameon=False,
            fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
            ncols=3,
        )
        return ax

    def save(self, path: str | Path) -> None:
        """Write the history as JSON; an existing file is replaced in one go."""
        path = Path(path)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} does not hold a history: {error}") from error
        return cls.from_values(values, str(path))

    @classmethod
    def from_values(cls, values: Any, source: str) -> History:
        """A history from its JSON form; ``source`` names it in an error."""
        # Histories were saved without "modes" before there were any.
        names = {*values, "modes"} if isinstance(values, dict) else set()
        if names != set(asdict(cls())):
            raise ValueError(f"{source} does not hold a history saved by this course")
        return cls(**values)
