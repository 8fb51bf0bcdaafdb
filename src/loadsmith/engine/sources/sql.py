"""How dlt's source for databases is called where nobody says how: the fastest way that is exact."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.resolve import inject_section
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.pipeline import PipelineContext

from loadsmith.model import LoadDefinition, SourceReference

#: Arguments that change what is read, or how a connection is made, by code of the user's.
_BY_HAND = (
    "engine_adapter_callback",
    "engine_kwargs",
    "metadata",
    "query_adapter_callback",
    "table_adapter_callback",
    "type_adapter_callback",
)


def is_sql_database(reference: SourceReference) -> bool:
    """Tell whether a reference means dlt's source for databases, or one of its functions."""
    return reference.module.partition(".")[0] == "sql_database"


@configspec
class _Arguments(BaseConfiguration):
    """Arguments that decide how tables are read, as dlt finds them in the user's configuration."""

    credentials: Any = None
    backend: str | None = None
    chunk_size: int | None = None
    reflection_level: str | None = None
    engine_kwargs: dict[str, Any] | None = None
    table_names: list[str] | None = None
    table: str | None = None


def argument_of(reference: SourceReference, name: str, pipeline_name: str | None = None) -> Any:
    """Return an argument of dlt's source for databases as dlt finds it, or None.

    Args:
        reference: What the user says, which wins over the configuration.
        name: Name of the argument.
        pipeline_name: A section of the configuration; the active pipeline's if it is left out.
    """
    given = reference.params.get(name)
    if given or name not in _Arguments.__annotations__:
        return given
    active = Container()[PipelineContext]
    if pipeline_name is None and active.is_active():
        pipeline_name = active.pipeline().pipeline_name
    sections = _sections(reference)
    context = ConfigSectionContext(pipeline_name=pipeline_name, sections=sections)
    with inject_section(context):
        found = resolve_configuration(_Arguments(), sections=sections, accept_partial=True)
    return getattr(found, name)


def _sections(reference: SourceReference) -> tuple[str, ...]:
    return "sources", "sql_database", reference.module.rpartition(".")[2]


def with_defaults(
    reference: SourceReference,
    log: Callable[[str], None] = lambda _line: None,
    warn: Callable[[str], None] = lambda _line: None,
) -> Mapping[str, Any]:
    """Return the arguments, the fastest exact way to read each table among them.

    Args:
        reference: What the user says.
        log: Takes which way a table is read, when it is.
        warn: Takes what a person should know of it.
    """
    if not is_sql_database(reference):
        return reference.params
    params = dict(reference.params)
    credentials = argument_of(reference, "credentials")
    if isinstance(credentials, str):
        driver, separator, rest = credentials.partition("://")
        if driver in ("postgresql", "postgres") and importlib.util.find_spec("psycopg") is None:
            # SQLAlchemy 2.1 takes psycopg where no driver is named; dlt[postgres] installs
            # psycopg2.
            params["credentials"] = f"postgresql+psycopg2{separator}{rest}"
    if chosen_backend(reference) is None and "table_loader_class" not in params:
        from loadsmith.engine.sources.sql_loader import ReadOptions, loader_for

        page_rows = argument_of(reference, "chunk_size")
        params["table_loader_class"] = loader_for(
            ReadOptions(
                page_rows=int(page_rows) if page_rows else None,
                rows_because=rows_because(reference),
                log=log,
                warn=warn,
            )
        )
    return params


def database_engine(reference: SourceReference) -> Any:
    """Return SQLAlchemy's engine for the database that a reference means; nothing is connected.

    Raises:
        ConfigFieldMissingException: dlt does not find the credentials.
    """
    from dlt.sources.sql_database.helpers import engine_from_credentials

    given = with_defaults(reference).get("credentials")
    if given is not None and hasattr(given, "connect"):
        return given
    engine_kwargs = reference.params.get("engine_kwargs") or {}
    return engine_from_credentials(_found_credentials(reference, given), **engine_kwargs)


def _found_credentials(reference: SourceReference, given: Any) -> Any:
    import dlt
    from dlt.common.configuration import with_config
    from dlt.sources.credentials import ConnectionStringCredentials

    @with_config(sections=_sections(reference))
    def find(credentials: ConnectionStringCredentials = dlt.secrets.value) -> Any:
        return credentials

    return find() if given is None else find(credentials=given)


def chosen_backend(reference: SourceReference, pipeline_name: str | None = None) -> str | None:
    """Return the backend that the user chose, or None."""
    backend = argument_of(reference, "backend", pipeline_name)
    return str(backend) if backend else None


def rows_because(reference: SourceReference, pipeline_name: str | None = None) -> str | None:
    """Return why dlt's own backend reads all tables of a database, or None where it may not."""
    for name in _BY_HAND:
        if argument_of(reference, name, pipeline_name):
            return f"`{name}` is given"
    if argument_of(reference, "reflection_level", pipeline_name) == "minimal":
        return "`reflection_level` is minimal"
    credentials = argument_of(reference, "credentials", pipeline_name)
    if credentials is not None and not isinstance(credentials, str | Mapping | BaseConfiguration):
        return "an engine is given"
    return None


def listed_ways(
    definition: LoadDefinition, reference: SourceReference, pipeline_name: str | None
) -> Iterator[tuple[str | None, str, str]]:
    """Yield tables, how each is read and who chose that; None is every table.

    It needs no connection, so that for PostgreSQL it says what decides.
    """
    from loadsmith.engine.sources.sql_loader import rows_because_of, rows_because_of_merge

    named = definition.resources
    names = (
        argument_of(reference, "table_names", pipeline_name)
        or argument_of(reference, "table", pipeline_name)
        or (named.include if named.is_plain else [None])
    )
    backend = chosen_backend(reference, pipeline_name)
    because = rows_because(reference, pipeline_name)
    engine = _engine_name(reference, pipeline_name)
    disposition = definition.options.params.get("write_disposition")
    because = because or rows_because_of_merge(disposition)
    if because is None and engine is not None:
        because = rows_because_of(engine)
    exact = "all its types are compared, its cursor's among them"
    if engine is None:
        exact = f"PostgreSQL has it and {exact}"
    for name in [names] if isinstance(names, str) else names:
        if backend or "table_loader_class" in reference.params:
            yield name, backend or "your table_loader_class", "you"
        elif because:
            yield name, f"sqlalchemy, because {because}", "loadsmith"
        else:
            yield name, f"adbc if {exact}, else sqlalchemy", "loadsmith"


def _engine_name(reference: SourceReference, pipeline_name: str | None) -> str | None:
    """Return what the address of a database begins with, however it is given."""
    given = argument_of(reference, "credentials", pipeline_name)
    if isinstance(given, str):
        return given.partition("://")[0]
    if hasattr(given, "dialect"):
        return f"{given.dialect.name}+{given.dialect.driver}"
    with suppress(ConfigurationException):
        return str(_found_credentials(reference, reference.params.get("credentials")).drivername)
    return None
