"""Find the Python object that a dotted reference in a `defs.yaml` names."""

import inspect
import pkgutil
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from loadsmith.engine.packages import install_command
from loadsmith.engine.schema_files import naming_schema_beside
from loadsmith.engine.sources import recipe_of
from loadsmith.errors import ResolveError, did_you_mean

SOURCE = "source"
PIPELINE = "pipeline"


def load_reference(path: str, *, package: str, kind: str) -> Any:
    """Return the object that `path` names.

    Args:
        path: `.loads.github_source` (seen from `package`) or `my_package.loads.github_source`.
        package: Module of the folder that a relative path starts in.
        kind: `source` or `pipeline`, the kind of object that is needed.

    Raises:
        ResolveError: The module or the name in it does not exist, or is not a `kind`.
    """
    module_name, _, name = _absolute(path, package, kind).rpartition(".")
    module = _import(module_name, path=path, package=package, kind=kind)
    if not hasattr(module, name):
        candidates = _names_of(module, kind)
        raise ResolveError(
            f"{kind} {path!r}: {_place(module)} has no {name!r}."
            + (did_you_mean(name, candidates) or f" It has no {kind} at all.")
        )
    value = getattr(module, name)
    if isinstance(value, ModuleType):
        raise ResolveError(
            f"{kind} {path!r}: this is a module. Name what is in it."
            + _listed(f"{path}.{candidate}" for candidate in _names_of(value, kind))
        )
    if not _may_be(value, kind):
        raise ResolveError(
            f"{kind} {path!r}: {name!r} in {_place(module)} is {_described(value)}, "
            f"not a {kind} or a function that makes one."
            + _listed(candidate for candidate in _names_of(module, kind) if candidate != name)
        )
    return value


def recipe(value: Any, *, kind: str, path: str) -> Callable[[], Any]:
    """Return a function without arguments that returns the source or the pipeline.

    A live object is returned as it is; a dlt source that was not called, or a function that
    makes a source or a pipeline, is called each time.

    Raises:
        ResolveError: The function needs arguments.
    """
    missing = _missing_arguments(value) if _is_function(value) else []
    if missing:
        raise ResolveError(
            f"{kind} {path!r}: it is a function that needs {', '.join(missing)}. "
            "Give the arguments defaults (dlt.config.value and dlt.secrets.value are such), "
            "or call it in the module and name what it returns."
        )
    return recipe_of(value)


def _absolute(path: str, package: str, kind: str) -> str:
    name = f"{package}{path}" if path.startswith(".") else path
    if "." not in name.strip(".") or name.endswith("."):
        raise ResolveError(
            f"{kind} {path!r}: a module and a name in it are needed, such as "
            f"'.loads.my_load_{kind}' for my_load_{kind} in the loads.py beside defs.yaml."
        )
    return name


def _import(module_name: str, *, path: str, package: str, kind: str) -> ModuleType:
    try:
        with naming_schema_beside(module_name):
            return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            command = install_command(error)
            raise ResolveError(
                f"{kind} {path!r}: its module imports {error.name!r}, which is not installed."
                f" {command} in the environment of the run."
            ) from error
        raise ResolveError(
            f"{kind} {path!r}: there is no module {module_name!r}."
            + _modules_like(module_name, package, kind)
        ) from error


def _modules_like(module_name: str, package: str, kind: str) -> str:
    """Return suggestions: modules beside the missing one, with their names."""
    parent, _, last = module_name.rpartition(".")
    siblings: list[str] = []
    if parent and find_spec(parent.split(".")[0]):
        try:
            folder = import_module(parent)
        except ImportError:
            return ""
        siblings = [module.name for module in pkgutil.iter_modules(getattr(folder, "__path__", []))]
    text = did_you_mean(last, siblings)
    if parent == package:
        text += _listed(known for name in siblings for known in _names_below(package, name, kind))
    return text or " Is the package installed, and is the name spelled right?"


def _names_below(package: str, name: str, kind: str) -> list[str]:
    """Return the references into a module beside `defs.yaml`, if it can be imported."""
    try:
        module = import_module(f"{package}.{name}")
    except ImportError:
        return []
    return [f".{name}.{public_name}" for public_name in _names_of(module, kind)]


def _listed(candidates: Iterable[str]) -> str:
    names = sorted(set(candidates))
    return f" Candidates: {', '.join(names)}." if names else ""


def _place(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return Path(file).name if file else module.__name__


def _names_of(module: ModuleType, kind: str) -> list[str]:
    """Return the public names of `module` that are a `kind`, or functions defined in it."""
    names = []
    for name, value in vars(module).items():
        if name.startswith("_") or not _may_be(value, kind):
            continue
        own = getattr(value, "__module__", None) == module.__name__
        if own or not _is_function(value):
            names.append(name)
    return names


def _may_be(value: Any, kind: str) -> bool:
    """Return whether `value` is a `kind`, or a function that may make one."""
    import dlt
    from dlt.extract import DltResource, DltSource

    if isinstance(value, (type, ModuleType)):
        return False
    if kind == PIPELINE:
        return isinstance(value, dlt.Pipeline) or inspect.isroutine(value)
    return isinstance(value, (DltSource, DltResource)) or _is_function(value)


def _is_function(value: Any) -> bool:
    """Return whether `value` is a function, or dlt's `@dlt.source` around one.

    Live sources and resources are callable as well, but are not functions.
    """
    import dlt
    from dlt.extract import DltResource, DltSource

    return callable(value) and not isinstance(value, (DltResource, DltSource, dlt.Pipeline, type))


def _missing_arguments(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        repr(parameter.name)
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _described(value: Any) -> str:
    return "a class" if isinstance(value, type) else f"of type {type(value).__name__}"
