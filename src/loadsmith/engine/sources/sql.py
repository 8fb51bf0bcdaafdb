"""How dlt's source for databases is called where nobody says how: the fastest way that is exact."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dlt.common.configuration.specs import BaseConfiguration

from loadsmith.model import SourceReference

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


def configured_for_sql(name: str) -> Any:
    """Return what the user's own dlt configuration says of an argument of it, or None."""
    import dlt

    return dlt.config.get(f"sources.sql_database.{name}")


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
    credentials = _credentials(params)
    if isinstance(credentials, str):
        driver, separator, rest = credentials.partition("://")
        if driver in ("postgresql", "postgres") and importlib.util.find_spec("psycopg") is None:
            # SQLAlchemy 2.1 takes psycopg where no driver is named; dlt[postgres] installs
            # psycopg2.
            params["credentials"] = f"postgresql+psycopg2{separator}{rest}"
    if chosen_backend(reference) is None and "table_loader_class" not in params:
        from loadsmith.engine.sources.sql_loader import ReadOptions, loader_for

        is_chosen = "chunk_size" in params or configured_for_sql("chunk_size") is not None
        params["table_loader_class"] = loader_for(
            ReadOptions(
                page_rows=_chunk_size(params) if is_chosen else None,
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
    import dlt
    from dlt.common.configuration import with_config
    from dlt.sources.credentials import ConnectionStringCredentials
    from dlt.sources.sql_database.helpers import engine_from_credentials

    @with_config(sections=("sources", "sql_database"))
    def find(credentials: ConnectionStringCredentials = dlt.secrets.value) -> Any:
        return credentials

    given = with_defaults(reference).get("credentials")
    if given is not None and hasattr(given, "connect"):
        return given
    credentials = find() if given is None else find(credentials=given)
    engine_kwargs = reference.params.get("engine_kwargs") or {}
    return engine_from_credentials(credentials, **engine_kwargs)


def chosen_backend(reference: SourceReference) -> str | None:
    """Return the backend that the user chose, or None."""
    backend = reference.params.get("backend") or configured_for_sql("backend")
    return str(backend) if backend else None


def rows_because(reference: SourceReference) -> str | None:
    """Return why dlt's own backend reads all tables of a database, or None where it may not."""
    params = reference.params
    for name in _BY_HAND:
        if params.get(name) or configured_for_sql(name):
            return f"`{name}` is given"
    level = params.get("reflection_level") or configured_for_sql("reflection_level") or "full"
    if level == "minimal":
        return "`reflection_level` is minimal"
    credentials = _credentials(params)
    if credentials is not None and not isinstance(credentials, str | Mapping | BaseConfiguration):
        return "an engine is given"
    return None


def listed_ways(reference: SourceReference) -> Iterator[tuple[str | None, str, str]]:
    """Yield tables, how each is read and who chose that; None is every table.

    It needs no connection, so that for PostgreSQL it says what decides.
    """
    named = reference.params.get("table_names") or configured_for_sql("table_names")
    table = reference.params.get("table") or configured_for_sql("table")
    names = [named] if isinstance(named, str) else list(named or ([table] if table else [None]))
    backend = chosen_backend(reference)
    because = rows_because(reference)
    address = _credentials(reference.params)
    engine = address.partition("://")[0] if isinstance(address, str) else None
    if because is None and engine is not None:
        from loadsmith.engine.sources.sql_loader import rows_because_of

        because = rows_because_of(engine)
    exact = (
        "all its types are compared" if engine else "PostgreSQL has it and all types are compared"
    )
    for name in names:
        if backend or "table_loader_class" in reference.params:
            yield name, backend or "your table_loader_class", "you"
        elif because:
            yield name, f"sqlalchemy, because {because}", "loadsmith"
        else:
            yield name, f"adbc if {exact}, else sqlalchemy", "loadsmith"


def _credentials(params: Mapping[str, Any]) -> Any:
    import dlt

    return params.get("credentials") or dlt.secrets.get("sources.sql_database.credentials")


def _chunk_size(params: Mapping[str, Any]) -> int:
    return int(params.get("chunk_size") or configured_for_sql("chunk_size"))
