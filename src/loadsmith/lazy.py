"""Import a package's public names when they are first used, so that looking stays cheap."""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def names_on_first_use(package: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose imports stand below `if TYPE_CHECKING:`.

    Args:
        package: Full name of the package.
    """

    def load_name(name: str) -> Any:
        # Python looks for names such as `__path__` here, too.
        module = None if name.startswith("__") else modules_by_name(package).get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module), name)

    return load_name


@cache
def modules_by_name(package: str) -> dict[str, str]:
    """Return the names that the source of a package imports, with the module of each.

    The source is read, so that a package lists each name once.
    """
    # Imported here, because `import loadsmith` alone needs neither.
    import ast
    import inspect

    return {
        alias.name: node.module
        for node in ast.walk(ast.parse(inspect.getsource(sys.modules[package])))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
