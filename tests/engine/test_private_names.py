"""Private names of dlt are used in `engine/dlt_hooks`, those of Dagster in `assets/_dagster.py`."""

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "loadsmith"

#: Where private names of a package may be used.
PLACES = {"dlt": "engine/dlt_hooks/", "dagster": "assets/_dagster.py"}

#: Names that a class of ours has to define for dlt or Dagster, by module.
WANTED = {
    # Abstract methods of dlt's `Collector`.
    "engine/results/progress.py": {"_start", "_stop"},
}

#: Functions that read or write an attribute whose name is their second argument.
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined_in(tree: ast.AST, *, of_others: bool = False) -> Iterator[str]:
    """Give the private names of functions, classes, variables and attributes of `self`.

    With `of_others`, those of attributes that are set in other objects, too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            is_own = ast.unparse(node.value) in ("self", "cls")
            names = [node.attr] if is_own or of_others else []
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        else:
            continue
        yield from filter(is_private, names)


@cache
def names_of(package: str) -> frozenset[str]:
    """Return the private names that an installed package defines."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    [folder] = spec.submodule_search_locations or ()
    return frozenset(
        name
        for path in Path(folder).rglob("*.py")
        if "test" not in path.name
        for name in defined_in(ast.parse(path.read_text("utf-8")), of_others=True)
    )


class _Uses(ast.NodeVisitor):
    """Collects the line and name of each use of a private name of a package."""

    def __init__(self, tree: ast.AST, package: str, wanted: set[str]) -> None:
        self.found: list[tuple[int, str]] = []
        self.package, self.wanted = package, wanted
        self.theirs = names_of(package) - set(defined_in(tree)) - wanted
        self.imported: dict[str, str] = {}
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for one in node.names:
            self.imported[(one.asname or one.name).partition(".")[0]] = one.name
            self._note_path(node, one.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for one in node.names:
            self.imported[one.asname or one.name] = str(node.module)
            self._note_path(node, f"{node.module}.{one.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note_attribute(node, node.value, node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in BY_NAME and len(node.args) > 1:
            name = node.args[1]
            if isinstance(name, ast.Constant):
                self._note_attribute(node, node.args[0], str(name.value))
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        overridden = (
            names_of(self.package) - self.wanted if any(map(self._is_theirs, node.bases)) else ()
        )
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name in overridden:
                self.found.append((part.lineno, f"{node.name}.{part.name}"))
        self.generic_visit(node)

    def _note_path(self, node: ast.stmt, path: str) -> None:
        parts = path.split(".")
        if parts[0] == self.package and any(map(is_private, parts)):
            self.found.append((node.lineno, path))

    def _note_attribute(self, node: ast.expr, value: ast.expr, name: str) -> None:
        if is_private(name) and (name in self.theirs or self._is_theirs(value)):
            self.found.append((node.lineno, name))

    def _is_theirs(self, value: ast.expr) -> bool:
        root = ast.unparse(value).partition(".")[0].partition("(")[0].partition("[")[0]
        return self.imported.get(root, "").partition(".")[0] == self.package


def modules() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("package", PLACES)
def test_private_names_are_used_in_one_place(package: str) -> None:
    found = [
        f"{module}:{line}: {name}"
        for module, tree in modules()
        if not module.startswith(tuple(PLACES.values()))
        for line, name in _Uses(tree, package, WANTED.get(module, set())).found
    ]
    assert found == []


EXAMPLES = {
    "from dlt.extract.source import _DltSingleSource": "dlt.extract.source._DltSingleSource",
    "from dlt.destinations import _adbc_jobs": "dlt.destinations._adbc_jobs",
    "parent = resource._pipe.parent": "_pipe",
    "factory = getattr(value, '_factory', None)": "_factory",
    "from dlt import Pipeline\nclass Ours(Pipeline):\n    def _load(self): ...": "Ours._load",
    "import dlt\ndlt.pipeline._surely_not_there()": "_surely_not_there",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_private_name_is_recognized(text: str) -> None:
    assert [name for _, name in _Uses(ast.parse(text), "dlt", set()).found] == [EXAMPLES[text]]
