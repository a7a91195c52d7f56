"""Ctrl-C as a request: stop at the next clean boundary instead of in mid-step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt"]


class Interrupt:
    """While active, the first Ctrl-C sets ``requested``; a second one raises.

    Jupyter's stop button sends the same signal. Outside the main thread, where Python
    allows no handlers, and on several processes, where only the launcher may decide,
    signals are left alone.
    """

    def __init__(self, active: bool = True) -> None:
        self.requested = False
        main = threading.current_thread() is threading.main_thread()
        self._active = active and main
        self._previous: Any = None

    def __enter__(self) -> Self:
        if self._active:
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)
