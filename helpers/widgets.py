"""Knobs to turn in a notebook, with a still picture where nobody can turn them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython.display import display

from helpers.environment import interactive

__all__ = ["explore"]


def explore(show: Callable[..., None], **controls: Any) -> None:
    """Call ``show`` with the controls' values, and again whenever one is moved.

    Under test and where pages are saved (COURSE_INTERACTIVE=0), ``show`` runs once
    with the controls' first values, so that the page also reads without a kernel.

    Args:
        show: draws or prints for one setting; ends a figure with ``plt.show()``.
        controls: one per argument of ``show``: an ipywidgets widget, or its short form,
            such as ``k=(1, 10)`` for a slider or ``name=["a", "b"]`` for a menu.
    """
    if interactive():
        display(ipywidgets.interactive(show, **controls))
        return
    # Manual: otherwise making the box would already call show, unseen.
    box = ipywidgets.interactive(show, {"manual": True}, **controls)
    show(**{widget._kwarg: widget.value for widget in box.kwargs_widgets})
