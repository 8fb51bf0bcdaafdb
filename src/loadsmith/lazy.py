"""Import a package's public names when they are first used, so that looking stays cheap."""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def names_on_first_use(package: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose imports stand below `if TYPE_CHECKING:`.

    The package's own source is read for them, so that each name is listed once.

    Args:
        package: Full name of the package.
    """

    @cache
    def modules() -> dict[str, str]:
        # Imported here, because `import loadsmith` alone needs neither.
        import ast
        import inspect

        tree = ast.parse(inspect.getsource(sys.modules[package]))
        return {
            alias.name: node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    def load_name(name: str) -> Any:
        # Python looks for names such as `__path__` here, too.
        module = None if name.startswith("__") else modules().get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module), name)

    return load_name
