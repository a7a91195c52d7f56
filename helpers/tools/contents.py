"""Files as JupyterLab sees them: opening a notebook of the course changes nothing.

JupyterLab completes what it opens: the version of the kernel's Python, and `collapsed`
where `jupyter.outputs_hidden` says the same. Then the notebook counts as changed, and
saving it changes the file although nobody wrote a word. So the server completes it
first, and takes that away again before it writes the file.
"""

from __future__ import annotations

import platform
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

__all__ = ["CourseContents", "as_in_git", "as_in_lab"]


def as_in_lab(notebook: dict[str, Any]) -> None:
    """Add what JupyterLab would add to a notebook (a dictionary) when it opens it."""
    language = notebook["metadata"].get("language_info", {})
    if language.get("name") == "python":
        language["version"] = platform.python_version()
    for cell in notebook["cells"]:
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden"):
            cell["metadata"]["collapsed"] = True


def as_in_git(notebook: dict[str, Any]) -> None:
    """Remove from a notebook what `as_in_lab` adds."""
    language = notebook["metadata"].get("language_info", {})
    if language.get("name") == "python":
        language.pop("version", None)
    for cell in notebook["cells"]:
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden"):
            cell["metadata"].pop("collapsed", None)


class CourseContents(AsyncLargeFileManager):
    """Jupyter's own manager of files, with notebooks completed on their way."""

    async def get(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the model of a file; see `jupyter_server`."""
        model: dict[str, Any] = await super().get(path, *args, **kwargs)
        if model["type"] == "notebook" and model["content"]:
            as_in_lab(model["content"])
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file; see `jupyter_server`."""
        if model.get("type") == "notebook" and model.get("content"):
            as_in_git(model["content"])
        saved: dict[str, Any] = await super().save(model, path)
        return saved
