"""Whatever is replaced in dlt for the whole process is in the list, and little is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadsmith.assets import _dagster
from loadsmith.engine.dlt_hooks import HOOKS

SOURCE = Path(__file__).parents[2] / "src" / "loadsmith"

#: The name in the list of each change of dlt for the whole process, by module.
REPLACEMENTS = {
    "engine/dlt_hooks/providers.py": {"context.providers": "providers"},
    "engine/dlt_hooks/records.py": {
        "worker.__dict__['JsonLItemsNormalizer']": "JsonLItemsNormalizer",
        "pool_runner.create_pool": "create_pool",
    },
    "engine/dlt_hooks/resolved.py": {
        "TraceLogContext.log": "log",
        "type(dlt.secrets)._get_value": "_get_value",
    },
    "engine/dlt_hooks/trace.py": {"dlt_trace.TRACKING_MODULES": "TRACKING_MODULES"},
    "engine/dlt_hooks/whole.py": {"normalize.__dict__['LoadStorage']": "LoadStorage"},
    "engine/sources/sql_bounds.py": {"register_table_loader_backend": "TABLE_LOADER_REGISTRY"},
    "engine/sources/sql_loader.py": {"register_table_loader_backend": "TABLE_LOADER_REGISTRY"},
}

PACKAGES = ("dlt", "dagster")

#: Methods that change what they are called on.
CHANGING = {
    *("append", "insert", "extend", "remove", "pop", "popitem", "clear", "sort", "reverse"),
    *("update", "setdefault", "add", "discard", "__setitem__", "__setattr__"),
}


#: Functions that change their first argument.
SETTING = {"__setattr__", "__delattr__", "setitem", "delitem", "object"}


class _Replaced(ast.NodeVisitor):
    """Collects what a module changes in modules, classes and lists of other packages."""

    def __init__(self, tree: ast.AST) -> None:
        self.found: set[str] = set()
        self.theirs: set[str] = set()
        self.before: set[str] | None = None
        # A second look finds what stands above the other name for it.
        while self.before != self.theirs:
            self.before = set(self.theirs)
            self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        self.theirs |= {
            one.asname or one.name.partition(".")[0]
            for one in node.names
            if one.name.partition(".")[0] in PACKAGES
        }

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if str(node.module).partition(".")[0] in PACKAGES:
            self.theirs |= {one.asname or one.name for one in node.names}

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._name(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign | ast.NamedExpr) -> None:
        self._name(node.target, node.value)
        self.generic_visit(node)

    visit_NamedExpr = visit_AnnAssign

    def visit_For(self, node: ast.For) -> None:
        for one in getattr(node.iter, "elts", ()):
            self._name(node.target, one)
        self.generic_visit(node)

    def _name(self, target: ast.AST, value: ast.AST | None) -> None:
        """Take note of another name for what is shared."""
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, own in zip(target.elts, value.elts, strict=False):
                self._name(each, own)
        elif isinstance(target, ast.Name) and value is not None and self._is_shared(value):
            self.theirs.add(target.id)

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and self._is_shared(node.value):
            self.found.add(ast.unparse(node))
        self.generic_visit(node)

    visit_Subscript = visit_Attribute

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        text = ast.unparse(called)
        if text in ("setattr", "delattr") and self._is_shared(node.args[0]):
            self.found.add(ast.unparse(node))
        if text.rpartition(".")[2] in SETTING and node.args and self._is_shared(node.args[0]):
            self.found.add(text)
        is_method = isinstance(called, ast.Attribute) and called.attr in CHANGING
        if is_method and self._is_shared(called.value):
            self.found.add(text)
        if text.rpartition(".")[2].startswith("register_") and self._is_shared(called):
            self.found.add(text)
        self.generic_visit(node)

    def _is_shared(self, node: ast.AST) -> bool:
        """Tell whether something is of another package, and is there once in a process."""
        if isinstance(node, ast.Name):
            return node.id in self.theirs
        if ast.unparse(node).startswith(tuple(f"sys.modules['{name}" for name in PACKAGES)):
            return True
        if isinstance(node, ast.Attribute | ast.Subscript | ast.NamedExpr):
            return self._is_shared(node.value)
        if not isinstance(node, ast.Call):
            return False
        called = ast.unparse(node.func)
        if called in ("vars", "type", "getattr"):
            return self._is_shared(node.args[0])
        if called.rpartition(".")[2] == "cast" and len(node.args) > 1:
            return self._is_shared(node.args[1])
        if called.rpartition(".")[2] == "import_module":
            return ast.unparse(node.args[0]).strip("'").partition(".")[0] in PACKAGES
        return called == "Container"


def replaced() -> Iterator[tuple[str, set[str]]]:
    for path in SOURCE.rglob("*.py"):
        if found := _Replaced(ast.parse(path.read_text("utf-8"))).found:
            yield path.relative_to(SOURCE).as_posix(), found


def test_the_list_has_each_name_that_is_replaced_for_the_process() -> None:
    found = dict(replaced())
    assert found == {module: set(changes) for module, changes in REPLACEMENTS.items()}
    listed = {
        hook.target.rpartition(":")[2].rpartition(".")[2]
        for hook in (*HOOKS, *_dagster.HOOKS)
        if hook.kind == "process"
    }
    assert {name for changes in REPLACEMENTS.values() for name in changes.values()} == listed
    assert len(listed) <= 8


@pytest.mark.parametrize(
    "text",
    [
        "worker.A = 1",
        "worker.A: int = 1",
        "worker.A += [1]",
        "worker.A.B = 1",
        "worker.A['b'] = 1",
        "del worker.A",
        "for worker.A in (1,): pass",
        "(worker.A, x) = 1, 2",
        "setattr(worker, 'A', 1)",
        "vars(worker)['A'] = 1",
        "vars(worker).update(A=1)",
        "worker.__dict__.update(A=1)",
        "worker.LIST.insert(0, 1)",
        "worker.register_it('a', 1)",
        "type(worker.it).A = 1",
        "other = worker\nother.A = 1",
        "def f():\n    other.A = 1\nother = worker",
        "import dlt.normalize.worker as other\nother.A = 1",
        "import dlt\ndlt.normalize.worker.A = 1",
        "import importlib\nother = importlib.import_module('dlt.x')\nother.A = 1",
        "w: Any = worker\nw.A = 1",
        "w, y = worker, 1\nw.A = 1",
        "(w := worker).A = 1",
        "for w in (worker,):\n    w.A = 1",
        "cast(Any, worker).A = 1",
        "sys.modules['dlt.x'].A = 1",
        "object.__setattr__(worker, 'A', 1)",
        "type.__setattr__(worker.A, 'B', 1)",
        "patch.object(worker, 'A')",
        "operator.setitem(vars(worker), 'A', 1)",
        "from dlt.x import Container\nContainer()[1].providers.insert(0, 1)",
    ],
)
def test_a_replacement_is_recognized(text: str) -> None:
    assert _Replaced(ast.parse(f"from dlt.normalize import worker\n{text}")).found


@pytest.mark.parametrize(
    "text", ["storage = worker.Storage()\nstorage.A = 1", "x = {}\nx.update(worker.A)"]
)
def test_a_change_of_one_object_is_none_for_the_process(text: str) -> None:
    assert not _Replaced(ast.parse(f"from dlt.normalize import worker\n{text}")).found
