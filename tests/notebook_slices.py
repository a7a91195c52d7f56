"""What one cell needs of the cells before it: imports, functions and values.

A program slice in the small: statements count by the names they bind, change and read,
which is enough to run a "Go bigger" cell without running its whole notebook.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Sequence
from pathlib import Path

import nbformat

GUARD = "if helpers.online:"


def guarded_cells(path: Path) -> list[int]:
    """Positions, among the code cells, of those that only run online."""
    return [n for n, source in enumerate(_sources(path)) if GUARD in source]


def program(path: Path, cell: int) -> tuple[str, str]:
    """The statements that code cell number `cell` needs, and the cell itself."""
    sources = _sources(path)
    before = [part for source in sources[:cell] for part in ast.parse(source).body]
    wanted = _free(ast.parse(sources[cell]).body)
    imported = {n for s in before if isinstance(s, _IMPORTS) for n in _binds(s)}
    kept: list[str] = []
    for statement in reversed(before):
        touches = _binds(statement) | (_changes(statement) - imported)
        # `import helpers` comes first: it sets what the frameworks read.
        always = isinstance(statement, ast.Import) or _sets_a_default(statement)
        if not (touches & wanted or always):
            continue
        if isinstance(statement, (ast.Assign, ast.FunctionDef, ast.ClassDef)):
            wanted -= _binds(statement, whole=True)
        wanted |= _free([statement])
        kept.append(ast.unparse(statement))
    return "\n".join(reversed(kept)), sources[cell]


_IMPORTS = (ast.Import, ast.ImportFrom)
_SCOPES = (ast.FunctionDef, ast.ClassDef)


def _sources(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _free(statements: Sequence[ast.stmt], bound: frozenset[str] = frozenset()) -> set:
    """Names that statements read before they bind them, read in order."""
    names: set[str] = set()
    for statement in statements:
        inner = [getattr(statement, part, []) for part in ("body", "orelse")]
        if isinstance(statement, _SCOPES) or not any(inner):
            names |= _reads([statement]) - bound
        else:
            fields = ("test", "iter", "target", "items")
            parts = [getattr(statement, field, None) for field in fields]
            names |= _reads([p for part in parts for p in _expressions(part)]) - bound
            bound = bound | _stored(*(p for part in parts for p in _nodes(part)))
            for body in inner:
                names |= _free(body, bound)
        bound = bound | _binds(statement, whole=True)
    return names


def _nodes(part: object) -> list[ast.AST]:
    if part is None:
        return []
    return list(part) if isinstance(part, list) else [part]  # type: ignore[list-item]


def _expressions(part: object) -> list[ast.stmt]:
    """What the head of a compound statement reads, as statements."""
    nodes = [n for node in _nodes(part) for n in ast.walk(node)]
    loads = [
        n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    ]
    return [ast.Expr(name) for name in loads]


def _binds(statement: ast.stmt, *, whole: bool = False) -> set[str]:
    """Names a statement binds; without `whole`, `x[0] = 1` and `x.y = 1` count too."""
    if isinstance(statement, _SCOPES):
        return {statement.name}
    names = _stored(statement, whole=whole)
    for node in ast.walk(statement):
        if isinstance(node, _IMPORTS):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return names


def _stored(*nodes: ast.AST, whole: bool = False) -> set[str]:
    kinds = (ast.Name,) if whole else (ast.Name, ast.Attribute, ast.Subscript)
    return {
        _root(node)
        for top in nodes
        for node in ast.walk(top)
        if isinstance(node, kinds) and isinstance(node.ctx, ast.Store)
    } - {""}


def _changes(statement: ast.stmt) -> set[str]:
    """Names whose object a statement may change: `x.append(1)`."""
    calls = [n.value for n in ast.walk(statement) if isinstance(n, ast.Expr)]
    return {
        _root(call.func)
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    } - {""}


def _sets_a_default(statement: ast.stmt) -> bool:
    """Whether it is a call such as `torch.set_default_dtype(torch.float64)`."""
    call = isinstance(statement, ast.Expr)
    return call and ast.unparse(statement).startswith("torch.set_")


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _reads(statements: Sequence[ast.stmt]) -> set[str]:
    """Names that statements take from outside: global reads at any depth."""
    source = "\n".join(ast.unparse(statement) for statement in statements)
    table = symtable.symtable(source, "cell", "exec")
    names: set[str] = set()
    tables = [table]
    while tables:
        current = tables.pop()
        names |= {
            symbol.get_name()
            for symbol in current.get_symbols()
            if symbol.is_referenced() and (current is table or symbol.is_global())
        }
        tables += current.get_children()
    return names
