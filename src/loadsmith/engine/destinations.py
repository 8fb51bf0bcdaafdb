"""Settings in, a dlt destination out; and what each destination is good at."""

import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from loadsmith.errors import ResolveError, did_you_mean
from loadsmith.model import DestinationReference

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.common.destination import AnyDestination
    from dlt.common.destination.client import JobClientBase
    from dlt.common.schema import Schema

# One file, one writing process. MotherDuck and a DuckLake on a server are not in it.
_SINGLE_WRITER = frozenset({"duckdb", "sqlite"})
# Names that are no class of dlt's: SQLite is reached through SQLAlchemy.
_ALIASES = {"sqlite": "sqlalchemy"}
# Settings of ours that dlt calls by another name; `dataset` goes to the pipeline.
_PARAM_ALIASES = {"project": "project_id"}
_LOCAL_PATH_DESTINATIONS = frozenset({"duckdb", "sqlite"})
_IN_MEMORY = (":memory:", ":pipeline:", ":external:")


@dataclass(frozen=True, kw_only=True)
class DestinationTraits:
    """What the engine needs to know of a destination.

    Attributes:
        destination_type: dlt's short name of the class: `duckdb`, `postgres`, ...; `sqlite` for
            SQLite through SQLAlchemy.
        single_writer: Whether only one process at a time can have it open.
        local_path: Absolute path of the file that `single_writer` is about, or None.
        can_read: Whether the destination gives its state back (`@dlt.destination` does not).
        loader_file_format: The fastest format that is installed and gives the same columns,
            types and values as dlt's default one; None for dlt's own choice.
    """

    destination_type: str
    single_writer: bool = False
    local_path: str | None = None
    can_read: bool = True
    loader_file_format: str | None = None


@dataclass(frozen=True, kw_only=True)
class TableLocation:
    """Where a table is.

    Attributes:
        table_id: Qualified as reference 1 has it: `dataset.table`; None for files.
        file_uri: Folder of the table's files; None for SQL destinations.
        qualified_name: Qualified in the destination's own form, without quotes.
    """

    table_id: str | None = None
    file_uri: str | None = None
    qualified_name: str | None = None


def make_destination(reference: DestinationReference) -> "AnyDestination":
    """Make the dlt destination that a definition means; opens and writes nothing.

    Raises:
        ResolveError: There is no such destination, or it takes no such parameter.
    """
    factory = _find_factory(reference)
    destination_class = _class_of(factory)
    params = _to_dlt(reference, destination_class)
    _check_installed(reference, destination_class)
    return exact(factory(**params))


def exact(destination: "AnyDestination") -> "AnyDestination":
    """Return the destination, or one like it whose fastest format gives the default's columns.

    A destination of a class that a user derived from dlt's stays as it is.
    """
    from dlt.destinations.impl.postgres.factory import postgres

    if type(destination) is postgres and _has("adbc_driver_postgresql", "pyarrow"):
        from loadsmith.engine._postgres import ExactPostgres

        own: Any = copy(destination)
        own.__class__ = ExactPostgres
        return cast("AnyDestination", own)
    return destination


def check_destination(reference: DestinationReference) -> list[str]:
    """Return what is wrong with a destination and its parameters; imports dlt, connects nowhere."""
    try:
        factory = _find_factory(reference)
        _to_dlt(reference, _class_of(factory))
    except ResolveError as exc:
        return [str(exc)]
    return []


def destination_problems(reference: DestinationReference) -> list[str]:
    """Return what is wrong with a destination as far as it can be told without dlt."""
    name = reference.name
    if "." in name or "destination_type" in reference.params or name in known_destinations():
        return []
    if f"DESTINATION__{name.upper()}__DESTINATION_TYPE" in os.environ:
        return []
    known = known_destinations()
    return [f"destination {name!r}: dlt has none of that name.{did_you_mean(name, known)}"]


@lru_cache(maxsize=1)
def known_destinations() -> tuple[str, ...]:
    """Return the names of dlt's destinations, read from its folder; dlt is not imported."""
    spec = importlib.util.find_spec("dlt")
    folders = [
        Path(root) / "destinations" / "impl"
        for root in (spec and spec.submodule_search_locations) or ()
    ]
    found = {
        entry.name
        for folder in folders
        if folder.is_dir()
        for entry in folder.iterdir()
        if (entry / "factory.py").is_file()
    }
    return tuple(sorted(found | set(_ALIASES)))


def name_problem(reference: DestinationReference, dataset_name: str | None) -> str | None:
    """Return why a dataset cannot be in a destination, as far as it can be told without dlt."""
    if _kind(reference) != "duckdb":
        return None
    path = reference.params.get("database", reference.params.get("credentials"))
    if not isinstance(path, str) or "{{" in path or "://" in path or path in _IN_MEMORY:
        return None
    return _same_name_problem(path, dataset_name)


def _same_name_problem(path: str, dataset_name: str | None) -> str | None:
    # DuckDB calls a database by its file's name up to the first dot, whatever its case.
    file = Path(path).name
    if dataset_name is None or file.partition(".")[0].casefold() != dataset_name.casefold():
        return None
    return (
        f"dataset {dataset_name!r}: the DuckDB file {file!r} has the same name, and DuckDB cannot"
        f" tell one from the other. Call the dataset {f'{dataset_name}_data'!r}, or the file"
        " something else."
    )


def destination_dataset(reference: DestinationReference) -> str | None:
    """Return the dataset that a destination's settings name (`dataset`, as for BigQuery)."""
    value = reference.params.get("dataset", reference.params.get("dataset_name"))
    return str(value) if value else None


def traits(destination_or_pipeline: "AnyDestination | Pipeline") -> DestinationTraits:
    """Return what a destination is good at; connects nowhere, needs no secret."""
    from dlt import Pipeline

    if isinstance(destination_or_pipeline, Pipeline):
        destination = destination_or_pipeline.destination
        config = _pipeline_config(destination_or_pipeline)
    else:
        destination = destination_or_pipeline
        config = _own_config(destination)
    kind = destination.destination_type.rpartition(".")[2]
    path = _local_file(kind, config)
    if kind == "sqlalchemy" and _drivername(config).startswith("sqlite"):
        kind = "sqlite"
    return DestinationTraits(
        destination_type=kind,
        single_writer=kind in _SINGLE_WRITER and path is not None,
        local_path=path,
        can_read=_can_read(destination),
        loader_file_format=_fastest_format(kind, destination),
    )


def traits_of_reference(reference: DestinationReference) -> DestinationTraits:
    """Return what a destination is good at that a definition names.

    Raises:
        ResolveError: There is no such destination, or it takes no such parameter.
    """
    return traits(make_destination(reference))


def refuse_ambiguous_dataset(client: "JobClientBase") -> None:
    """Refuse a dataset that is called like its DuckDB file, which SQL could not tell from it.

    Raises:
        ResolveError: They have the same name.
    """
    config: Any = client.config
    path = _local_file("duckdb", config) if config.destination_type == "duckdb" else None
    dataset = getattr(client, "dataset_name", None) or getattr(config, "dataset_name", None)
    problem = _same_name_problem(path, dataset) if path else None
    if problem:
        raise ResolveError(problem)


def table_locations(
    pipeline: "Pipeline",
    schema: "Schema",
    table_names: Iterable[str],
    client: "JobClientBase | None" = None,
) -> dict[str, TableLocation]:
    """Return where the tables of a pipeline are, by name; no connection is opened."""
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

    if client is None:
        known = schema.name in pipeline.schemas
        client = (
            pipeline.destination_client(schema.name) if known else pipeline.destination_client()
        )
    if isinstance(client, FilesystemClient):
        return {name: _file_location(client, name) for name in table_names}
    return {name: _sql_location(client, name) for name in table_names}


def _file_location(client: Any, table: str) -> TableLocation:
    uri = client.get_table_dir(table, remote=True)
    return TableLocation(file_uri=uri.rstrip("/"), qualified_name=f"{client.dataset_name}.{table}")


def _sql_location(client: "JobClientBase", table: str) -> TableLocation:
    from dlt.destinations.sql_client import WithSqlClient

    if not isinstance(client, WithSqlClient):
        dataset = getattr(client, "dataset_name", None) or getattr(
            client.config, "dataset_name", None
        )
        name = f"{dataset}.{table}" if dataset else table
        return TableLocation(table_id=name, qualified_name=name)
    sql_client = client.sql_client
    path = [part for part in sql_client.make_qualified_table_name_path(table, quote=False) if part]
    return TableLocation(table_id=".".join(path[-2:]), qualified_name=".".join(path))


def _find_factory(reference: DestinationReference) -> Any:
    from dlt.common.destination.exceptions import UnknownDestinationModule
    from dlt.common.destination.reference import DestinationReference as DltDestinationReference

    name = str(
        reference.params.get("destination_type", _ALIASES.get(reference.name, reference.name))
    )
    if "." in name:
        found = _find_dotted(name, reference)
        if found is not None:
            return found
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


def _find_dotted(name: str, reference: DestinationReference) -> Any:
    """Return the destination at a dotted path, in the project's folder first, then in Python's."""
    from loadsmith.engine._sources_import import import_module

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
        found = getattr(module, attribute, None)
        if found is not None and _is_factory(found):
            return found
        known = [key for key, value in vars(module).items() if _is_factory(value)]
        what = "is no dlt destination" if found is not None else "is not there"
        raise ResolveError(
            f"destination {name!r}: {attribute!r} {what}.{did_you_mean(attribute, known)}"
        )
    return None


def _is_factory(value: Any) -> bool:
    from dlt.common.destination import Destination

    return hasattr(value, "_factory") or (
        isinstance(value, type) and issubclass(value, Destination)
    )


def _class_of(factory: Any) -> Any:
    return getattr(factory, "_factory", factory)


def _check_installed(reference: DestinationReference, destination_class: Any) -> None:
    try:
        destination_class.client_class.fget(None)
    except ImportError as exc:
        raise ResolveError(
            f"destination {reference.name!r}: a package that it needs is not installed ({exc})."
            f" Install `dlt[{_kind(reference)}]` in the environment of the run."
        ) from exc
    except (AttributeError, TypeError):
        # A class that looks at itself to find its client says in the run what it misses.
        return


def _to_dlt(reference: DestinationReference, destination_class: Any) -> dict[str, Any]:
    """Return the parameters as the destination's class takes them."""
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
        elif name == "database" and _kind(reference) in _LOCAL_PATH_DESTINATIONS:
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


def _merge_credentials(
    reference: DestinationReference, written: Any, parts: Mapping[str, Any]
) -> Any:
    kind = _kind(reference)
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


def _kind(reference: DestinationReference) -> str:
    return str(reference.params.get("destination_type", reference.name)).rpartition(".")[2]


def _absolute(reference: DestinationReference, name: str, value: Any) -> Any:
    """Return a path of a local file as an absolute one; everything else as it is."""
    kind = _kind(reference)
    if not isinstance(value, (str, os.PathLike)) or reference.base_path is None:
        return value
    text = os.fspath(value)
    if name == "credentials" and kind in ("duckdb", "sqlite"):
        return text if text in _IN_MEMORY or "://" in text else _under(reference.base_path, text)
    if name == "credentials" and kind == "sqlalchemy":
        match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:)([^?]+)(.*)", text)
        if match:
            return f"{match[1]}{_under(reference.base_path, match[2])}{match[3]}"
        return text
    if name == "bucket_url":
        is_path = not urlsplit(text).scheme or re.match(r"^[A-Za-z]:[\\/]", text)
        return _under(reference.base_path, text) if is_path else text
    return text


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
    found = getattr(destination_class, "spec", None)
    if isinstance(found, property):
        try:
            return found.fget(None)  # type: ignore[misc]
        except (AttributeError, TypeError):
            # A custom destination knows its spec when it is made.
            return destination_class().spec
    return found


def _accepted(destination_class: Any) -> set[str]:
    """Return what a destination's class takes: its own arguments and dlt's capabilities."""
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


def _pipeline_config(pipeline: "Pipeline") -> Any:
    from dlt.common.configuration.exceptions import ConfigurationException

    try:
        return pipeline.destination_client().config
    except ConfigurationException:
        return _own_config(pipeline.destination)


def _own_config(destination: "AnyDestination") -> Any:
    from dlt.common.configuration.exceptions import ConfigurationException

    try:
        return destination.configuration(destination.spec(), accept_partial=True)
    except ConfigurationException:
        return None


def _drivername(config: Any) -> str:
    return str(getattr(getattr(config, "credentials", None), "drivername", None) or "")


def _local_file(kind: str, config: Any) -> str | None:
    credentials = getattr(config, "credentials", None)
    database = getattr(credentials, "database", None)
    if not isinstance(database, str) or not database or database in _IN_MEMORY:
        return None
    if kind == "duckdb":
        return None if "://" in database else str(Path(database).resolve())
    if kind == "sqlalchemy" and _drivername(config).startswith("sqlite"):
        return str(Path(database).resolve())
    return None


def _can_read(destination: "AnyDestination") -> bool:
    from dlt.common.destination.client import WithStateSync

    try:
        return issubclass(destination.client_class, WithStateSync)
    except ImportError:
        return True


def _fastest_format(kind: str, destination: "AnyDestination") -> str | None:
    """Return the fastest file format of a destination, or None for dlt's own choice."""
    if not _has("pyarrow"):
        return None
    if kind == "postgres":
        # Only parquet through ADBC is both faster and exact: dlt's csv jobs refuse binary
        # columns and turn empty text into NULL.
        return "parquet" if _is_exact(destination) else None
    supported = destination.capabilities().supported_loader_file_formats or ()
    return "parquet" if kind in _PARQUET and "parquet" in supported else None


def _is_exact(destination: "AnyDestination") -> bool:
    from loadsmith.engine._postgres import ExactPostgres

    return isinstance(destination, ExactPostgres)


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


# BigQuery and Databricks are not in it: their parquet loads refuse JSON columns. SQLAlchemy is
# not: it inserts row by row from either.
_PARQUET = frozenset(
    {"duckdb", "motherduck", "ducklake", "filesystem", "snowflake", "clickhouse", "lancedb"}
)
