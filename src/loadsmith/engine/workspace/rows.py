"""A load and one of its tables, or a query, in; rows of the destination out. Nothing is written."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dlt.common.destination.client import WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSchemas, WithSqlClient

from loadsmith.engine.dlt_hooks import schema_files
from loadsmith.engine.results import Rows, columns_of_dlt, rows_of_query, select_of, without
from loadsmith.engine.workspace.looking import destination_of, secrets_hidden
from loadsmith.engine.workspace.queries import refuse_writing
from loadsmith.errors import SelectionError, did_you_mean
from loadsmith.model import LoadDefinition, RunRequest

#: What begins a transaction in which the database itself refuses to write.
_READ_ONLY = {
    "mariadb": "START TRANSACTION READ ONLY",
    "mysql": "START TRANSACTION READ ONLY",
    "postgres": "START TRANSACTION READ ONLY",
    "postgresql": "START TRANSACTION READ ONLY",
}

_UNDEFINED = (DatabaseUndefinedRelation, DestinationUndefinedEntity)


def fetch_rows(
    definition: LoadDefinition,
    request: RunRequest,
    *,
    resource: str,
    table: str | None = None,
    sql: str | None = None,
    limit: int,
) -> Rows:
    """Fetch the first rows of a table of a load, or of a query's answer.

    A query is refused unless it only reads; where the database knows transactions that cannot
    write, it runs in one. Columns that dlt adds are left out, except in the answer to a query.

    Args:
        definition: The load.
        request: Who asks.
        resource: The resource of the table.
        table: The table, where it is known.
        sql: A query instead; unqualified tables are those of the dataset.
        limit: At most so many rows.

    Raises:
        SelectionError: The table is not there, or the query is none.
        RunError: The destination cannot be asked.
        SecretNotFound: A secret is missing.
    """
    with (
        secrets_hidden(definition, request) as redactor,
        destination_of(definition, request, f"a look at {definition.name}") as found,
    ):
        if found is None:
            raise _nothing_loaded(definition.name)
        pipeline, traits, _ = found
        client: Any = pipeline.destination_client()
        is_readable = isinstance(client, WithSqlClient)
        if not is_readable:
            raise SelectionError(
                f"load '{definition.name}': the destination {pipeline.destination.destination_name}"
                " cannot be read by SQL. Look at it with a program of its own."
            )
        if sql is not None:
            refuse_writing(sql, client.capabilities.sqlglot_dialect)
        if traits.destination_type == "duckdb" and traits.local_path is not None:
            _refuse_writes_of_duckdb(client.sql_client)
        with client, contextlib.ExitStack() as opened:
            known: Any = client
            if isinstance(client, FSClientBase):
                # Their client has no connection; this one reads files by DuckDB.
                opened.enter_context(known.sql_client)
            schemas = _stored_schemas(client)
            if not schemas:
                raise _nothing_loaded(definition.name, pipeline.dataset_name)
            if isinstance(client.sql_client, WithSchemas):
                client.sql_client.set_schemas(schemas)
            name = None if sql is not None else _table_of(schemas, resource, table, definition.name)
            rows = _rows(client, name, sql, limit, schemas, definition.name)
        clean = redactor.redact_value([list(row) for row in rows.rows])
        return replace(rows, rows=tuple(map(tuple, clean)))


def _refuse_writes_of_duckdb(sql_client: Any) -> None:
    """Let DuckDB open its file for reading alone, unless the user has opened it."""
    if sql_client.credentials.external_conn() is None:
        sql_client.credentials.read_only = True


def _rows(
    client: Any,
    table: str | None,
    sql: str | None,
    limit: int,
    schemas: Sequence[Schema],
    load: str,
) -> Rows:
    dialect = str(getattr(client.sql_client, "dialect_name", client.capabilities.sqlglot_dialect))
    with _reading_alone(client.sql_client, dialect):
        try:
            if sql is None:
                assert table is not None
                found = rows_of_query(
                    client.sql_client, select_of(client.sql_client, table, limit + 1), limit, table
                )
                return without(found, columns_of_dlt(found))
            query = sql.strip().rstrip(";")
            if hasattr(client.sql_client, "dialect_name"):
                # SQLAlchemy takes `:name` for a parameter.
                query = query.replace("\\", "\\\\").replace(":", "\\:")
            return rows_of_query(client.sql_client, query, limit)
        except _UNDEFINED as error:
            if table is not None:
                raise _nothing_loaded(load, client.dataset_name) from error
            names = [name for schema in schemas for name in schema.tables]
            raise SelectionError(
                f"--sql: {_first_line(error)}. The dataset '{client.sql_client.dataset_name}' has "
                f"{', '.join(name for name in names if not name.startswith('_dlt_'))}."
            ) from error


@contextlib.contextmanager
def _reading_alone(sql_client: Any, dialect: str) -> Iterator[None]:
    """Let the database refuse to write in the block, where it can."""
    begin = _READ_ONLY.get(dialect)
    with contextlib.ExitStack() as opened:
        if hasattr(sql_client, "dialect_name"):
            # SQLAlchemy's client ends its transaction with each statement otherwise.
            opened.enter_context(sql_client.begin_transaction())
        if dialect in ("mysql", "mariadb"):
            sql_client.execute_sql(f"USE {sql_client.escape_column_name(sql_client.dataset_name)}")
        if dialect == "sqlite":
            sql_client.execute_sql("PRAGMA query_only = ON")
        if begin:
            sql_client.execute_sql(begin)
        try:
            yield
        finally:
            # A failed query may have closed the connection, and what it read is there already.
            with contextlib.suppress(Exception):
                if dialect == "sqlite":
                    sql_client.execute_sql("PRAGMA query_only = OFF")
                if begin:
                    sql_client.execute_sql("ROLLBACK")


def _stored_schemas(client: Any) -> list[Schema]:
    """Return the newest version of each schema of the dataset."""
    if not isinstance(client, WithStateSync):
        return []
    try:
        found = [client.get_stored_schema(name) for name in _schema_names(client)]
    except _UNDEFINED:
        return []
    return [Schema.from_dict(json.loads(one.schema)) for one in found if one is not None]


def _schema_names(client: Any) -> list[str]:
    if isinstance(client, FSClientBase):
        return sorted(schema_files(client))
    sql = client.sql_client
    column = sql.escape_column_name(client.schema.naming.normalize_path("schema_name"))
    table = sql.make_qualified_table_name(client.schema.version_table_name)
    return sorted(row[0] for row in sql.execute_sql(f"SELECT DISTINCT {column} FROM {table}") or ())


def _table_of(schemas: Sequence[Schema], resource: str, table: str | None, load: str) -> str:
    known = {
        str(own["name"]): str(own.get("resource") or own["name"])
        for schema in schemas
        for own in schema.data_tables(include_incomplete=False)
    }
    if table in known:
        return table
    roots = [name for name, owner in known.items() if owner == resource]
    if len(roots) == 1 and table is None:
        return roots[0]
    if len(roots) > 1:
        raise SelectionError(
            f"load '{load}': the rows of '{resource}' are in {', '.join(sorted(roots))}. Choose "
            f'one: --sql "SELECT * FROM {sorted(roots)[0]}".'
        )
    wanted = table or resource
    raise SelectionError(
        f"load '{load}': the table '{wanted}' is not in the destination."
        f"{did_you_mean(wanted, known)} If it was not loaded yet, load it first."
    )


def _nothing_loaded(load: str, dataset: str | None = None) -> SelectionError:
    where = f"the dataset '{dataset}' has no table of it" if dataset else "its database has no file"
    return SelectionError(f"load '{load}': nothing is loaded yet, {where}. Load it first.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["a table is not there"])[0].rstrip(".")
