"""What strict nbval lacks: a fixed environment, `Out[n]`, and a quick word on death.

Loaded by the root conftest. The kernels get the environment in which
`python -m helpers refresh` saved the outputs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from queue import Empty
from typing import Any

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, NbCellError

from helpers.tools.notebooks import (
    KERNEL_ARGUMENTS,
    dead_kernel_report,
    heading_above,
    kernel_environment,
    kernel_exitcode,
    use_socket_files,
)


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
    folder = use_socket_files(manager)
    manager.start_kernel(
        env=kernel_environment(), extra_arguments=list(KERNEL_ARGUMENTS), **kwargs
    )
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=startup_timeout)
    except RuntimeError:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        raise
    finally:
        manager.course_folder = folder
    return manager, client


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
        folder = getattr(self.km, "course_folder", None)
        super().stop()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


nbval.kernel.start_new_kernel = start_new_kernel
nbval.plugin.RunningKernel = CourseKernel


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Report a dead kernel once, with notebook, cell, section and probable cause."""
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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do not run the rest of a notebook whose kernel is gone."""
    if isinstance(item, IPyNbCell) and getattr(item.parent, "course_dead", False):
        pytest.xfail("the kernel died in an earlier cell")
