"""The command line: `python -m helpers lab | test | run 09 | fetch | doctor | …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from helpers.tools.variants import TESTED, VARIANTS


def build_parser(with_fetch: bool = True) -> argparse.ArgumentParser:
    """Return the parser; the arguments of `fetch` are left out when not needed."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers",
        description="Tools of the course on pretrained models.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    commands.add_parser(
        "lab",
        help="fetch the assets, then open JupyterLab; further arguments are for it",
        add_help=False,
    )
    test = commands.add_parser(
        "test", help="fetch, check, and run all notebooks strictly"
    )
    test.add_argument(
        "--variant",
        default=TESTED.name,
        choices=[*VARIANTS, "another"],
        help="the machine that the notebooks' kernels play (%(default)s)",
    )
    commands.add_parser("check", help="style, types, notebook lint and unit tests")
    for name, what in (
        ("run", "execute one notebook here and print its results"),
        ("refresh", "execute notebooks and save their outputs (all without a name)"),
        ("lint", "check notebooks against the house rules (all without a name)"),
        ("drawings", "put drawings, and texts for pictures, into notebooks (all)"),
        ("slides", "build decks into build/slides (all without a name)"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument(
            "names",
            nargs="+" if name == "run" else "*",
            metavar="NB",
            help="a number (09) or a file name",
        )
        if name == "refresh":
            command.add_argument(
                "--merge",
                action="store_true",
                help="keep the saved outputs; widen their ranges by this machine's",
            )
            command.add_argument(
                "--variant",
                action="append",
                choices=list(VARIANTS),
                help="play this one only (may be repeated; default: all)",
            )
    commands.add_parser("site", help="build the web site into build/site")
    progress = commands.add_parser("progress", help="show which exercises you solved")
    choice = progress.add_mutually_exclusive_group()
    choice.add_argument(
        "--sheet",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write a sheet for a teacher instead (Markdown; without FILE: print it)",
    )
    choice.add_argument(
        "--forget", action="store_true", help="delete what this machine keeps of it"
    )
    for name, what in (
        ("student", "write build/student and a zip file: the course without solutions"),
        ("teacher", "write build/teacher and a zip file: solutions, notes, a guide"),
    ):
        commands.add_parser(name, help=what)
    commands.add_parser("doctor", help="check this machine and say how to fix faults")
    fetch = commands.add_parser("fetch", help="fetch models and data for offline use")
    if with_fetch:
        from helpers.assets import cli

        cli.add_arguments(fetch)
    return parser


def _doctor() -> int:
    """Run the doctor, or say which package keeps it from starting."""
    try:
        from helpers.tools import doctor
    except ModuleNotFoundError as error:
        from helpers.assets.paths import pip_install

        name = str(error.name).partition(".")[0]
        print(f"fault    packages missing: {name}")
        print(f"{'':8} fix: {pip_install()}")
        return 1
    return doctor.main()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(with_fetch="fetch" in words)
    args, rest = parser.parse_known_args(words)
    if rest and args.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    # Output that is piped or logged appears line by line, as it does in a terminal.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    if args.command == "fetch":
        from helpers.assets import cli

        return cli.main(args) or 0
    if args.command == "doctor":
        return _doctor()
    if args.command == "site":
        from helpers.tools.site import build

        return build.main()
    if args.command == "progress":
        from helpers.tools import progress

        return progress.main(args.sheet, args.forget)
    if args.command in ("student", "teacher"):
        from helpers.tools import editions

        return editions.main(args.command)
    if args.command == "slides":
        from helpers.tools.slides import build as slides

        return slides.main(args.names)
    from helpers.tools import tasks

    if args.command == "lab":
        return tasks.lab(rest)
    if args.command == "test":
        return tasks.tests(with_notebooks=True, name=args.variant)
    if args.command == "check":
        return tasks.tests(with_notebooks=False)
    if args.command == "refresh":
        return tasks.notebook_command(
            "refresh", args.names, variants=args.variant or (), merge=args.merge
        )
    return tasks.notebook_command(args.command, args.names)
