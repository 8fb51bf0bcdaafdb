"""Write Arrow tables into the parquet files to which dlt writes records."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
from dlt.common.data_writers.writers import ParquetDataWriter
from dlt.common.storages.data_item_storage import DataItemStorage
from dlt.common.typing import TDataItem

from loadsmith.engine.dlt_hooks import prepare_writers, room_in_buffer, writer_of

# From this version on, Arrow refuses nulls in columns that are not nullable.
_REFUSES_NULLS = 19


class ColumnarParquetWriter(ParquetDataWriter):
    """dlt's parquet writer of records, which also accepts Arrow tables."""

    def write_data(self, items: Sequence[TDataItem]) -> None:
        """Write records and tables in their order, in one call as dlt does."""
        writer, runs = self.writer, _Tables()
        assert self.schema is not None
        assert writer is not None
        self.writer = runs
        try:
            for is_table, run in groupby(items, key=lambda item: isinstance(item, pa.Table)):
                if not is_table:
                    super().write_data(list(run))
                    continue
                for table in run:
                    self.items_count += table.num_rows
                    runs.append(_fitted(table, self.schema))
        finally:
            self.writer = writer
        table = pa.concat_tables(runs)
        if int(pa.__version__.split(".")[0]) < _REFUSES_NULLS:
            table = table.cast(self.schema)
        writer.write_table(table, row_group_size=self.parquet_format.row_group_size)


class _Tables(list[pa.Table]):
    """Collects the tables that dlt makes of records, in place of a file."""

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        self.append(table)


def arrow_table(columns: Mapping[str, Sequence[Any]], rows: int, schema: pa.Schema) -> pa.Table:
    """Make a table from columns, by the same call as in dlt's writer; missing columns are null."""
    return pa.Table.from_arrays(
        [
            pa.array(columns[field.name], type=field.type)
            if field.name in columns
            else pa.nulls(rows, type=field.type)
            for field in schema
        ],
        schema=schema,
    )


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    # A file may be opened after columns were added to the table. Types differ only if a time zone
    # is configured for files.
    if table.schema.equals(schema):
        return table
    known = set(table.column_names)
    return pa.Table.from_arrays(
        [
            table.column(field.name).cast(field.type)
            if field.name in known
            else pa.nulls(table.num_rows, type=field.type)
            for field in schema
        ],
        schema=schema,
    )


def write_table(
    storage: DataItemStorage, place: tuple[str, str, str], table: pa.Table, columns: Any
) -> None:
    """Write a table to the files of a load id, a schema and a table, in files of dlt's size."""
    writer = writer_of(storage, place)
    if not writer.file_max_items and not writer.file_max_bytes:
        storage.write_data_item(*place, table, columns)
        return
    # dlt checks the size of a file when its buffer is full.
    while table.num_rows:
        room = room_in_buffer(writer)
        storage.write_data_item(*place, table.slice(0, room), columns)
        table = table.slice(room)


def write_tables_too(storage: DataItemStorage) -> None:
    """Let the writers of the storage take Arrow tables beside records."""
    prepare_writers(storage, _take_tables)


def _take_tables(writer: Any) -> None:
    writer.writer_cls = ColumnarParquetWriter


#: Rows of a row group of DuckDB. Each thread of DuckDB copies row groups of this size twice as fast
#: as others, with half the memory.
ROW_GROUP = 122_880
