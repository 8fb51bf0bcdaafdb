"""dlt's normalizer of records, which writes plain chunks to parquet as Arrow tables."""

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from dlt.common.data_writers.writers import ParquetDataWriter
from dlt.common.libs.pyarrow import columns_to_arrow
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.schema import TSchemaUpdate
from dlt.common.time import get_context_timezone_name
from dlt.common.typing import TDataItem

from loadsmith.engine.dlt_hooks import (
    RecordNormalizer,
    has_excludes,
    is_proven,
)
from loadsmith.engine.normalizing.columns import NotPlain, active
from loadsmith.engine.normalizing.ids import are_ids_of_dlt
from loadsmith.engine.normalizing.parquet import arrow_table, write_table, write_tables_too
from loadsmith.engine.normalizing.shred import Shredder

# A chunk that is not plain is halved down to this many records, which go through dlt's normalizer
# together. A smaller number means more halvings, a larger number more slow records.
_SLOW_RECORDS = 16

# After so many chunks in a row that were mostly not plain, dlt normalizes the rest of the file.
_MISSES = 3

#: Normalizes by column with a dlt that was not compared; `make dlt-check` does so to compare it.
is_forced = False


def is_by_column() -> bool:
    """Tell whether the installed dlt normalizes as the versions that were compared."""
    return are_ids_of_dlt() and (is_forced or is_proven("records by column"))


class ColumnarItemsNormalizer(RecordNormalizer):
    """dlt's normalizer of records, except that it normalizes plain chunks by column.

    It does so only in an `arrow_normalizer` block, and only for parquet files.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._report = active.get()
        self._misses = 0
        self._arrow_schemas: dict[str, pa.Schema] = {}
        self._shredder = self._make_shredder()
        if self._shredder:
            write_tables_too(self.item_storage)

    def _make_shredder(self) -> Shredder | None:
        normalizer = self.schema.data_item_normalizer
        if (
            self._report is None
            or not is_by_column()
            or type(normalizer) is not DataItemNormalizer
            or has_excludes(self.schema)
            or self.item_storage.writer_cls is not ParquetDataWriter
        ):
            return None
        return Shredder(
            schema=self.schema,
            normalizer=normalizer,
            load_id=self.load_id,
            timezone_override=self.timezone_override,
        )

    def __call__(self, extracted_items_file: str, root_table_name: str) -> list[TSchemaUpdate]:
        """Normalize one file of extracted records."""
        if self._shredder is None or not gc.isenabled():
            return super().__call__(extracted_items_file, root_table_name)
        # Records have no reference cycles. The collector would visit their objects again and again,
        # which takes as long as the rest of the work, and free nothing.
        gc.disable()
        try:
            return super().__call__(extracted_items_file, root_table_name)
        finally:
            gc.enable()

    def take_chunk(
        self, root_table: str, items: list[TDataItem], may_have_pua: bool
    ) -> TSchemaUpdate:
        """Normalize and write a chunk of records, by column where they are plain."""
        if self._shredder is None:
            return super().take_chunk(root_table, items, may_have_pua)
        assert self._report is not None
        update: TSchemaUpdate = {}
        if self._misses < _MISSES:
            slow = self._take(root_table, items, may_have_pua, update)
        else:
            slow = self._take_slowly(root_table, items, may_have_pua, update)
        is_miss = len(items) > _SLOW_RECORDS and slow * 2 > len(items)
        self._misses = self._misses + 1 if is_miss else 0
        self._report.by_record += slow
        self._report.by_column += len(items) - slow
        return update

    def _take(
        self, root_table: str, items: list[TDataItem], may_have_pua: bool, update: TSchemaUpdate
    ) -> int:
        """Write the items in their order; return how many were not written by column."""
        assert self._shredder is not None
        failed: type[Exception] | None = None
        try:
            if self.has_discarded:
                raise NotPlain
            batches, null_only = self._shredder.shred(root_table, items, may_have_pua)
        except Exception as error:  # noqa: BLE001 - a value may raise anything when it is coerced
            failed = type(error)
        # Behind the handler: this error is no cause of what dlt raises for the same records.
        if failed is not None:
            # dlt starts with the first record, so it may raise another error first.
            if failed is not NotPlain or len(items) <= _SLOW_RECORDS:
                return self._take_slowly(root_table, items, may_have_pua, update)
            middle = len(items) // 2
            return self._take(root_table, items[:middle], may_have_pua, update) + self._take(
                root_table, items[middle:], may_have_pua, update
            )
        try:
            tables = [self._arrow_table(*batch) for batch in batches]
        except Exception:
            # If dlt cannot normalize an earlier record, its error comes first. Otherwise dlt would
            # raise this error later, when it writes the file.
            self._take_slowly(root_table, items, may_have_pua, update)
            raise
        for (table_name, _columns, rows), table in zip(batches, tables, strict=True):
            write_table(
                self.item_storage,
                (self.load_id, self.schema.name, table_name),
                table,
                self.columns_of(table_name),
            )
            self.note_written(table_name, rows)
        for table_name, column_name in null_only:
            self.note_only_nulls(table_name, column_name)
        return 0

    def _take_slowly(
        self, root_table: str, items: list[TDataItem], may_have_pua: bool, update: TSchemaUpdate
    ) -> int:
        for table_name, partial in self.take_by_record(root_table, items, may_have_pua).items():
            update.setdefault(table_name, []).extend(partial)
        return len(items)

    def _arrow_table(
        self, table_name: str, columns: Mapping[str, Sequence[Any]], rows: int
    ) -> pa.Table:
        table_columns: Any = self.columns_of(table_name)
        arrow_schema = self._arrow_schemas.get(table_name)
        if arrow_schema is None or len(arrow_schema) != len(table_columns):
            arrow_schema = self._arrow_schemas[table_name] = columns_to_arrow(
                table_columns, self.config.destination_capabilities, get_context_timezone_name()
            )
        return arrow_table(columns, rows, arrow_schema)
