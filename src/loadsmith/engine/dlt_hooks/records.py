"""dlt's normalizer of records, with a public name for each private one that normalizing uses."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.runners import pool_runner
from dlt.common.runners.configuration import PoolRunnerConfiguration
from dlt.common.schema import Schema, TSchemaUpdate
from dlt.common.storages.data_item_storage import DataItemStorage
from dlt.common.typing import TDataItem
from dlt.normalize import worker
from dlt.normalize.items_normalizers import JsonLItemsNormalizer


def own_ids_prefix(load_id: str) -> str:
    """Return what the ids of nested rows of a package begin with, below rows with own ids.

    No id that dlt makes has a dot.
    """
    return f"{load_id}."


class RecordNormalizer(JsonLItemsNormalizer):
    """dlt's normalizer of records, whose chunks a subclass may take in another way."""

    def take_chunk(
        self, root_table: str, items: list[TDataItem], may_have_pua: bool
    ) -> TSchemaUpdate:
        """Normalize and write a chunk of records; return what changes in the schema."""
        return self.take_by_record(root_table, items, may_have_pua)

    def take_by_record(
        self, root_table: str, items: list[TDataItem], may_have_pua: bool
    ) -> TSchemaUpdate:
        """Normalize and write a chunk as dlt does, but for nested ids below rows with own ids."""
        with self._marked_below_own_ids(root_table, items):
            return super()._normalize_chunk(root_table, items, may_have_pua, False)

    @contextlib.contextmanager
    def _marked_below_own_ids(self, root_table: str, items: list[TDataItem]) -> Iterator[None]:
        """Begin the ids of nested rows with their package, if records bring their own `_dlt_id`.

        dlt makes the ids of nested rows from that of their root row. Where a root row of that id is
        in the destination already, nothing else tells apart the nested rows of the two.
        """
        normalizer: Any = self.schema.data_item_normalizer
        if not isinstance(normalizer, DataItemNormalizer):
            yield
            return
        # Millions of records share a few keys.
        keys = {key for item in items if isinstance(item, dict) for key in item}
        names = (key for key in keys if isinstance(key, str) and key.strip())
        if all(normalizer._normalize_identifier(name) != normalizer.c_dlt_id for name in names):
            yield
            return
        table = normalizer._normalize_table_identifier(root_table)
        if normalizer._get_root_row_id_type(table) != "random":
            # Merges by row ids rely on what dlt makes.
            yield
            return
        add_row_id = normalizer._add_row_id

        def add_marked(
            table: str, record: Any, row: Any, parent: Any, position: Any, is_root: bool
        ) -> str:
            row_id: str = add_row_id(table, record, row, parent, position, is_root)
            if not is_root:
                row_id = row[normalizer.c_dlt_id] = own_ids_prefix(self.load_id) + row_id
            return row_id

        vars(normalizer)["_add_row_id"] = add_marked
        try:
            yield
        finally:
            del vars(normalizer)["_add_row_id"]

    def _normalize_chunk(
        self, root_table_name: str, items: list[TDataItem], may_have_pua: bool, skip_write: bool
    ) -> TSchemaUpdate:
        if skip_write:
            return super()._normalize_chunk(root_table_name, items, may_have_pua, skip_write)
        return self.take_chunk(root_table_name, items, may_have_pua)

    @property
    def timezone_override(self) -> bool | None:
        """Whether times get the time zone of the context."""
        return self._timezone_override

    @property
    def has_discarded(self) -> bool:
        """Whether a contract has discarded something of the file."""
        return bool(self._filtered_tables or any(self._filtered_tables_columns.values()))

    def columns_of(self, table: str) -> Mapping[str, Any]:
        """Return the columns that dlt last saw: those of other normalizers are not among them."""
        columns = self._column_schemas.get(table)
        if not columns:
            columns = self._column_schemas[table] = self.schema.get_table_columns(table)
        return columns

    def note_written(self, table: str, rows: int) -> None:
        """Count rows that were written past dlt."""
        self._report_progress(table, rows)

    def note_only_nulls(self, table: str, column: str) -> None:
        """Note a column that had nothing but nulls."""
        self._null_only_columns.setdefault(table, set()).add(column)


class NamesOfDlt:
    """The cached functions by which dlt names and nests what it takes records apart into."""

    def __init__(self, normalizer: DataItemNormalizer, schema: Schema) -> None:
        self.table_identifier: Callable[[str], str] = normalizer._normalize_table_identifier
        self.identifier: Callable[[str], str] = normalizer._normalize_identifier
        self.shortened: Callable[..., str] = normalizer._shorten_fragments
        self.row_id_type: Callable[[str], str] = normalizer._get_root_row_id_type
        self.nesting_level: Callable[..., int | None] = normalizer._get_table_nesting_level
        self.should_be_nested: Callable[[str], bool] = normalizer._should_be_nested
        self.is_nested_type: Callable[[str, str, int], bool] = normalizer._is_nested_type
        self.propagation: Any = normalizer._get_propagation_mapping
        self.infer_hint: Callable[[Any, str], bool] = schema._infer_hint


def has_excludes(schema: Schema) -> bool:
    """Tell whether a schema excludes columns by filters."""
    return bool(schema._compiled_excludes)


def writer_of(storage: DataItemStorage, place: tuple[str, str, str]) -> Any:
    """Return the writer of a load id, a schema and a table."""
    return storage._get_writer(*place)


def room_in_buffer(writer: Any) -> int:
    """Return how many rows fit into the buffer of a writer, at least one."""
    return max(int(writer.buffer_max_items - writer._buffered_items_count), 1)


def replace_normalizer(replacement: type[RecordNormalizer] | None) -> None:
    """Let dlt's worker normalize records by a class; None puts dlt's class back."""
    worker.__dict__["JsonLItemsNormalizer"] = replacement or JsonLItemsNormalizer


def kill_processes(pool: ProcessPoolExecutor) -> None:
    """Kill the processes of a pool."""
    for process in list((pool._processes or {}).values()):
        process.kill()


def replace_pool(replace: Callable[[Executor], Executor]) -> None:
    """Let dlt use what `replace` returns for each pool: dlt takes no pool from outside."""
    create_pool = pool_runner.create_pool

    def create_replaced_pool(config: PoolRunnerConfiguration) -> Executor:
        return replace(create_pool(config))

    pool_runner.create_pool = create_replaced_pool
