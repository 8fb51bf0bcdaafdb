"""Find the class that a file names by a registered name or by an import path."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from loadsmith.engine.project_import import import_module
from loadsmith.errors import ResolveError, did_you_mean

C = TypeVar("C", bound=type)
T = TypeVar("T")


@dataclass(frozen=True)
class Register:
    """The classes of task types, or of resource kinds, by the names that files use.

    A decorator registers a class for the whole process. If two modules register the same name, a
    project gets the class from its own folder.

    Attributes:
        noun: Name of the classes in messages.
        built_in: The classes that every project has; their names are reserved.
        method: A method that each class must have, or None.
    """

    noun: str
    built_in: Mapping[str, type]
    method: str | None = None
    decorated: dict[str, list[type]] = field(default_factory=dict)

    def decorate(self, name: str) -> Callable[[C], C]:
        """Return a class decorator that registers the class as `name`.

        Raises:
            ResolveError: The name is built in, holds a dot, or the class lacks the method.
        """

        def register(cls: C) -> C:
            if name in self.built_in:
                raise ResolveError(
                    f"{_path_of(cls)}: {self.noun} {name!r} is built in. Take another name."
                )
            if not name or "." in name:
                raise ResolveError(
                    f"{_path_of(cls)}: {name!r} cannot be the name of a {self.noun}, for a name "
                    "has no dots: those are import paths. Take another name."
                )
            self._check(cls, name)
            others = self.decorated.setdefault(name, [])
            # Reloading a module registers its class again.
            others[:] = [other for other in others if _path_of(other) != _path_of(cls)]
            others.append(cls)
            return cls

        return register

    def find(self, name: str, *, project_folder: Path) -> type:
        """Return the class that `name` in a file stands for.

        Raises:
            ResolveError: There is none, or there are several.
        """
        if name in self.built_in:
            return self.built_in[name]
        if name in self.decorated:
            return self._choose(name, project_folder)
        if "." in name:
            return self._import(name, project_folder)
        raise ResolveError(
            f"there is no {self.noun} {name!r}.{did_you_mean(name, self.names())} "
            f"A {self.noun} of your own is either decorated, in a module that was imported "
            f"before the definitions are built, or named by its import path."
        )

    def names(self) -> list[str]:
        """Return the registered names; nothing is imported."""
        return sorted({*self.built_in, *self.decorated})

    def _choose(self, name: str, project_folder: Path) -> type:
        classes = self.decorated[name]
        if len(classes) == 1:
            return classes[0]
        own = [cls for cls in classes if _is_in(cls, project_folder)]
        if len(own) == 1:
            return own[0]
        paths = ", ".join(sorted(_path_of(cls) for cls in classes))
        raise ResolveError(
            f"{self.noun} {name!r} was decorated more than once: {paths}. "
            "Write the import path of the one that is meant."
        )

    def _import(self, path: str, project_folder: Path) -> type:
        cls = import_member(path, type, noun=self.noun, what="class", project_folder=project_folder)
        self._check(cls, path)
        return cls

    def _check(self, cls: type, name: str) -> None:
        if self.method and not callable(getattr(cls, self.method, None)):
            raise ResolveError(
                f"{self.noun} {name!r}: the class {_path_of(cls)} has no method "
                f"`{self.method}`. Add it."
            )


def import_member(path: str, kind: type[T], *, noun: str, what: str, project_folder: Path) -> T:
    """Import what a file names by an import path.

    Args:
        path: The import path.
        kind: What it has to be.
        noun: What it is for, in messages.
        what: Name of the kind, in messages.
        project_folder: Folder whose modules are found, too.

    Raises:
        ResolveError: There is no such thing.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = import_module(module_name, _search_path(module_name, project_folder))
    except ImportError as error:
        raise ResolveError(
            f"{noun} {path!r}: the module {module_name!r} cannot be imported ({error}). "
            "Check the name, and that its package is installed or in Python's path."
        ) from error
    member = getattr(module, name, None)
    if not isinstance(member, kind):
        known = [other for other, value in vars(module).items() if isinstance(value, kind)]
        raise ResolveError(
            f"{noun} {path!r}: the module {module_name!r} has no {what} {name!r}."
            + did_you_mean(name, known)
        )
    return member


def _search_path(module_name: str, project_folder: Path) -> str | None:
    """Return the project folder if it holds the module and Python has not imported that yet.

    So Python finds the project's `tasks.py` whatever its path is, and not the `tasks.py` of another
    project.
    """
    top = module_name.partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if loaded and Path(loaded).resolve().is_relative_to(project_folder.resolve()):
        return None
    is_there = (project_folder / f"{top}.py").is_file() or (project_folder / top).is_dir()
    return str(project_folder) if is_there else None


def _path_of(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_in(cls: type, folder: Path) -> bool:
    try:
        file = inspect.getsourcefile(cls)
    except (OSError, TypeError):
        return False
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())
