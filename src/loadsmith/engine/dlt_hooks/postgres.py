"""Load parquet into the same PostgreSQL columns as dlt's default file format.

If a table is loaded from parquet, dlt 1.31 creates `json` columns instead of `jsonb`. It cannot
load parquet into `jsonb` columns, because ADBC copies the text as it is and PostgreSQL expects a
version byte in front. This module adds that byte. Remove it once dlt or ADBC does so;
`to_destination_type` of dlt's `PostgresTypeMapper` shows whether dlt does. It takes out NUL
characters as well, which dlt's default format does and ADBC refuses.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.impl.postgres.factory import PostgresTypeMapper, postgres
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresParquetCopyJob

from loadsmith.engine.dlt_hooks.fence import name_of

#: The version of the binary form of `jsonb`; PostgreSQL has no other.
_JSONB_VERSION = "\x01"


class JsonbTypeMapper(PostgresTypeMapper):
    """Creates `jsonb` columns for every file format."""

    def to_destination_type(self, column: TColumnSchema, table: PreparedTableSchema) -> str:
        """Return the type of a column in PostgreSQL."""
        if column["data_type"] == "json" and table.get("file_format") == "parquet":
            table = table.copy()
            table.pop("file_format")
        return super().to_destination_type(column, table)


class _JsonbCopyJob(PostgresParquetCopyJob):
    """Copies a parquet file, with `jsonb` columns in the binary form of PostgreSQL."""

    def run(self) -> None:
        import pyarrow as pa
        from dlt.common.libs.pyarrow import pq_stream_with_new_columns

        catalog, schema = self._set_catalog_and_schema()
        with self._connect() as connection, connection.cursor() as cursor:
            fence = getattr(self._job_client, "fence", None)
            if fence is not None:
                # This connection is not the client's, and commits on its own.
                fence.hold(lambda query: _rows_of(cursor, query), name_of(self))
            columns = self._jsonb_columns(cursor, schema)

            def batches() -> Iterator[Any]:
                for table in pq_stream_with_new_columns(self._file_path, ()):
                    found = _without_nul(_with_versions(table, columns), taken_out)
                    yield from found.to_batches()

            taken_out: dict[str, int] = {}
            places = {"catalog_name": catalog, "db_schema_name": schema}
            known: dict[str, Any] = {name: place for name, place in places.items() if place}
            found = batches()
            # A replaced table without rows has a file without batches.
            if (first := next(found, None)) is not None:
                reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], found))
                cursor.adbc_ingest(self.load_table_name, reader, mode="append", **known)
            connection.commit()
        if taken_out and fence is not None:
            names = ", ".join(f"'{name}' ({count})" for name, count in taken_out.items())
            fence.warn(
                f"table '{self.load_table_name}': NUL characters were taken out of texts, as dlt's"
                f" default does, because PostgreSQL cannot store them; columns and texts: {names}"
            )

    def _jsonb_columns(self, cursor: Any, schema: str) -> frozenset[str]:
        """Return the `jsonb` columns; a table that dlt created for parquet has `json` columns."""
        known = self._job_client.schema.get_table_columns(self.load_table_name)
        if not any(column.get("data_type") == "json" for column in known.values()):
            return frozenset()
        cursor.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = $1 AND table_name = $2 AND data_type = 'jsonb'",
            (schema, self.load_table_name),
        )
        return frozenset(row[0] for row in cursor.fetchall())


def _rows_of(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchall() if cursor.description else None


class _JsonbClient(PostgresClient):
    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        job = super().create_load_job(table, file_path, load_id, restore)
        return _JsonbCopyJob(file_path) if type(job) is PostgresParquetCopyJob else job


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


def _with_versions(table: Any, columns: frozenset[str]) -> Any:
    """Put the version byte in front of every value of `columns`; null stays null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in columns & set(table.column_names):
        values = table[name].cast(pa.large_string())
        versioned = pc.binary_join_element_wise(
            pa.scalar(_JSONB_VERSION, pa.large_string()), values, pa.scalar("", pa.large_string())
        )
        table = table.set_column(table.column_names.index(name), name, versioned)
    return table


def _without_nul(table: Any, taken_out: dict[str, int]) -> Any:
    """Take NUL characters out of texts, and count the texts by column in `taken_out`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for index, field in enumerate(table.schema):
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            continue
        count = pc.sum(pc.match_substring(table[index], "\0")).as_py()
        if count:
            taken_out[field.name] = taken_out.get(field.name, 0) + count
            values = pc.replace_substring(table[index], "\0", "")
            table = table.set_column(index, field, values)
    return table
