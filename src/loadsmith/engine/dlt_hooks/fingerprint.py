"""Fingerprints of what installed packages define, by its syntax tree; nothing is imported.

Comments, docstrings and layout do not count. The constants of its module that a function reads do.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)

#: Fields of a tree that say nothing of what the code does.
_SILENT = ("ctx", "kind", "type_comment")


def fingerprint_of(name: str) -> str | None:
    """Return the fingerprint of a name, such as `dlt.load.load:Load.submit_job`.

    The name is that of a function, a class, an import, a variable, or an attribute that a class or
    a function sets.

    Returns:
        Twelve hexadecimal digits, the same in each version of Python; None where nothing has the
        name.
    """
    module, _, path = name.partition(":")
    *owners, own = path.split(".")
    outside = bound = _names_of(module)
    inside: list[ast.AST] = []
    for owner in owners:
        inside = bound.get(owner, [])
        bound = _names_in(part for each in inside for part in getattr(each, "body", ()))
    found = bound.get(own) or list(_set_in(inside, own))
    if not found:
        return None
    read = {
        node.id
        for each in found
        for node in ast.walk(each)
        if isinstance(node, ast.Name) and node.id in outside and node.id != own
    }
    constants = [
        node for each in sorted(read) for node in outside[each] if isinstance(node, _ASSIGNMENTS)
    ]
    text = "\n".join(map(_text_of, [*found, *constants]))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _names_of(module: str) -> dict[str, list[ast.AST]]:
    root, *names = module.split(".")
    spec = importlib.util.find_spec(root)
    for folder in (spec and spec.submodule_search_locations) or ():
        place = Path(folder, *names)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return _names_in(ast.parse(path.read_bytes()).body)
    return {}


def _names_in(body: Iterable[ast.stmt]) -> dict[str, list[ast.AST]]:
    """Return what binds each name of a scope: overloads, and the branches of an `if`, are many."""
    found: dict[str, list[ast.AST]] = {}
    for name, node in _bindings(body):
        found.setdefault(name, []).append(node)
    return found


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for statement in body:
        if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
            yield statement.name, statement
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from ((each.asname or each.name, each) for each in statement.names)
        elif isinstance(statement, _ASSIGNMENTS):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                for node in ast.walk(target):
                    if isinstance(node, ast.Name):
                        yield node.id, statement
        for part in ("body", "orelse", "finalbody"):
            yield from _bindings(getattr(statement, part, ()))
        for handler in getattr(statement, "handlers", ()):
            yield from _bindings(handler.body)


def _set_in(owners: Iterable[ast.AST], name: str) -> Iterator[ast.AST]:
    """Give what sets an attribute of that name somewhere in a class or a function."""
    for node in (node for owner in owners for node in ast.walk(owner)):
        if isinstance(node, ast.Attribute):
            if node.attr == name and isinstance(node.ctx, ast.Store):
                yield node
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            yield from (
                node for each in node.args if isinstance(each, ast.Constant) and each.value == name
            )


def _text_of(part: Any) -> str:
    """Return a part of a tree as text; versions of Python differ in empty fields and f-strings."""
    if isinstance(part, list):
        return f"[{','.join(map(_text_of, _without_docstrings(part)))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    if isinstance(part, ast.JoinedStr):
        return f"JoinedStr({','.join(_pieces(part))})"
    fields = (
        f"{name}={_text_of(value)}"
        for name, value in ast.iter_fields(part)
        if name not in _SILENT and value is not None and value != []
    )
    return f"{type(part).__name__}({','.join(fields)})"


def _without_docstrings(parts: list[Any]) -> Iterator[Any]:
    for part in parts:
        value = part.value if isinstance(part, ast.Expr) else None
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            yield part


def _pieces(part: ast.JoinedStr) -> Iterator[str]:
    text = ""
    for value in part.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        yield repr(text)
        yield _text_of(value)
        text = ""
    yield repr(text)
