"""Import a package's public names when they are first used, so that looking stays cheap."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_on_first_use(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that exports names of its modules.

    Args:
        package: Full name of the package.
        modules: The names that each module of the package exports, by the module's name.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load_name
