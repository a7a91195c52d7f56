"""Tiny wheels and manifests for the tests of `helpers.assets`."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from helpers.assets import AssetError
from helpers.assets.fetch import fetch
from helpers.assets.manifest import Asset, load_manifest
from helpers.assets.store import state

REPOSITORY = Path(__file__).resolve().parents[1]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def inner_files(name: str, count: int = 3) -> dict[str, bytes]:
    """Made-up inner files that differ from asset to asset."""
    chance = random.Random(name)
    return {f"w{i}.bin": chance.randbytes(700 + 100 * i) for i in range(count)}


def write_wheel(
    path: Path,
    name: str,
    files: dict[str, bytes],
    extra: dict[str, bytes] | None = None,
) -> Path:
    """A wheel that pip accepts; ``extra`` members are written as they are named."""
    module, version = name.replace("-", "_"), "1.0"
    info = f"{module}-{version}.dist-info"
    members = {f"{module}/{inner}": data for inner, data in files.items()}
    members |= extra or {}
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    )
    members[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
    members[f"{info}/RECORD"] = b""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member), data)
    return path


def wheel_name(name: str) -> str:
    return f"{name.replace('-', '_')}-1.0-py3-none-any.whl"


def entry(name: str, wheel: bytes, files: dict[str, bytes], /, **changes: Any) -> str:
    """The manifest's table for one asset; ``changes`` replace or add fields."""
    fields: dict[str, Any] = {
        "title": f"Made-up {name}",
        "package": name,
        "version": "1.0",
        "archive": wheel_name(name),
        "size": len(wheel),
        "sha256": sha256(wheel),
        "recipe": "place",
        "place": f"datasets/{name}",
        "licence": "none",
        "precision": "exact",
        "origin": "Made up for a test.",
        "inside": name.replace("-", "_") + "/",
    }
    fields |= changes
    # JSON strings, numbers and Booleans are also valid TOML.
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    rows = [
        f'{{ path = "{path}", size = {len(data)}, sha256 = "{sha256(data)}" }}'
        for path, data in files.items()
    ]
    lines.append(f"files = [{', '.join(rows)}]")
    return f"[asset.{name}]\n" + "\n".join(lines) + "\n"


class World:
    """A folder of wheels, a manifest that lists them, and an empty cache."""

    def __init__(
        self, folder: Path, names: tuple[str, ...] = ("alpha", "beta")
    ) -> None:
        self.stick, self.root = folder / "stick", folder / "cache"
        self.manifest = folder / "assets.toml"
        self.stick.mkdir()
        self.files = {name: inner_files(name) for name in names}
        for name, files in self.files.items():
            write_wheel(self.wheel(name), name, files)
        self.write_manifest()

    def wheel(self, name: str) -> Path:
        return self.stick / wheel_name(name)

    def write_manifest(self, **changes: Any) -> None:
        """Describe the wheels as they are now; ``changes`` apply to every asset."""
        tables = [
            entry(name, self.wheel(name).read_bytes(), files, **changes)
            for name, files in self.files.items()
        ]
        self.manifest.write_text("\n".join(tables), encoding="utf-8")

    def asset(self, name: str) -> Asset:
        return load_manifest(self.manifest)[name]

    def state(self, name: str) -> str:
        return state(self.asset(name), self.root)

    def fetch_alpha(self) -> AssetError | None:
        """Fetch one asset from the folder of wheels; the error, if it failed."""
        report = fetch(
            ["alpha"], source=self.stick, root=self.root, manifest=self.manifest
        )
        return report.failed.get("alpha")

    def place(self, name: str) -> Path:
        return self.root / "datasets" / name

    def contents(self, name: str) -> dict[str, bytes] | None:
        """Installed files by name, or None where nothing is."""
        place = self.place(name)
        if not place.exists():
            return None
        return {path.name: path.read_bytes() for path in place.iterdir()}

    def assert_nothing_left(self, name: str = "alpha") -> None:
        """Neither a place, nor a marker, nor a work folder of this asset."""
        assert not self.place(name).exists()
        assert self.state(name) == "missing"
        assert not list(self.root.glob("staging/*"))
        assert not list(self.root.glob("state/*.json"))

    def run(self, code: str, **options: Any) -> subprocess.Popen[str]:
        """Start a Python process that knows this world's paths, to kill or to race."""
        start = (
            "import signal, sys, types, pathlib\n"
            # A shell's background job ignores Ctrl-C, and so would its children.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
            "from helpers.assets.fetch import fetch\n"
            f"root = pathlib.Path({str(self.root)!r})\n"
            f"stick = pathlib.Path({str(self.stick)!r})\n"
            f"manifest = pathlib.Path({str(self.manifest)!r})\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", start + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


def pip_settings(**settings: str) -> dict[str, str]:
    """Environment for a pip that sees only what the test gives it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    return {**clean, "PIP_CONFIG_FILE": os.devnull, **settings}
