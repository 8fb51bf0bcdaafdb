"""Private names of dlt are used in `engine/dlt_hooks`, those of Dagster in `assets/_dagster.py`."""

import ast
import importlib.util
from collections import namedtuple
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from loadsmith.engine.dlt_hooks import HOOKS, names_read

SOURCE = Path(__file__).parents[2] / "src" / "loadsmith"

#: Where private names of a package may be used.
PLACES = {"dlt": "engine/dlt_hooks/", "dagster": "assets/_dagster.py"}

#: Names that a class of ours has to define for dlt or Dagster, or uses of its own, by module.
WANTED = {
    "component/component.py": {"_failed"},
    "documents/nodes.py": {"_child"},
    # Abstract methods of dlt's `Collector`.
    "engine/results/progress.py": {"_start", "_stop"},
}

#: Functions that read or write an attribute whose name is one of their arguments.
BY_NAME = {
    *("getattr", "hasattr", "setattr", "delattr", "attrgetter", "methodcaller"),
    *("__getattribute__", "__setattr__", "getattr_static"),
}

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in dir(namedtuple("T", ""))


def defined_in(tree: ast.AST, *, of_others: bool = False) -> Iterator[str]:
    """Give the private names of functions, classes, variables and attributes of `self`.

    With `of_others`, those of attributes that are set in other objects, too.
    """
    for node in ast.walk(tree):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            is_own = ast.unparse(node.value) in ("self", "cls")
            names = [node.attr] if is_own or of_others else []
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif of_others and isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            names = [text_of(node.args[1])]
        else:
            continue
        yield from filter(is_private, names)


def text_of(node: ast.AST) -> str:
    """Return the text that stands in the code, in one or several pieces; empty if there is none."""
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


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


def _members(node: ast.ClassDef | ast.If) -> Iterator[tuple[ast.stmt, str]]:
    """Give what the body of a class defines, and its name."""
    for part in node.body:
        if isinstance(part, _FUNCTIONS):
            yield part, part.name
        elif isinstance(part, ast.If):
            yield from _members(part)
        elif isinstance(part, ast.Assign):
            yield from ((part, ast.unparse(target)) for target in part.targets)


class _Uses(ast.NodeVisitor):
    """Collects the line and name of each use of a private name of a package.

    A name that the module defines itself is its own for `self` alone: others may have it, too.
    """

    def __init__(self, tree: ast.AST, package: str, wanted: set[str]) -> None:
        self.found: list[tuple[int, str]] = []
        self.package, self.wanted = package, wanted
        self.theirs = names_of(package) - wanted
        self.own = set(defined_in(tree))
        self.imported: dict[str, str] = {}
        self.of_objects: set[str] = set()
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
        is_own = ast.unparse(node.value) in ("self", "cls") and node.attr in self.own
        if not is_own:
            self._note_attribute(node, node.value, node.attr)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        # `vars(resource)["_pipe"]`, and what a variable holds of it.
        if self._is_of_object(node.value):
            self._note_attribute(node, node, text_of(node.slice))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func).rpartition(".")[2]
        for argument in node.args:
            if name in BY_NAME:
                for part in text_of(argument).split("."):
                    self._note_attribute(node, node, part)
            elif name in ("import_module", "__import__"):
                self._note_path(node, text_of(argument))
        if isinstance(node.func, ast.Attribute) and self._is_of_object(node.func.value):
            for keyword in node.keywords:
                self._note_attribute(node, node.func, keyword.arg or "")
            for argument in node.args:
                self._note_attribute(node, node, text_of(argument))
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        overridden = self.theirs if any(map(self._is_theirs, node.bases)) else ()
        for part, name in _members(node):
            if name in overridden:
                self.found.append((part.lineno, f"{node.name}.{name}"))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_of_object(node.value):
            self.of_objects |= {ast.unparse(target) for target in node.targets}
        self.generic_visit(node)

    def _is_of_object(self, node: ast.expr) -> bool:
        """Tell whether something is the attributes of an object by name."""
        text = ast.unparse(node)
        return text.startswith("vars(") or text.endswith(".__dict__") or text in self.of_objects

    def _note_path(self, node: ast.AST, path: str) -> None:
        parts = path.split(".")
        if parts[0] == self.package and any(map(is_private, parts)):
            self.found.append((node.lineno, path))  # type: ignore[attr-defined]

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
    "import importlib\nimportlib.import_module('dlt.pipeline._x')": "dlt.pipeline._x",
    "parent = resource._pipe.parent": "_pipe",
    "class Ours:\n    _pipe: int\nresource._pipe": "_pipe",
    "class Ours:\n    def _pipe(self): ...\nresource._pipe": "_pipe",
    "factory = getattr(value, '_factory', None)": "_factory",
    "from operator import attrgetter\nattrgetter('_pipe')(resource)": "_pipe",
    "from operator import attrgetter\nattrgetter('_pipe.parent')(resource)": "_pipe",
    "getattr(resource, '_pi' + 'pe')": "_pipe",
    "resource.__getattribute__('_pipe')": "_pipe",
    "object.__setattr__(resource, '_pipe', 1)": "_pipe",
    "own = vars(resource)\nown['_pipe']": "_pipe",
    "from dlt import Pipeline\nclass Ours(Pipeline):\n    _load = print": "Ours._load",
    "from dlt import Pipeline\nclass Ours(Pipeline):\n    if 1:\n        def _load(self): ...": (
        "Ours._load"
    ),
    "vars(resource)['_pipe']": "_pipe",
    "vars(resource).get('_pipe')": "_pipe",
    "resource.__dict__['_pipe']": "_pipe",
    "resource.__dict__.update(_pipe=1)": "_pipe",
    "from dlt import Pipeline\nclass Ours(Pipeline):\n    def _load(self): ...": "Ours._load",
    "from dlt import Pipeline\nclass Ours(Pipeline):\n    async def _load(self): ...": "Ours._load",
    "import dlt.extract.pipe as p\nclass Ours(p.Pipe):\n    def _clone(self): ...": "Ours._clone",
    "import dlt\ndlt.pipeline._surely_not_there()": "_surely_not_there",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_private_name_is_recognized(text: str) -> None:
    assert EXAMPLES[text] in [name for _, name in _Uses(ast.parse(text), "dlt", set()).found]


def test_each_private_name_is_in_the_list() -> None:
    listed = {
        name.rpartition(":")[2].rpartition(".")[2]
        for hook in HOOKS
        for name in (*hook.uses, *names_read(hook))
    }
    found = {
        f"{module}:{line}: {name}"
        for module, tree in modules()
        if module.startswith(PLACES["dlt"])
        for line, name in _Uses(tree, "dlt", set()).found
        if not any(part in listed for part in name.split("."))
    }
    assert found == set()
