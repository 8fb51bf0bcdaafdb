"""Turn the name and settings of a destination into dlt's class and its parameters."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadsmith.dlt_names import CUSTOM_DESTINATION, destination_names
from loadsmith.engine.packages import pip_install
from loadsmith.errors import ResolveError, did_you_mean
from loadsmith.model import DestinationReference

# Names that dlt does not know: it reaches SQLite through SQLAlchemy.
_ALIASES = {"sqlite": "sqlalchemy"}
# Settings that dlt calls differently; `dataset` goes to the pipeline.
_PARAM_ALIASES = {"project": "project_id"}
_LOCAL_PATH_DESTINATIONS = frozenset({"duckdb", "sqlite"})
#: Values that are no file, although they are given in place of a file name.
IN_MEMORY = (":memory:", ":pipeline:", ":external:")


def destination_problems(reference: DestinationReference) -> list[str]:
    """Return what is wrong with a destination, as far as that is known without dlt."""
    name = reference.name
    known = destination_names()
    if "." in name or "destination_type" in reference.params:
        return []
    if name in known or name == CUSTOM_DESTINATION:
        return []
    if f"DESTINATION__{name.upper()}__DESTINATION_TYPE" in os.environ:
        return []
    return [f"destination {name!r}: dlt has none of that name.{did_you_mean(name, known)}"]


def find_factory(reference: DestinationReference) -> Any:
    """Return the class or factory that a reference names.

    Raises:
        ResolveError: It does not exist.
    """
    from dlt.common.destination.exceptions import UnknownDestinationModule
    from dlt.common.destination.reference import DestinationReference as DltDestinationReference

    name = str(
        reference.params.get("destination_type", _ALIASES.get(reference.name, reference.name))
    )
    if "." in name:
        factory = _find_dotted(name, reference)
        if factory is not None:
            return factory
    try:
        return DltDestinationReference.find(name)
    except UnknownDestinationModule as exc:
        problems = destination_problems(reference)
        if not problems and "." not in name and "destination_type" not in reference.params:
            configured = os.environ.get(f"DESTINATION__{name.upper()}__DESTINATION_TYPE")
            if configured:
                return DltDestinationReference.find(configured)
        raise ResolveError(
            problems[0]
            if problems
            else f"destination {name!r}: it is not there."
            " Write a name of dlt's or the dotted path of a destination."
        ) from exc


def check_installed(reference: DestinationReference, destination_class: Any) -> None:
    """Refuse a destination if its package is not installed.

    Raises:
        ResolveError: It is not. The message names the package.
    """
    try:
        destination_class.client_class.fget(None)
    except ImportError as exc:
        command = pip_install([f"dlt[{kind_of(reference)}]"])
        raise ResolveError(
            f"destination {reference.name!r}: a package that it needs is not installed ({exc})."
            f" Install it with `{command}` in the environment of the run."
        ) from exc
    except (AttributeError, TypeError):
        # A class that needs an instance to find its client reports a missing package in the run.
        return


def to_dlt(reference: DestinationReference, destination_class: Any) -> dict[str, Any]:
    """Return the parameters in the form that the destination's class accepts."""
    spec_fields, credential_fields = _fields_of(destination_class)
    accepted = _accepted(destination_class) | set(spec_fields)
    params: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    for name, value in reference.params.items():
        if name in ("dataset", "destination_type") or (
            name == "dataset_name" and name in spec_fields
        ):
            continue
        if value is None:
            continue
        dlt_name = _PARAM_ALIASES.get(name, name)
        if name in accepted:
            params[name] = _absolute(reference, name, value)
        elif dlt_name in accepted:
            params[dlt_name] = value
        elif name in credential_fields or dlt_name in credential_fields:
            credentials[name if name in credential_fields else dlt_name] = value
        elif name == "database" and kind_of(reference) in _LOCAL_PATH_DESTINATIONS:
            credentials[name] = value
        else:
            known = sorted(
                (accepted | credential_fields | {"dataset"})
                - {"self", "kwargs", "destination_type"}
            )
            raise ResolveError(
                f"destination {reference.name!r}: it takes no parameter {name!r}."
                f"{did_you_mean(name, known)}"
            )
    if credentials:
        params["credentials"] = _merge_credentials(
            reference, params.get("credentials"), credentials
        )
    if reference.params.get("destination_type"):
        params.setdefault("destination_name", reference.name)
    return params


def _find_dotted(name: str, reference: DestinationReference) -> Any:
    """Return the destination at a dotted path: in the project's folder, else in Python's path."""
    from loadsmith.engine.project_import import import_module

    module_name, _, attribute = name.rpartition(".")
    for search_path in dict.fromkeys((reference.search_path, None)):
        try:
            module = import_module(module_name, search_path)
        except ModuleNotFoundError as exc:
            if exc.name and (module_name == exc.name or module_name.startswith(f"{exc.name}.")):
                continue
            raise ResolveError(
                f"destination {name!r}: its module imports {exc.name!r}, which is not installed."
            ) from exc
        from loadsmith.engine.dlt_hooks import is_destination

        value = getattr(module, attribute, None)
        if value is not None and is_destination(value):
            return value
        known = [key for key, value in vars(module).items() if is_destination(value)]
        what = "is no dlt destination" if value is not None else "is not there"
        raise ResolveError(
            f"destination {name!r}: {attribute!r} {what}.{did_you_mean(attribute, known)}"
        )
    return None


def _merge_credentials(
    reference: DestinationReference, written: Any, parts: Mapping[str, Any]
) -> Any:
    kind = kind_of(reference)
    if kind in _LOCAL_PATH_DESTINATIONS and written is None and "database" in parts:
        path = _absolute(reference, "credentials", parts["database"])
        if kind == "sqlite":
            path = f"sqlite:///{path}"
        rest = {name: value for name, value in parts.items() if name != "database"}
        if not rest:
            return path
        return {**({"database": path} if kind == "duckdb" else {}), **rest}
    if written is None:
        return dict(parts)
    if isinstance(written, Mapping):
        return {**written, **parts}
    names = ", ".join(repr(name) for name in parts)
    raise ResolveError(
        f"destination {reference.name!r}: {names} and 'credentials' say the same thing."
        " Keep one of the two."
    )


def kind_of(reference: DestinationReference) -> str:
    """Return the short name of the class that a reference names, such as `postgres`."""
    return str(reference.params.get("destination_type", reference.name)).rpartition(".")[2]


def _absolute(reference: DestinationReference, name: str, value: Any) -> Any:
    """Return the path of a local file as an absolute path, and any other value unchanged."""
    kind = kind_of(reference)
    if not isinstance(value, (str, os.PathLike)) or reference.base_path is None:
        return value
    text = os.fspath(value)
    if name == "credentials" and kind in ("duckdb", "sqlite"):
        return text if text in IN_MEMORY or "://" in text else _under(reference.base_path, text)
    if name == "credentials" and kind == "sqlalchemy":
        return absolute_sqlite(text, reference.base_path)
    if name == "bucket_url":
        is_path = not urlsplit(text).scheme or re.match(r"^[A-Za-z]:[\\/]", text)
        return _under(reference.base_path, text) if is_path else text
    return text


def absolute_sqlite(url: str, base_path: str) -> str:
    """Return the address of a SQLite file with an absolute path, and any other one unchanged."""
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:)([^?]+)(.*)", url)
    return f"{match[1]}{_under(base_path, match[2])}{match[3]}" if match else url


def _under(base_path: str, path: str) -> str:
    return os.path.normpath(Path(base_path) / Path(path).expanduser())


def _fields_of(destination_class: Any) -> tuple[set[str], set[str]]:
    """Return the fields of a destination's configuration and of its credentials."""
    from dlt.common.configuration.specs import BaseConfiguration
    from dlt.common.configuration.specs.base_configuration import extract_inner_hint

    spec = _spec_of(destination_class)
    if spec is None:
        return set(), set()
    fields = spec.get_resolvable_fields()
    hint = extract_inner_hint(fields["credentials"]) if "credentials" in fields else None
    alternatives = getattr(hint, "__args__", (hint,))
    credentials: set[str] = set()
    for alternative in alternatives:
        if isinstance(alternative, type) and issubclass(alternative, BaseConfiguration):
            credentials |= set(alternative.get_resolvable_fields())
    return set(fields), credentials


def _spec_of(destination_class: Any) -> Any:
    spec = getattr(destination_class, "spec", None)
    if isinstance(spec, property):
        getter: Any = spec.fget
        try:
            return getter(None)
        except (AttributeError, TypeError):
            # A custom destination knows its spec only after it was made.
            return destination_class().spec
    return spec


def _accepted(destination_class: Any) -> set[str]:
    """Return the parameters that a destination's class accepts, and dlt's capabilities."""
    import inspect

    from dlt.common.destination import DestinationCapabilitiesContext

    signature = inspect.signature(
        getattr(destination_class, "__orig_base__", destination_class).__init__
    )
    named = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and name != "self"
    }
    return named | set(DestinationCapabilitiesContext.get_resolvable_fields())
