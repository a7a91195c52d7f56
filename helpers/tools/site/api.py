"""The page on the learner's rooms of `helpers`, from their source, not imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

WIDTH = 88  # characters of a line of code


def page(package: Path, modules: list[str]) -> str:
    """Return the Markdown of the named modules of a package, in their order.

    Raises `ValueError` naming a module or a public function without a docstring.
    """
    lines = ["# The functions of `helpers`", "", _INTRODUCTION, ""]
    for name in modules:
        tree = ast.parse((package / f"{name}.py").read_text("utf-8"))
        lines += [f"## `helpers.{name}`", "", _docstring(tree, name), ""]
        for node in _public(tree):
            lines += _described(node, f"helpers.{name}")
    return "\n".join(lines) + "\n"


_INTRODUCTION = """\
What notebooks take from the course's package, module by module: training loop, data
with fixed splits, figures. Each module can be read in one sitting. In a notebook,
`helpers.fit?` shows the same text and `helpers.fit??` the code."""


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node


def _described(
    node: ast.FunctionDef | ast.ClassDef, where: str, level: int = 3
) -> Iterator[str]:
    name = f"{where}.{node.name}"
    yield f"{'#' * level} `{node.name}`"
    yield ""
    yield f"```python\n{_signature(node)}\n```"
    yield ""
    yield _docstring(node, name)
    yield ""
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name[0] != "_":
                yield from _described(part, name, level + 1)


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        parents = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}" + (f"({parents})" if parents else "")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    marks = [
        f"@{ast.unparse(mark)}\n"
        for mark in node.decorator_list
        if ast.unparse(mark) in ("property", "classmethod", "staticmethod")
    ]
    arguments = _arguments(node.args)
    line = f"def {node.name}({', '.join(arguments)}){returns}"
    if len(line) > WIDTH:
        each = "".join(f"    {argument},\n" for argument in arguments)
        line = f"def {node.name}(\n{each}){returns}"
    return "".join(marks) + line


def _arguments(args: ast.arguments) -> list[str]:
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    parts = [_argument(*pair) for pair in zip(positional, defaults, strict=True)]
    if args.vararg:
        parts.append("*" + ast.unparse(args.vararg))
    elif args.kwonlyargs:
        parts.append("*")
    for pair in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        parts.append(_argument(*pair))
    if args.kwarg:
        parts.append("**" + ast.unparse(args.kwarg))
    return [part for part in parts if part != "self"]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    if default is None:
        return text
    # As a formatter would put it.
    between = " = " if argument.annotation else "="
    return f"{text}{between}{ast.unparse(default)}"


def _docstring(node: ast.Module | ast.FunctionDef | ast.ClassDef, name: str) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    text = ast.get_docstring(node)
    if not text:
        raise ValueError(f"{name} has no docstring for the site's page of functions")
    text = text.replace("``", "`")
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if re.fullmatch(
            r"(Args|Attributes|Returns|Raises|Yields|Example|Examples):", line
        ):
            inside = True
            lines += ["", f"**{line[:-1]}**", ""]
        elif inside and line.strip() and not line.startswith("    "):
            inside = False
            lines += ["", line]
        elif inside and re.match(r"    \S", line):
            name_, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name_}`: {rest}" if colon else f"- {line.strip()}")
        elif inside and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines)
