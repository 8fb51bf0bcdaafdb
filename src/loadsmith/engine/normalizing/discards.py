"""What schema contracts leave out, counted where dlt leaves it out: exact, or not claimed.

dlt drops what `discard_row` and `discard_value` forbid without a word. The methods that do it are
wrapped once; they count for the run whose block they are called in, and for nobody else.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from dlt.extract.extractors import ArrowExtractor, Extractor, ImportFileMeta, ModelExtractor
from dlt.normalize.items_normalizers import JsonLItemsNormalizer
from dlt.normalize.normalize import Normalize

from loadsmith.engine.schema_files import tables_by_resource
from loadsmith.model import DiscardResult


@dataclass
class Discards:
    """What was left out so far.

    Attributes:
        rows: Rows by root table, table and column; no column where the table is not allowed. What
            is nested in a row goes with it and is not counted by itself.
        values: Values that are not null, of rows that were kept, by root table, table and column.
        owners: Resources by root table, where extract knew them.
        is_complete: False once something was left out where nobody could count it.
    """

    rows: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    values: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    owners: dict[str, str] = field(default_factory=dict)
    is_complete: bool = True

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count what dlt leaves out in this thread while the block runs."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def results(self, schema: Any) -> tuple[DiscardResult, ...] | None:
        """Return the counts by resource and table, or None where they are not complete.

        Args:
            schema: dlt's schema after the run, or None where nothing was loaded yet.
        """
        if not self.is_complete:
            return None
        owned = tables_by_resource(schema) if schema is not None else {}
        owners = {table: resource for resource, tables in owned.items() for table in tables}
        return tuple(
            DiscardResult(
                resource=self.owners.get(root) or owners.get(root, root),
                table=table,
                column=column,
                rows=self.rows[root, table, column],
                values=self.values[root, table, column],
            )
            for root, table, column in sorted(
                {*self.rows, *self.values}, key=lambda place: (place[0], place[1], place[2] or "")
            )
        )


_ACTIVE: ContextVar[Discards | None] = ContextVar("loadsmith_discards", default=None)


class _FilteredTables(set[str]):
    """dlt's set of tables that may not come into being; dlt asks it once for each row of them."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__()
        self._count = count

    def add(self, table: str) -> None:
        """Take a table, whose first row was left out just now."""
        self._count(table)
        super().add(table)

    def __contains__(self, table: object) -> bool:
        found = super().__contains__(table)
        if found:
            self._count(str(table))
        return found


# -- records --------------------------------------------------------------------------------------

_make_normalizer = JsonLItemsNormalizer.__init__
_normalize_chunk = JsonLItemsNormalizer._normalize_chunk
_filter_columns = JsonLItemsNormalizer._filter_columns


def _make_counting_normalizer(self: Any, *args: Any, **kwargs: Any) -> None:
    _make_normalizer(self, *args, **kwargs)
    self._discards = discards = _ACTIVE.get()
    if discards is None:
        return

    def count(table: str) -> None:
        discards.rows[self._root_table, table, None] += 1

    self._filtered_tables = _FilteredTables(count)


def _normalize_counted_chunk(self: Any, root_table_name: str, *args: Any, **options: Any) -> Any:
    self._root_table = root_table_name
    return _normalize_chunk(self, root_table_name, *args, **options)


def _filter_counted_columns(self: Any, filtered_columns: Any, row: Any) -> Any:
    discards: Discards | None = self._discards
    if discards is None:
        return _filter_columns(self, filtered_columns, row)
    table = next(
        name for name, own in self._filtered_tables_columns.items() if own is filtered_columns
    )
    root = self._root_table
    values = []
    for name, mode in filtered_columns.items():
        if name not in row:
            continue
        if mode == "discard_row":
            # The values of other columns, that were about to go, have gone with the row.
            discards.rows[root, table, name] += 1
            break
        if row[name] is not None:
            values.append(name)
    else:
        discards.values.update((root, table, name) for name in values)
    return _filter_columns(self, filtered_columns, row)


JsonLItemsNormalizer.__init__ = _make_counting_normalizer  # type: ignore[method-assign]  # dlt has no hook
JsonLItemsNormalizer._normalize_chunk = _normalize_counted_chunk  # type: ignore[method-assign]  # dlt has no hook
JsonLItemsNormalizer._filter_columns = _filter_counted_columns  # type: ignore[method-assign]  # dlt has no hook

_map_parallel = Normalize.map_parallel


def _map_parallel_uncounted(self: Any, *args: Any, **options: Any) -> Any:
    """Note that processes of their own normalize, where nobody counts."""
    discards = _ACTIVE.get()
    if discards is not None:
        discards.is_complete = False
    return _map_parallel(self, *args, **options)


Normalize.map_parallel = _map_parallel_uncounted  # type: ignore[method-assign]  # dlt has no hook


# -- tables that extract does not let come into being ---------------------------------------------

_write_to_static_table = Extractor._write_to_static_table
_write_to_dynamic_table = Extractor._write_to_dynamic_table


def _write_to_counted_table(
    self: Any, resource: Any, table_name: str, items: Any, meta: Any
) -> None:
    _write_to_static_table(self, resource, table_name, items, meta)
    discards = _ACTIVE.get()
    if discards is not None:
        _watch_validator(discards, resource)
        if table_name in self._filtered_tables:
            _count_items(discards, resource, table_name, items, meta)


def _write_to_counted_tables(self: Any, resource: Any, items: Any, meta: Any) -> None:
    _write_to_dynamic_table(self, resource, items, meta)
    discards = _ACTIVE.get()
    if discards is None:
        return
    _watch_validator(discards, resource)
    if self._filtered_tables:
        for item in items if isinstance(items, list) else [items]:
            table_name = self._get_dynamic_table_name(resource, item)
            if table_name in self._filtered_tables:
                _count_items(discards, resource, table_name, item, meta)


def _count_items(discards: Discards, resource: Any, table_name: str, items: Any, meta: Any) -> None:
    discards.owners[table_name] = resource.name
    if isinstance(meta, ImportFileMeta):
        discards.is_complete = False
        return
    for item in items if isinstance(items, list) else [items]:
        rows = getattr(item, "num_rows", 1 if isinstance(item, dict) else None)
        if rows is None:
            discards.is_complete = False
        elif rows:
            discards.rows[table_name, table_name, None] += rows


def _watch_validator(discards: Discards, resource: Any) -> None:
    """Note that a Pydantic model, which the rows passed before, may have left out some of them."""
    validator = resource.validator
    modes = (getattr(validator, "column_mode", ""), getattr(validator, "data_mode", ""))
    if validator is not None and any(str(mode).startswith("discard") for mode in modes):
        discards.is_complete = False


Extractor._write_to_static_table = _write_to_counted_table  # type: ignore[method-assign]  # dlt has no hook
Extractor._write_to_dynamic_table = _write_to_counted_tables  # type: ignore[method-assign]  # dlt has no hook


# -- Arrow tables and queries ---------------------------------------------------------------------

_filter_arrow = ArrowExtractor._apply_contract_filters
_filter_model = ModelExtractor._apply_contract_filters


def _filter_counted_arrow(self: Any, item: Any, resource: Any, static_table_name: Any) -> Any:
    kept = _filter_arrow(self, item, resource, static_table_name)
    discards = _ACTIVE.get()
    if discards is None or kept is item:
        return kept
    import pyarrow.compute

    table = static_table_name or self._get_dynamic_table_name(resource, item)
    modes = self._filtered_columns.get(table) or {}
    names = {self.naming.normalize_identifier(name): name for name in item.column_names}
    discards.owners[table] = resource.name
    left = item
    for name, mode in modes.items():
        if mode == "discard_row" and name in names:
            before = left.num_rows
            left = left.filter(pyarrow.compute.is_null(left[names[name]]))
            if before > left.num_rows:
                discards.rows[table, table, name] += before - left.num_rows
    for name, mode in modes.items():
        if mode == "discard_value" and name in names:
            values = left.num_rows - left[names[name]].null_count
            if values:
                discards.values[table, table, name] += values
    return kept


def _filter_counted_model(self: Any, items: Any, table_name: str) -> Any:
    discards = _ACTIVE.get()
    if discards is not None and self._filtered_columns.get(table_name):
        discards.is_complete = False
    return _filter_model(self, items, table_name)


ArrowExtractor._apply_contract_filters = _filter_counted_arrow  # type: ignore[method-assign]  # dlt has no hook
ModelExtractor._apply_contract_filters = _filter_counted_model  # type: ignore[method-assign]  # dlt has no hook
