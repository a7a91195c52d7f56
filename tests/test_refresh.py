"""Refreshing measures how far numbers move, keeps it, shows it, refuses the rest."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import zmq
import zmq.asyncio
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.tools import ranges
from helpers.tools.kernels import (
    NotEnoughMemory,
    PatientClient,
    Reservation,
    kernel_environment,
)
from helpers.tools.notebooks import NotebookError
from helpers.tools.refresh import play, refresh
from helpers.tools.variants import SAVING, VARIANTS, another

TWO, ONE = SAVING, VARIANTS["one-thread"]
THREADS = "import os\nthreads = int(os.environ['COURSE_THREADS'])"


def save(path: Path, *sources: str) -> Path:
    """Write a notebook that was never executed."""
    cells = [new_markdown_cell("# Title\n\n## The section")]
    cells += [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def refreshed(path: Path, *, merge: bool = False) -> list[str] | NotebookError:
    """What one refresh under two variants says of a notebook."""
    ((found, said),) = refresh([path], variants=[TWO, ONE], merge=merge)
    assert found == path
    return said


def code(path: Path) -> list[NotebookNode]:
    """The code cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


MOVING = "print(f'loss {0.5 + threads / 100}, epochs 3, {44 + threads} of 99')"


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook whose second cell prints something else on one thread."""
    folder = tmp_path_factory.mktemp("refresh")
    path = save(folder / "58_moves.ipynb", THREADS, MOVING, "print('still')")
    assert refreshed(path) == []
    return path


def test_numbers_that_move_are_kept_with_their_range(moving: Path) -> None:
    first, second, third = code(moving)
    assert second.metadata["course"] == {
        "moved": {"0": {"0": [0.51, 0.52], "2": [45.0, 46.0]}},
        "of": second.metadata["course"]["of"],
    }
    assert "course" not in first.metadata and "course" not in third.metadata
    assert second.outputs[0].text == "loss 0.52, epochs 3, 46 of 99\n"
    about = nbformat.read(moving, as_version=4).metadata["course"]
    assert about["variants"] == ["two-threads", "one-thread"]
    assert about["saved_by"][0] == "two-threads" and len(about["machines"]) == 1


def test_the_learner_sees_the_range_below_the_output(moving: Path) -> None:
    cells = nbformat.read(moving, as_version=4).cells
    below = [
        i for i, cell in enumerate(cells) if "expected-range" in str(cell.metadata)
    ]
    assert len(below) == 1 and cells[below[0] - 1].source == MOVING
    said = "On other machines: loss 0.51 to 0.52; 45 to 46 of 99."
    assert cells[below[0]].source == f"<small>{said}</small>"


def test_refreshing_again_changes_nothing(moving: Path) -> None:
    before = moving.read_text("utf-8")
    refreshed(moving)
    seconds = '"seconds": '
    lines = [
        [line for line in text.splitlines() if seconds not in line]
        for text in (before, moving.read_text("utf-8"))
    ]
    assert lines[0] == lines[1]


def test_merging_widens_the_ranges_and_keeps_the_outputs(
    moving: Path, tmp_path: Path
) -> None:
    path = tmp_path / moving.name
    elsewhere = moving.read_text("utf-8").replace("threads / 100", "threads / 50")
    path.write_text(elsewhere, "utf-8")
    assert refreshed(path, merge=True) == []
    (_, second, _) = code(path)
    assert second.outputs[0].text.startswith("loss 0.52")
    assert second.metadata["course"]["moved"]["0"]["0"] == [0.51, 0.54]


def test_words_that_change_with_the_machine_are_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "59_words.ipynb", THREADS, "print('best: ' + 'ab'[threads - 1])"
    )
    before = path.read_bytes()
    said = refreshed(path)
    assert isinstance(said, NotebookError)
    assert "code cell 2" in str(
        said
    ) and "saved is 'best: b'; this one is 'best: a'" in str(said)
    assert path.read_bytes() == before


def test_a_cell_that_speaks_on_another_machine_only_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "63_speaks.ipynb", THREADS, "if threads == 1:\n    print(5)")
    assert "it shows stdout; saved is nothing" in str(refreshed(path))


def test_ranges_of_another_output_count_for_nothing(moving: Path) -> None:
    (_, second, _) = code(moving)
    assert ranges.moved_of(second) and not ranges.outdated(second)
    second.outputs[0].text = "loss 0.7\n"
    assert not ranges.moved_of(second) and ranges.outdated(second)


def test_refreshing_names_the_machines_whose_ranges_it_drops(
    moving: Path, tmp_path: Path
) -> None:
    path = tmp_path / moving.name
    notebook = nbformat.read(moving, as_version=4)
    notebook.metadata["course"]["machines"].append("arm64 Apple M4")
    nbformat.write(notebook, path)
    (said,) = refreshed(path)
    assert "arm64 Apple M4" in said and "refresh --merge" in said


def test_an_assertion_that_fails_on_another_machine_is_refused(tmp_path: Path) -> None:
    either = "assert threads > 1 or threads == 1"
    both = "assert 1 < threads and threads"
    path = save(tmp_path / "60_fails.ipynb", f"{THREADS}\n{either}", both)
    said = refreshed(path)
    assert isinstance(said, NotebookError)
    assert "code cell 2: `1 < threads` fails in one-thread" in str(said)
    assert "code cell 1" not in str(said)


def test_an_assertion_with_little_room_is_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "61_thin.ipynb",
        THREADS,
        "assert threads > 0.5",
        "assert threads > -9",
    )
    (said,) = refreshed(path)
    assert "code cell 2: `threads > 0.5` holds by 0.5 only" in said


def test_prose_that_repeats_a_number_that_moves_is_named() -> None:
    cell = new_code_cell("print(x)", execution_count=1)
    text = "accuracy 86 %, 48 of 99\n"
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    moved = {"0": {"0": [84, 87], "1": [44, 52]}}
    cell.metadata["course"] = {"moved": moved, "of": ranges.print_of(cell)}
    prose = (
        "It reaches 86 %, though about 85 % is usual, and **48 of 99** are right; {}."
    )
    later = new_markdown_cell("## So\n\n" + prose.format("in 2016 it was 93 %"))
    found = ranges.prose_findings(new_notebook(cells=[cell, later]))
    assert [f.partition(", which")[0][-10:].strip() for f in found] == [
        "says 86 %",
        "s 48 of 99",
    ]


def test_jitter_moves_weights_and_repeats_itself(tmp_path: Path) -> None:
    train = """
        weights = torch.nn.Parameter(torch.ones(1000))
        optimizer = torch.optim.SGD([weights], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (weights**2).sum().backward()
            optimizer.step()
        print(weights.double().sum().item())
    """
    path = save(tmp_path / "62_jitter.ipynb", "import torch", textwrap.dedent(train))
    shown = [
        play(path, VARIANTS[name]).played.cells.popitem()[1][0].text
        for name in ("one-thread", "jitter-3", "jitter-3", "jitter-4")
    ]
    assert shown[1] == shown[2] and len(set(shown)) == 3
    plain, jittered = float(shown[0]), float(shown[1])
    assert abs(plain - jittered) < 1e-4 * plain


def test_jitter_shakes_keras_on_torch_and_imports_no_tensorflow(tmp_path: Path) -> None:
    first = 'import os, sys\nos.environ["KERAS_BACKEND"] = "torch"\nimport keras'
    train = """
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1000)])
        model.set_weights([keras.ops.ones((3, 1000)), keras.ops.ones(1000)])
        model.compile("sgd", "mse")
        x, y = keras.ops.ones((4, 3)), keras.ops.zeros((4, 1000))
        model.fit(x, y, epochs=3, verbose=0)
        print(float(model.get_weights()[0].astype("float64").sum()))
        assert "tensorflow" not in sys.modules
    """
    path = save(tmp_path / "63_keras.ipynb", first, textwrap.dedent(train))
    runs = [play(path, VARIANTS[name]) for name in ("one-thread", "jitter-3")]
    shown = [run.played.cells.popitem()[1][0].text for run in runs]
    plain, jittered = map(float, shown)
    assert plain != jittered and abs(plain - jittered) < 1e-4 * abs(plain)


def test_a_failing_notebook_is_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "55_fails.ipynb", "print(1)", "1 / 0")
    before = path.read_bytes()
    said = str(refreshed(path))
    assert "code cell 2 ('The section')" in said
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_dead_kernel_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "56_dies.ipynb", "import os", "os.kill(os.getpid(), 9)")
    said = str(refreshed(path))
    assert "The kernel died" in said and "out of memory" in said


def test_refresh_measures_and_writes_clean_json(tmp_path: Path) -> None:
    path = save(
        tmp_path / "57_widget.ipynb",
        "block = bytearray(300 * 2**20)\nimport time; time.sleep(1)",
        "from ipywidgets import interact\ninteract(lambda a: print(a), a=(0, 3));",
    )
    measurement = play(path, TWO).measurement
    assert measurement.seconds > 1
    assert 300 * 2**20 < measurement.peak_bytes < 900 * 2**20
    assert refreshed(path) == []
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    notebook = nbformat.reads(text, as_version=4)
    assert "widgets" not in notebook.metadata
    assert "version" not in notebook.metadata.language_info
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    assert not notebook.cells[-1].outputs, "a saved widget would be an error message"


@pytest.mark.parametrize("hours", [1, 24, 168])
def test_every_variant_but_the_saving_one_takes_its_turn(hours: int) -> None:
    seen = {another(hours * run).name for run in range(60)}
    assert seen == set(VARIANTS) - {SAVING.name}


def test_no_kernel_starts_without_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.tools.kernels._SETTLED", 0)
    with pytest.raises(NotEnoughMemory, match="1024.0 GiB .* close other programs"):
        Reservation(tmp_path, needed=2**40)


def test_memory_promised_to_a_kernel_is_not_promised_twice(tmp_path: Path) -> None:
    import psutil

    half = int(psutil.virtual_memory().available * 0.6)
    ask = "import sys; from pathlib import Path; from helpers.tools.kernels import "
    ask += (
        f"Reservation; Reservation(Path({str(tmp_path)!r}), {half}); print('started')"
    )
    with Reservation(tmp_path, half):
        other = subprocess.Popen(
            [sys.executable, "-c", ask],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=5)
    assert other.communicate()[0] == "started\n"


@pytest.mark.parametrize("born", [0, None])
def test_a_dead_owner_promises_nothing(tmp_path: Path, born: int | None) -> None:
    ask = "import os; print(os.getpid())"
    child = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True
    )
    # Gone, or its number given to another process.
    owner = child.stdout.strip() if born is None else str(os.getpid())
    stale = tmp_path / f"{owner}-{born or 1}-0"
    stale.touch()
    with Reservation(tmp_path, needed=1):
        assert not stale.exists()


def test_a_shell_cannot_switch_assertions_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_ASSERTIONS", "noted")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    found = kernel_environment(ONE)
    assert not {"COURSE_ASSERTIONS", "ONEDNN_MAX_CPU_ISA"} & set(found)


async def reply_that_wakes_nobody(channel_class: type[AsyncZMQSocketChannel]) -> str:
    """What a channel gets when its socket is used while a reply comes in."""
    session = Session(key=b"")
    context = zmq.asyncio.Context()
    kernel = zmq.Context.shadow(context.underlying).socket(zmq.PAIR)
    socket = context.socket(zmq.PAIR)
    kernel.bind("inproc://shell")
    socket.connect("inproc://shell")
    waiting = asyncio.ensure_future(channel_class(socket, session).get_msg())
    try:
        await asyncio.sleep(0.1)
        session.send(kernel, "execute_reply")
        # The event is taken, as by a message that is sent past the asyncio socket.
        while not zmq.Socket.shadow(socket.underlying).get(zmq.EVENTS) & zmq.POLLIN:
            pass
        return str((await asyncio.wait_for(waiting, 20))["msg_type"])
    finally:
        kernel.close(linger=0)
        socket.close(linger=0)
        context.term()


def test_a_reply_that_wakes_nobody_is_found() -> None:
    channel = PatientClient.shell_channel_class.default_value
    assert asyncio.run(reply_that_wakes_nobody(channel)) == "execute_reply"
