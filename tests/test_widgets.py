"""A knob calls its function when moved, and once where nobody can move it."""

from __future__ import annotations

from typing import Any

import ipywidgets
import pytest

import helpers
from helpers import widgets


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    shown: list[Any] = []
    monkeypatch.setattr(widgets, "display", shown.append)
    return shown


def test_without_a_kernel_the_first_values_are_shown_once(
    displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_INTERACTIVE", "0")
    calls: list[Any] = []
    helpers.explore(
        lambda k, name: calls.append((k, name)),
        k=ipywidgets.IntSlider(3, 1, 10),
        name=["a", "b"],
    )
    assert calls == [(3, "a")]
    assert displayed == []


def test_moving_a_knob_calls_again(
    displayed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_INTERACTIVE", "1")
    calls: list[int] = []
    slider = ipywidgets.IntSlider(3, 1, 10)
    helpers.explore(lambda k: calls.append(k), k=slider)
    assert len(displayed) == 1
    slider.value = 7
    assert calls[-1] == 7


def test_a_wrong_control_is_refused(displayed: list[Any]) -> None:
    with pytest.raises(ValueError, match="cannot be transformed"):
        helpers.explore(lambda k: None, k=object())
