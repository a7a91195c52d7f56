"""What strict nbval lacks: numbers within measured bounds, and well-kept kernels.

Loaded by the root conftest. `helpers.tools.outputs` compares. Kernels get the
environment in which `python -m helpers refresh` saved the outputs, play the variant of
the machine that COURSE_VARIANT names, and start only where memory is free.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Sequence
from queue import Empty
from typing import Any

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, NbCellError

from helpers.tools import variants
from helpers.tools.kernels import (
    Reservation,
    dead_kernel_report,
    kernel_arguments,
    kernel_environment,
    kernel_exitcode,
    use_socket_files,
)
from helpers.tools.notebooks import heading_above
from helpers.tools.outputs import differences, fields
from helpers.tools.ranges import moved_of
from helpers.tools.sections import WHOLE, measured

VARIANT = variants.variant(os.environ.get("COURSE_VARIANT", variants.TESTED.name))


class KernelDied(Exception):
    """The kernel's process ended while a cell was running."""


def start_new_kernel(
    startup_timeout: float = 60, kernel_name: str = "python", **kwargs: Any
) -> tuple[Any, Any]:
    """Start a kernel in the shared environment; replaces nbval's function."""
    manager = KernelManager(
        kernel_name=kernel_name,
        kernel_spec_manager=nbval.kernel.NbvalKernelspecManager(),
    )
    memory = Reservation()
    folder = use_socket_files(manager)
    manager.course_folder, manager.course_memory = folder, memory
    client = None
    try:
        manager.start_kernel(
            env=kernel_environment(VARIANT),
            extra_arguments=kernel_arguments(VARIANT),
            **kwargs,
        )
        memory.used_by(manager.provisioner.pid)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=startup_timeout)
    except BaseException:
        if client is not None:
            client.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        give_back(manager)
        raise
    return manager, client


def give_back(manager: KernelManager) -> None:
    """Let the memory and the socket files of a kernel that is gone go."""
    manager.course_memory.release()
    if manager.course_folder:
        shutil.rmtree(manager.course_folder, ignore_errors=True)


class CourseKernel(nbval.kernel.RunningKernel):
    """nbval's kernel, noticing death within a second and keeping `Out[n]`."""

    def execute_cell_input(
        self, cell_input: str, allow_stdin: bool | None = None
    ) -> str:
        return str(
            self.kc.execute(
                cell_input,
                store_history=True,
                allow_stdin=allow_stdin,
                stop_on_error=False,
            )
        )

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        end = time.monotonic() + (timeout or float("inf"))
        while True:
            try:
                message = self.get_message("shell", timeout=1)
            except Empty:
                if not self.is_alive():
                    raise KernelDied from None
                if time.monotonic() > end:
                    raise
                continue
            if message["parent_header"].get("msg_id") == msg_id:
                if message["content"]["status"] == "aborted":
                    raise RuntimeError("the kernel refused to run this cell")
                return

    def stop(self) -> None:
        manager = self.km  # nbval forgets it
        try:
            super().stop()
        finally:
            give_back(manager)


def compare_outputs(
    self: IPyNbCell, test: Sequence[Any], ref: Sequence[Any], skip_compare: Any = None
) -> bool:
    """Words exactly, numbers within their bounds; replaces nbval's method."""
    told = differences(fields(ref), fields(test), moved_of(self.cell))
    self.comparison_traceback = told
    return not told


nbval.kernel.start_new_kernel = start_new_kernel
nbval.plugin.RunningKernel = CourseKernel
IPyNbCell.compare_outputs = compare_outputs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks first, the longest first of all: no core waits at the end."""

    def cost(item: pytest.Item) -> float:
        if not isinstance(item, IPyNbCell):
            return 0
        return -measured().get((item.path.name[:2], WHOLE), 1.0)

    items.sort(key=cost)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do not run the rest of a notebook whose kernel is gone."""
    if isinstance(item, IPyNbCell) and getattr(item.parent, "course_dead", False):
        pytest.xfail("the kernel died in an earlier cell")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Report a dead kernel once, with notebook, cell, section and probable cause."""
    if isinstance(item, IPyNbCell) and item.cell.execution_count is None:
        # nbval would not compare it.
        text = "the saved cell was never executed"
        raise NbCellError(item.cell_num, text, item.cell.source)
    try:
        return (yield)
    except KernelDied:
        assert isinstance(item, IPyNbCell)
        file = item.parent
        file.course_dead = True
        index = file.nb.cells.index(item.cell)
        report = dead_kernel_report(
            file.path.name,
            item.cell_num + 1,
            heading_above(file.nb, index),
            kernel_exitcode(file.kernel.km),
        )
        file.kernel.stop()
        raise NbCellError(item.cell_num, report, item.cell.source) from None
