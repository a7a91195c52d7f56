"""Build the site: pages into a folder, Sphinx over it, every address checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat

from helpers.tools.notebooks import ROOT
from helpers.tools.sections import RECORD
from helpers.tools.site import api, links, notebook_pages, pages

SITE = ROOT / "build" / "site"
THEME = Path(__file__).parent / "sphinx"
# The learner's rooms of helpers/README.md.
ROOMS = ["environment", "datasets", "scenes", "tokens", "training", "features"]
ROOMS += ["layers", "objectives", "plotting", "speech", "widgets"]
OUTSIDE = "external-links.txt"
# What a page depends on; `helpers` brings generator and docstrings.
_INPUTS: tuple[str, ...] = (
    "notebooks/*.ipynb",
    "helpers/**/*.py",
    "helpers/tools/site/sphinx/**/*",
)
_INPUTS += ("data/*.toml", "data/*.jsonl", "data/drawings/*.svg")
_INPUTS += ("data/runs/notebook_seconds.csv", "README.md")
_INPUTS += ("pyproject.toml", "requirements-docs.txt")


class SiteError(RuntimeError):
    """The site could not be built; the message says why, and what mends it."""


def docs_python() -> Path:
    """Return the Python that has Sphinx.

    Raises `SiteError` with the commands that make its environment.
    """
    folder = ROOT / ".venv-docs"
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    test = [str(python), "-c", "import sphinx_book_theme, myst_nb, math_core"]
    if not python.exists() or subprocess.call(test, stderr=subprocess.DEVNULL):
        raise SiteError(
            "The packages that build the site are missing. `make site` installs them; "
            "without make:\n"
            f"  {sys.executable} -m venv .venv-docs\n"
            f"  {python.relative_to(ROOT)} -m pip install -r requirements-docs.txt"
        )
    return python


def fingerprint() -> str:
    """Return a hash of everything that the site is made of."""
    found = hashlib.sha256()
    for pattern in _INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.relative_to(ROOT).as_posix().encode())
                found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def prepare(folder: Path) -> None:
    """Write Sphinx's sources into an empty folder: settings, notebooks, pages."""
    shutil.copytree(THEME, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(THEME / "conf.py", folder)
    static = folder / "static"
    for name in ("notebooks", "extra/notebooks", "static/thumbnails"):
        (folder / name).mkdir(parents=True)
    readme = (ROOT / "README.md").read_text("utf-8")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    online = settings["tool"].get("course", {}).get("repository", "")
    footer = {"footer": "Code: Apache-2.0. Prose and figures: CC BY 4.0."}
    (folder / "course.json").write_text(json.dumps(footer), "utf-8")

    terms = [
        notebook_pages.Term(
            **{k: v for k, v in json.loads(line).items() if k != "forms"}
        )
        for line in (ROOT / "data" / "glossary.jsonl").read_text("utf-8").splitlines()
    ]
    shown = tomllib.loads((ROOT / "data" / "site.toml").read_text("utf-8"))[
        "thumbnails"
    ]
    cards, peaks = [], pages.peaks(RECORD)
    entries = pages.entries(readme)
    for entry in entries:
        path = ROOT / entry.file
        notebook = nbformat.read(path, as_version=4)
        head = notebook_pages.head(notebook, path.name)
        picture = static / "thumbnails" / f"{entry.number}.png"
        alt = notebook_pages.thumbnail(notebook, shown[entry.number], picture)
        cards.append(pages.Card(entry, head, alt))
        here = [term for term in terms if term.notebook == entry.number]
        page = notebook_pages.convert(
            notebook, entry.name, here, online, peaks.get(entry.number)
        )
        (folder / "notebooks" / path.name).write_text(nbformat.writes(page), "utf-8")
        shutil.copy(path, folder / "extra" / "notebooks")
        for file in notebook_pages.course_files(notebook):
            copy = folder / "course" / f"{file}.txt"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy)
    shutil.copytree(ROOT / "data" / "drawings", folder / "drawings")
    hero = static / "drawings" / "01_two_stages.svg"
    hero.parent.mkdir()
    shutil.copy(ROOT / "data" / "drawings" / hero.name, hero)

    names = {entry.number: entry.name for entry in entries}
    written = {
        "start.md": pages.start(readme, online),
        **pages.teach(readme),
        "glossary.md": pages.glossary(terms, names),
        "times.md": pages.run_times(RECORD, names),
        "api.md": api.page(ROOT / "helpers", ROOMS),
    }
    # The guide's other pages hang on its first.
    extra = [name.removesuffix(".md") for name in written]
    extra = [name for name in extra if "/" not in name or name == "teach/index"]
    data = ROOT / "data"
    written["index.md"] = pages.front(
        cards, data / "site.toml", data / "needs.toml", readme, extra
    )
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def build(site: Path = SITE) -> str:
    """Build the site unless it is up to date; return what to tell the caller.

    The new site takes the old one's place only when it is whole. Raises `SiteError`
    with Sphinx's messages, or with the addresses that are wrong.
    """
    stamp = site.with_name(f"{site.name}.stamp")
    inputs, front = fingerprint(), site / "index.html"
    built = stamp.read_text("utf-8") if stamp.is_file() else ""
    if front.is_file() and built == inputs:
        return f"The site is up to date: {front}"
    python = docs_python()
    # myst-nb leaves a folder beside the new site; it goes with the rest.
    work = site.with_name(f"{site.name}.work")
    source, new = work / "source", work / "site"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    prepare(source)
    command = [str(python), "-m", "sphinx", "-q", "-W", "--keep-going", "-E"]
    command += ["-j", "2", "-d", str(source / ".doctrees"), str(source), str(new)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode or said:
        raise SiteError(f"Sphinx stopped; the old site, if any, is as it was.\n{said}")
    # Left-overs of Sphinx and its theme that no page uses.
    for pattern in (".buildinfo", "objects.inv", "_static/*macros.html"):
        for path in new.glob(pattern):
            path.unlink()
    shutil.rmtree(new / "_sources", ignore_errors=True)
    wrong, outside = links.check(new)
    if wrong:
        raise SiteError("Addresses of the site are wrong:\n" + "\n".join(wrong))
    (new / OUTSIDE).write_text("\n".join(outside) + "\n", "utf-8")
    old = site.with_name(f"{site.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    new.rename(site)
    stamp.write_text(inputs, "utf-8")
    for folder in (old, work):
        shutil.rmtree(folder, ignore_errors=True)
    count = len(list(site.rglob("*.html")))
    return f"{count} pages, {len(outside)} addresses outside: open {front}"


def main() -> int:
    """Build, or say why not; return an exit status."""
    try:
        print(build())
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
