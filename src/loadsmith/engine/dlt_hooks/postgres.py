"""Load parquet into the same PostgreSQL columns as dlt's default file format.

If a table is loaded from parquet, dlt 1.31 creates `json` columns instead of `jsonb`. It cannot
load parquet into `jsonb` columns, because ADBC copies the text as it is and PostgreSQL expects a
version byte in front. This module adds that byte. Remove it once dlt or ADBC does so;
`to_destination_type` of dlt's `PostgresTypeMapper` shows whether dlt does. It takes out NUL
characters as well, which dlt's default format does and ADBC refuses. It compares the types of a
file with those of the table, which ADBC does not.
"""

import contextlib
import math
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from dlt.common.data_writers.writers import InsertValuesWriter
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.postgres.factory import PostgresTypeMapper, postgres
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresParquetCopyJob
from dlt.destinations.insert_job_client import InsertValuesLoadJob

from loadsmith.engine.dlt_hooks.fence import name_of
from loadsmith.engine.dlt_hooks.sessions import noted

#: The version of the binary form of `jsonb`; PostgreSQL has no other.
_JSONB_VERSION = "\x01"

#: Rows that are made values of Python at once.
_ROWS_OF_INSERT = 10_000

#: Columns of a file, and PostgreSQL's names of the types of the table's.
_Columns = list[tuple[Any, str | None]]


class JsonbTypeMapper(PostgresTypeMapper):
    """Creates `jsonb` columns for every file format."""

    def to_destination_type(self, column: TColumnSchema, table: PreparedTableSchema) -> str:
        """Return the type of a column in PostgreSQL."""
        if column["data_type"] == "json" and table.get("file_format") == "parquet":
            table = table.copy()
            table.pop("file_format")
        return super().to_destination_type(column, table)


class _ExactCopyJob(PostgresParquetCopyJob):
    """Copies a parquet file in the binary form of the table's types.

    PostgreSQL takes binary values for those of the column's type, whatever they are. A file with
    types that ADBC does not write exactly is inserted as dlt's default format is.
    """

    def run(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from dlt.common.libs.pyarrow import pq_stream_with_new_columns

        catalog, schema = self._set_catalog_and_schema()
        read = pq.read_schema(self._file_path)
        taken_out: dict[str, int] = {}
        tables = (
            _without_nul(table, taken_out)
            for table in pq_stream_with_new_columns(self._file_path, ())
        )
        fence = getattr(self._job_client, "fence", None)
        with (
            contextlib.ExitStack() as stack,
            self._connect() as connection,
            connection.cursor() as cursor,
        ):
            stack.enter_context(noted(self._job_client, _session_of(cursor)))
            known = self._types_of_columns(cursor, schema)
            copied = {each.name: copied_as(each.type, known.get(each.name)) for each in read}
            others = [each for each in read if copied[each.name] is None]
            if not others:
                if fence is not None:
                    # This connection is not the client's, and commits on its own.
                    fence.hold(lambda query: _rows_of(cursor, query), name_of(self))
                places = {"catalog_name": catalog, "db_schema_name": schema}
                found = (
                    batch
                    for table in tables
                    for batch in self._fitted(table, copied, known).to_batches()
                )
                # A replaced table without rows has a file without batches.
                if (first := next(found, None)) is not None:
                    reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], found))
                    into: dict[str, Any] = {name: place for name, place in places.items() if place}
                    cursor.adbc_ingest(self.load_table_name, reader, mode="append", **into)
            connection.commit()
        if others:
            self._insert_rows(tables, read.names, [(each, known.get(each.name)) for each in others])
        if taken_out and fence is not None:
            names = ", ".join(f"'{name}' ({count})" for name, count in taken_out.items())
            fence.warn(
                f"table '{self.load_table_name}': NUL characters were taken out of texts, as dlt's"
                f" default does, because PostgreSQL cannot store them; columns and texts: {names}"
            )

    def _types_of_columns(self, cursor: Any, schema: str) -> dict[str, str]:
        """Return PostgreSQL's names of the types of the table's columns, by column."""
        cursor.execute(
            "SELECT a.attname::text, CASE WHEN b.typtype = 'e' THEN 'text' ELSE b.typname END::text"
            " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid"
            " JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END"
            " WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
            (schema, self.load_table_name),
        )
        return dict(cursor.fetchall())

    def _fitted(self, table: Any, copied: dict[str, Any], known: dict[str, str]) -> Any:
        """Return the values in the types that ADBC copies into the columns."""
        for index, field in enumerate(table.schema):
            values, kind = table[index], copied[field.name]
            try:
                values = values if field.type == kind else values.cast(kind)
            except ValueError as error:
                raise self._refused([(field, known[field.name])], error) from error
            if known[field.name] == "jsonb":
                values = _with_version(values)
            if values is not table[index]:
                table = table.set_column(index, field.name, values)
        return table

    def _insert_rows(self, tables: Iterator[Any], names: list[str], others: _Columns) -> None:
        """Insert the rows by dlt's default format, which lets PostgreSQL convert the values."""
        with tempfile.TemporaryDirectory() as folder:
            # dlt reads a job's table and id from the name of its file.
            path = Path(folder, Path(self._file_path).with_suffix(".insert_values").name)
            with path.open("w", encoding="utf-8") as file:
                writer = InsertValuesWriter(file, self._job_client.capabilities)
                writer.write_header({name: {"name": name} for name in names})
                for table in tables:
                    for batch in table.to_batches(_ROWS_OF_INSERT):
                        writer.write_data([*map(_as_literals, batch.to_pylist())])
                writer.write_footer()
            if writer.items_count:
                job = InsertValuesLoadJob(str(path))
                job._job_client = self._job_client
                job.set_run_vars(self._load_id, self._schema, self._load_table)
                try:
                    job.run()
                except DatabaseTerminalException as error:
                    raise self._refused(others, error) from error

    def _refused(self, columns: _Columns, error: Exception) -> DestinationTerminalException:
        told = ", ".join(
            f"'{field.name}' is {known or 'not there'}, the values are {field.type}"
            for field, known in columns
        )
        return DestinationTerminalException(
            f"table '{self.load_table_name}': the types of columns have changed, and PostgreSQL"
            f" does not take the values: {told}. {error}"
        )


def _session_of(cursor: Any) -> int:
    [(number,)] = _rows_of(cursor, "SELECT pg_backend_pid()")
    return int(number)


def _rows_of(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchall() if cursor.description else None


class _JsonbClient(PostgresClient):
    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return _ExactCopyJob(file_path) if type(job) is PostgresParquetCopyJob else job


class ExactPostgres(postgres):
    """dlt's `postgres`, with the same columns for every file format."""

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.type_mapper = JsonbTypeMapper
        return capabilities

    @property
    def destination_type(self) -> str:
        """Return dlt's name of the type, so that existing pipelines keep their state."""
        return "dlt.destinations.postgres"

    @property
    def client_class(self) -> type[PostgresClient]:
        """Return the client that loads parquet into `jsonb`."""
        return _JsonbClient


def copied_as(kind: Any, column: str | None) -> Any:
    """Return the Arrow type that ADBC copies exactly into a column of PostgreSQL, or None.

    Args:
        kind: The type of the values.
        column: PostgreSQL's name of the column's type, None if there is no such column.
    """
    import pyarrow as pa

    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    types = pa.types
    if types.is_null(kind):
        return kind
    integers = {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64()}
    if types.is_integer(kind):
        return integers.get(column or "")
    if types.is_floating(kind) and column == "float8":
        return pa.float64()
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_exact = {
        "bool": types.is_boolean(kind),
        "float4": types.is_float32(kind),
        "numeric": types.is_decimal(kind),
        "bytea": types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind),
        "date": types.is_date32(kind),
        "time": types.is_time64(kind),
        "timestamp": types.is_timestamp(kind),
        # PostgreSQL takes a text without a zone for one of the session's.
        "timestamptz": types.is_timestamp(kind) and kind.tz is not None,
        **dict.fromkeys(("text", "varchar", "bpchar", "name", "json", "jsonb", "citext"), is_text),
    }
    return kind if is_exact.get(column or "") else None


def _as_literals(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose floats PostgreSQL reads: it has no number for NaN and infinity."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _with_version(values: Any) -> Any:
    """Put the version byte of `jsonb` in front of every value; null stays null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.large_string()
    version, end = pa.scalar(_JSONB_VERSION, text), pa.scalar("", text)
    return pc.binary_join_element_wise(version, values.cast(text), end)


def _without_nul(table: Any, taken_out: dict[str, int]) -> Any:
    """Take NUL characters out of texts, and count the texts by column in `taken_out`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, field in enumerate(table.schema):
        kind, texts = field.type, table[index]
        if isinstance(kind, pa.DictionaryType):
            kind = kind.value_type
            texts = texts.cast(kind)
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        count = pc.sum(pc.match_substring(texts, "\0")).as_py()
        if count:
            taken_out[field.name] = taken_out.get(field.name, 0) + count
            values = pc.replace_substring(texts, "\0", "").cast(field.type)
            table = table.set_column(index, field, values)
    return table
