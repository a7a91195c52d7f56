"""Run a conversion that needs TensorFlow or torch in a process of its own.

`fetch` stays light that way, and the memory is given back when the process ends.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import AssetError
from ..manifest import Asset
from ..paths import REPOSITORY, command, pip_install


def convert(
    asset: Asset, module: str, source: Path, target: Path, needs: Iterable[str]
) -> None:
    """Run ``python -m helpers.assets.recipes.MODULE SOURCE TARGET``.

    ``needs`` are the packages the module imports. Raises AssetError with the last line
    the process wrote if it fails.
    """
    for name in needs:
        if importlib.util.find_spec(name) is None:
            raise AssetError(
                f"{asset.id}: its recipe needs the package {name!r}, which is not "
                f"installed. Run `{pip_install()}`; tensorflow_text exists for Linux "
                "(also in WSL) and macOS only."
            )
    # A conversion needs no accelerator, and must not take one from somebody.
    hide = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.{module}", str(source), str(target)],
        cwd=REPOSITORY,
        env={**os.environ, **hide, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"it ended with status {done.returncode}"
        raise AssetError(
            f"{asset.id}: the conversion failed: {reason} Free some memory, then run "
            f"`{command('fetch', asset.id)}`."
        )
