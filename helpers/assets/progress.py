"""One line of progress per asset: a bar in a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}B [{elapsed}{postfix}]"


class Progress:
    """Counts the bytes of one asset's archive and says which step is under way."""

    def __init__(self, name: str, size: int, done: str = "installed") -> None:
        self.name, self.size, self.done = name, size, done
        self._began = time.monotonic()
        terminal = sys.stderr.isatty() and os.environ.get("COURSE_INTERACTIVE") != "0"
        self._bar = tqdm(
            total=size,
            desc=f"{name:17}",
            unit="B",
            unit_scale=True,
            bar_format=_FORMAT,
            dynamic_ncols=True,
            disable=not terminal,
            file=sys.stderr,
        )

    def step(self, what: str) -> None:
        """Announce a step."""
        if self._bar.disable:
            print(f"{self.name}: {what}", flush=True)
        else:
            self._bar.set_postfix_str(what)

    def at(self, done: int) -> None:
        """Set the number of bytes that have arrived; it never goes back."""
        self._bar.update(max(0, min(done, self.size) - self._bar.n))

    def add(self, count: int) -> None:
        """Count further bytes."""
        self._bar.update(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        word = self.done if kind is None else "failed"
        if self._bar.disable:
            seconds = time.monotonic() - self._began
            print(f"{self.name}: {word} after {seconds:.1f} s", flush=True)
        elif kind is None:
            self._bar.update(self.size - self._bar.n)
            self._bar.set_postfix_str(word)
        self._bar.close()
