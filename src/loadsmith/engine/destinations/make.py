"""Make dlt's destinations, and find out what they can do and where their tables are."""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from loadsmith.engine.destinations.params import (
    IN_MEMORY,
    check_installed,
    destination_problems as destination_problems,
    find_factory,
    kind_of,
    to_dlt,
)
from loadsmith.errors import ResolveError
from loadsmith.model import DestinationReference

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.common.destination import AnyDestination
    from dlt.common.destination.client import JobClientBase
    from dlt.common.schema import Schema

# These have one file with one writing process. MotherDuck and a DuckLake on a server do not.
_SINGLE_WRITER = frozenset({"duckdb", "sqlite"})


@dataclass(frozen=True, kw_only=True)
class DestinationTraits:
    """What the engine needs to know of a destination.

    Attributes:
        destination_type: dlt's short name of the class: `duckdb`, `postgres`, ...; `sqlite` for
            SQLite through SQLAlchemy.
        single_writer: Whether only one process at a time can have the destination open.
        local_path: Absolute path of the file that `single_writer` is about, or None.
        can_read: Whether the destination returns its state (`@dlt.destination` does not).
        loader_file_format: The fastest format that gives the same columns, types and values as
            dlt's default, if what it needs is installed; None for dlt's choice.
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
        table_id: `dataset.table`; None for files.
        file_uri: Folder of the table's files; None for SQL destinations.
        qualified_name: The full name in the form of the destination, without quotes.
    """

    table_id: str | None = None
    file_uri: str | None = None
    qualified_name: str | None = None


def make_destination(reference: DestinationReference) -> "AnyDestination":
    """Make the dlt destination of a definition, without a connection.

    Raises:
        ResolveError: There is no such destination, or it takes no such parameter.
    """
    factory = find_factory(reference)
    from loadsmith.engine.dlt_hooks import class_of

    destination_class = class_of(factory)
    params = to_dlt(reference, destination_class)
    check_installed(reference, destination_class)
    return exact(factory(**params))


def exact(destination: "AnyDestination") -> "AnyDestination":
    """Return the destination, or a copy that is exact in its fastest format or limits its memory.

    PostgreSQL gets the same columns from parquet as from dlt's default format, and DuckDB gets a
    memory limit. A destination of a class that a user derived from dlt's is not changed.
    """
    from dlt.destinations.impl.duckdb.factory import duckdb
    from dlt.destinations.impl.postgres.factory import postgres

    ours: Any = copy(destination)
    if type(destination) is postgres and _has("adbc_driver_postgresql", "pyarrow"):
        from loadsmith.engine.dlt_hooks import ExactPostgres

        ours.__class__ = ExactPostgres
    elif type(destination) is duckdb and _has("duckdb"):
        from loadsmith.engine.destinations.duckdb import LimitedDuckDb

        ours.__class__ = LimitedDuckDb
    else:
        return destination
    return cast("AnyDestination", ours)


def check_destination(reference: DestinationReference) -> list[str]:
    """Return what is wrong with a destination and its parameters. Needs dlt, but no connection."""
    try:
        from loadsmith.engine.dlt_hooks import class_of

        factory = find_factory(reference)
        to_dlt(reference, class_of(factory))
    except ResolveError as exc:
        return [str(exc)]
    return []


def name_problem(reference: DestinationReference, dataset_name: str | None) -> str | None:
    """Return why a dataset cannot be in a destination, as far as that is known without dlt."""
    if kind_of(reference) != "duckdb":
        return None
    path = reference.params.get("database", reference.params.get("credentials"))
    if not isinstance(path, str) or "{{" in path or "://" in path or path in IN_MEMORY:
        return None
    return _same_name_problem(path, dataset_name)


def _same_name_problem(path: str, dataset_name: str | None) -> str | None:
    # DuckDB names a database after its file, up to the first dot and without regard to case.
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


def dataset_of(pipeline: "Pipeline") -> str | None:
    """Return the dataset of a pipeline; the one that is given to the destination wins in dlt."""
    destination = cast("Any", pipeline.destination)
    own = destination.config_params.get("dataset_name") if destination else None
    return own or pipeline.dataset_name


def traits(destination_or_pipeline: "AnyDestination | Pipeline") -> DestinationTraits:
    """Return what a destination can do. Needs no connection and no secret."""
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


def refuse_ambiguous_dataset(client: "JobClientBase") -> None:
    """Refuse a dataset with the name of its DuckDB file, because SQL could not distinguish them.

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
    schema: "Schema | None",
    table_names: Iterable[str],
    client: "JobClientBase | None" = None,
) -> dict[str, TableLocation]:
    """Return where the tables of a pipeline are, by name, without a connection."""
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

    if client is None:
        if schema is not None and schema.name in pipeline.schemas:
            client = pipeline.destination_client(schema.name)
        else:
            client = pipeline.destination_client()
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


def own_credentials(destination: "AnyDestination") -> Any:
    """Return the credentials of a destination, as far as they are known without a secret."""
    return getattr(_own_config(destination), "credentials", None)


def _drivername(config: Any) -> str:
    return str(getattr(getattr(config, "credentials", None), "drivername", None) or "")


def _local_file(kind: str, config: Any) -> str | None:
    credentials = getattr(config, "credentials", None)
    database = getattr(credentials, "database", None)
    if not isinstance(database, str) or not database or database in IN_MEMORY:
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
    """Return the fastest file format of a destination, or None for dlt's choice."""
    if not _has("pyarrow"):
        return None
    if kind == "postgres":
        # Only parquet through ADBC is both faster and exact: dlt's csv jobs refuse binary
        # columns and turn empty text into NULL.
        return "parquet" if _is_exact(destination) else None
    supported = destination.capabilities().supported_loader_file_formats or ()
    return "parquet" if kind in _PARQUET and "parquet" in supported else None


def prefer_fastest_file_format(destination: Any, traits: DestinationTraits) -> None:
    """Make the format that the destination loads fastest its default.

    The `file_format` of a resource, `loader_file_format` and dlt's settings win over it.
    """
    params = destination.caps_params
    if traits.loader_file_format and "preferred_loader_file_format" not in params:
        if configured_file_format(destination.destination_name):
            return
        params["preferred_loader_file_format"] = traits.loader_file_format


def keep_file_formats(pipeline: "Pipeline", tables: Iterable[str]) -> None:
    """Let new files of a table have the format of the files that it has, as its readers expect.

    The `file_format` of a resource, `loader_file_format` and dlt's settings win over it.

    Args:
        pipeline: The pipeline, whose destination is for this run alone.
        tables: Root tables; their nested tables get the same format.
    """
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

    destination = cast("Any", pipeline.destination)
    if configured_file_format(destination.destination_name):
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, FilesystemClient):
            return
        known = {table: _format_of_files(client, table) for table in tables}
    formats = {table: known_format for table, known_format in known.items() if known_format}
    if formats:
        inner = destination.capabilities().loader_file_format_selector
        destination.caps_params["loader_file_format_selector"] = partial(
            _select_known_format, inner, formats
        )


def _format_of_files(client: Any, table: str) -> str | None:
    """Return the format of a table's first file, by which dlt reads the table, too."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity
    from dlt.destinations.path_utils import get_file_format_and_compression

    try:
        files = client.list_table_files(table)
    except DestinationUndefinedEntity:
        return None
    return get_file_format_and_compression(files[0])[0] if files else None


def _select_known_format(
    inner: Any,
    formats: Mapping[str, str],
    preferred: Any,
    supported: Sequence[Any],
    /,
    *,
    table_schema: Any,
) -> Any:
    """Choose the known format of a table; dlt calls it for each table, in worker processes, too."""
    known = formats.get(table_schema["name"])
    preferred = known if known in supported else preferred
    if inner is None:
        return preferred, supported
    return inner(preferred, supported, table_schema=table_schema)


def configured_file_format(destination_name: str) -> str | None:
    """Return the file format in the user's dlt configuration, or None."""
    import dlt

    for key in (
        f"destination.{destination_name}.loader_file_format",
        f"destination.{destination_name}.preferred_loader_file_format",
        "destination.preferred_loader_file_format",
        "normalize.loader_file_format",
        "loader_file_format",
    ):
        value: Any = dlt.config.get(key)
        if value:
            return str(value)
    return None


def _is_exact(destination: "AnyDestination") -> bool:
    from loadsmith.engine.dlt_hooks import ExactPostgres

    return isinstance(destination, ExactPostgres)


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


# Tables in parquet were compared with those in dlt's default format for these alone; for the others
# dlt's default stays. Files of the file system keep their format (`keep_file_formats`).
_PARQUET = frozenset({"duckdb", "filesystem"})
