"""Which exercises this learner has solved: one small file on this machine.

`helpers.check` notes an exercise's id, the tries and the day of the first correct
answer; no answer, no name, and nothing is ever sent. The file lies in the user's data
folder, for a course folder may be shared or read-only, and a new copy of the course
shall find what was solved in the old one. COURSE_PROGRESS names another file, or is
"off". Notebook 01's first exercise is the first to write it.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.assets.paths import REPOSITORY
from helpers.files import replacing

__all__ = ["Record", "forget", "kept_in", "note", "records"]

_VERSION = 1
_ID = re.compile(r"\d\d\.\d")
# Seconds that a check waits for another kernel's; it holds the file for milliseconds.
_PATIENCE = 3.0
_said: set[str] = set()


@dataclass(frozen=True)
class Record:
    """What is known of one exercise.

    Attributes:
        tries: checked answers up to the first correct one, that one included.
        solved: the day of the first correct answer, None before it.
    """

    tries: int = 0
    solved: datetime.date | None = None


class _Damaged(ValueError):
    """The file does not hold what `note` writes."""


def kept_in() -> Path | None:
    """The file that progress is kept in, None where COURSE_PROGRESS is "off".

    A relative COURSE_PROGRESS starts at the course's folder, as COURSE_CACHE does.
    """
    chosen = os.environ.get("COURSE_PROGRESS", "").strip()
    if chosen.casefold() in ("off", "0"):
        return None
    if chosen:
        return REPOSITORY / Path(chosen).expanduser()
    from platformdirs import user_data_path

    folder = user_data_path("pretrained-models-course", appauthor=False)
    return folder / "progress.json"


def records() -> dict[str, Record]:
    """Every noted exercise by its id; empty where nothing is kept.

    A damaged file is put aside and reads as empty; an unreadable one reads as empty;
    either is said on stderr.
    """
    file = kept_in()
    if file is None:
        return {}
    try:
        return _read(file)
    except _Damaged as error:
        _put_aside(file, error)
    except OSError as error:
        _say(f"Your progress in {file} cannot be read ({_reason(error)}).")
    return {}


def note(id: str, correct: bool) -> None:
    """Count one try of exercise `id`, and keep today as the day when it was solved.

    A solved exercise stays as it is, and the course's own solution does not count.
    Nothing that goes wrong here is an error for the caller: it is said once on stderr.
    """
    file = kept_in()
    if file is None:
        return
    try:
        if _known(file).get(id, Record()).solved or _is_course_solution(id):
            return
        _write(file, id, correct)
    except (OSError, NotImplementedError) as error:  # the latter: no locks there
        _say(
            f"Your progress cannot be kept in {file} ({_reason(error)}). The exercises "
            "work all the same; COURSE_PROGRESS=FILE before starting chooses another "
            "file, COURSE_PROGRESS=off none."
        )


def forget() -> list[Path]:
    """Delete the file and everything beside it that this module made; return all."""
    file = kept_in()
    if file is None:
        return []
    # The lock goes last: it is what a kernel that is writing holds.
    beside = [*sorted(file.parent.glob(f"{file.name}.damaged-*")), _lock_of(file)]
    gone = [path for path in (file, *beside) if path.is_file()]
    for path in gone:
        path.unlink(missing_ok=True)
    return [path for path in gone if path != _lock_of(file)]


def _lock_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")


def _known(file: Path) -> dict[str, Record]:
    """As `_read`; a damaged file counts as empty until it is written."""
    try:
        return _read(file)
    except _Damaged:
        return {}


def _read(file: Path) -> dict[str, Record]:
    """Raises `_Damaged`, or `OSError` when there is a file that cannot be read."""
    try:
        text = file.read_text("utf-8")
        content = json.loads(text)
        if content["version"] > _VERSION:
            raise OSError(0, "a newer version of the course wrote it")
        return {id: _record(id, kept) for id, kept in content["exercises"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Damaged(str(error) or type(error).__name__) from error


def _record(id: str, kept: Mapping[str, Any]) -> Record:
    if not _ID.fullmatch(id) or not isinstance(kept["tries"], int):
        raise ValueError(f"{id!r} with {kept!r}")
    day = kept.get("solved")
    return Record(kept["tries"], datetime.date.fromisoformat(day) if day else None)


def _write(file: Path, id: str, correct: bool) -> None:
    from filelock import FileLock

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(_lock_of(file), timeout=_PATIENCE):
        try:
            known = _read(file)
        except _Damaged as error:
            _put_aside(file, error)
            known = {}
        before = known.get(id, Record())
        if before.solved:
            return
        today = datetime.date.today() if correct else None
        known[id] = Record(before.tries + 1, today)
        exercises = {
            each: {"tries": kept.tries}
            | ({"solved": kept.solved.isoformat()} if kept.solved else {})
            for each, kept in sorted(known.items())
        }
        with replacing(file) as temporary:
            content = {"version": _VERSION, "exercises": exercises}
            temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _put_aside(file: Path, error: Exception) -> None:
    """Rename a damaged file, so that its owner can mend it, and say so."""
    aside = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        os.replace(file, aside)
    except OSError:
        _say(f"{file} is damaged ({error}); your progress cannot be read.")
    else:
        _say(
            f"{file} was damaged ({error}). It is kept as {aside.name}; "
            "a new one begins."
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _say(text: str) -> None:
    """Print to stderr once a process: the line of `check` on stdout stays as it is."""
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr)


def _is_course_solution(id: str) -> bool:
    """True while a notebook runs one of the course's own solution cells."""
    shell = _shell()
    if shell is None:
        return False
    try:
        # JupyterLab sends a cell's metadata with its code; other front-ends do not.
        if "solution" in shell.kernel.get_parent("shell")["metadata"]["tags"]:
            return True
    except (AttributeError, LookupError, TypeError):
        pass
    try:
        running = _bare(shell.history_manager.input_hist_raw[-1])
    except (AttributeError, LookupError):
        return False
    return any(running == _bare(source) for source in _solutions(id))


def _shell() -> Any:
    """IPython's shell, None outside of it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _solutions(id: str) -> list[str]:
    """The sources of the solution cells in the notebook of exercise `id`."""
    found = []
    for path in (REPOSITORY / "notebooks").glob(f"{id.partition('.')[0]}_*.ipynb"):
        try:
            cells = json.loads(path.read_text("utf-8"))["cells"]
        except (OSError, ValueError, LookupError):
            continue  # a notebook that is being saved
        found += [
            "".join(cell["source"])
            for cell in cells
            if "solution" in cell.get("metadata", {}).get("tags", [])
        ]
    return found


def _bare(source: str) -> str:
    """Code without comments and layout, which a translation or an editor changes."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:  # IPython's own, such as %time
        return source.strip()
