"""Import the modules of a project's folder without a change of `sys.path`.

The modules of each project are in `sys.modules` under a private package, so that the `github` of
a project never meets the `github` of another, or PyGithub's. A project's modules run with an
`__import__` that sends absolute imports, such as `from github.pages import walk`, to that package.
`importlib.import_module("github")` in a project's code does not reach it;
`importlib.import_module(".pages", __package__)` does.
"""

import builtins
import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "loadsmith_project_"
_lock = threading.RLock()


class _ProjectLoader(SourceFileLoader):
    """Executes a module of a project with the project's own `__import__`."""

    def exec_module(self, module: ModuleType) -> None:
        root = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = sys.modules[root].__dict__["project_builtins"]
        super().exec_module(module)


class _ProjectFinder(MetaPathFinder):
    """Finds the modules below a project's private package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _ProjectLoader(fullname, spec.loader.path)
        return spec


def import_module(name: str, search_path: str | None) -> ModuleType:
    """Import the module `name`, from the folder `search_path` or from Python's own path.

    Raises:
        ModuleNotFoundError: The module, or a module that it imports, does not exist. `.name` is
            its name in the project's code.
    """
    if search_path is None:
        return importlib.import_module(name)
    root = _root_package(search_path)
    try:
        return importlib.import_module(f"{root}.{name}")
    except ModuleNotFoundError as exc:
        if exc.name and exc.name.startswith(f"{root}."):
            natural = exc.name[len(root) + 1 :]
            raise ModuleNotFoundError(f"No module named {natural!r}", name=natural) from exc
        raise


def natural_name(module_name: str) -> str:
    """Return the name of a module in the project's code."""
    if module_name.startswith(_PREFIX):
        return module_name.partition(".")[2]
    return module_name


def iter_module_names(search_path: str, *, depth: int = 3) -> Iterator[str]:
    """Yield the dotted names of the modules in a folder, for error messages."""
    yield from _module_names(Path(search_path), "", depth)


def _module_names(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        name = entry.stem if entry.suffix == ".py" else entry.name
        if not name.isidentifier() or name.startswith("_"):
            continue
        if entry.suffix == ".py":
            yield prefix + name
        elif entry.is_dir() and depth > 1:
            if (entry / "__init__.py").is_file():
                yield prefix + name
            yield from _module_names(entry, f"{prefix}{name}.", depth - 1)


def _root_package(search_path: str) -> str:
    """Return the private package of a project's folder; create it if needed."""
    folder = str(Path(search_path).resolve())
    root = _PREFIX + hashlib.sha256(folder.encode()).hexdigest()[:12]
    with _lock:
        if not any(isinstance(finder, _ProjectFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _ProjectFinder())
        if root not in sys.modules:
            package = ModuleType(root, f"The modules of {folder}.")
            package.__path__ = [folder]
            package.__package__ = root
            package.__dict__["project_builtins"] = {
                **vars(builtins),
                "__import__": _make_import(root, folder),
            }
            sys.modules[root] = package
    # Python may have listed the folder before a module was written.
    importlib.invalidate_caches()
    return root


def _make_import(root: str, folder: str) -> Any:
    def project_import(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level == 0 and _is_of_project(root, folder, top):
            module = builtins.__import__(f"{root}.{name}", globals, locals, fromlist, 0)
            return module if fromlist else sys.modules[f"{root}.{top}"]
        return builtins.__import__(name, globals, locals, fromlist, level)

    return project_import


def _is_of_project(root: str, folder: str, top: str) -> bool:
    """Tell whether an absolute import of `top` means a module of the project.

    The project comes first in the path. As in Python, a regular package wins over a folder without
    `__init__.py`: if a project only has a folder `github`, `import github` means PyGithub.
    """
    if f"{root}.{top}" in sys.modules and sys.modules[f"{root}.{top}"].__file__:
        return True
    spec = PathFinder.find_spec(f"{root}.{top}", [folder])
    if spec is None:
        return False
    if spec.origin is not None and spec.loader is not None:
        return True
    elsewhere = sys.modules.get(top)
    if elsewhere is not None:
        return getattr(elsewhere, "__file__", None) is None
    other = importlib.util.find_spec(top)
    return other is None or other.origin is None
