"""Read one table of a database for dlt: by ADBC where that is exact, by dlt's own backend else.

Which way it is depends on the types that SQLAlchemy reflects, on the cursor, on how rows are merged
and on the table in the destination, all known before a row is read. Rows that dlt's backend reads
have a `_dlt_id`, those that come in Arrow have none. A table that has the column keeps it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, cast

import dlt
import pyarrow as pa
import sqlalchemy as sa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.libs.pyarrow import get_py_arrow_datatype
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.common.schema.utils import is_complete_column
from dlt.common.time import get_context_timezone_name
from dlt.sources.sql_database import TableLoader, register_table_loader_backend
from sqlalchemy.dialects import postgresql

from loadsmith.engine.dlt_hooks import query_of
from loadsmith.engine.normalizing import ROW_GROUP
from loadsmith.engine.sources.panics import panics_as_errors
from loadsmith.engine.sources.sql_begun import (
    columns_in_destination,
    current_resource,
    current_schema,
    is_loaded_by_insert,
    stored_columns,
)
from loadsmith.engine.sources.sql_bounds import BoundByColumn, register
from loadsmith.engine.sources.sql_connectorx import (
    ConnectorXLoader,
    can_go_on,
    pages_in_kept_types,
)
from loadsmith.engine.sources.sql_rows import as_inserted, format_of_rows
from loadsmith.engine.sources.sql_types import (
    Reader,
    Reading,
    TableReadError,
    bound,
    compares_exactly,
    converted_or_told,
    reading_of,
    type_name,
    unread_columns,
)

#: Drivers of SQLAlchemy whose addresses are those of PostgreSQL's own library, which ADBC uses.
_DRIVERS = frozenset({"psycopg", "psycopg2"})

#: Strategies of merges that need no `_dlt_id`.
_MERGES = (None, "delete-insert", "upsert", "insert-only")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What is known of the reading of a source's tables before any of them is reflected.

    Attributes:
        page_rows: Rows of a page, where the user chose; None for as many as DuckDB copies fast.
        rows_because: Why all tables are read by dlt's own backend, or None.
        log: Takes which way a table is read.
        warn: Takes what a person should know of it.
    """

    page_rows: int | None = None
    rows_because: str | None = None
    log: Callable[[str], None] = field(default=lambda _line: None)
    warn: Callable[[str], None] = field(default=lambda _line: None)


def loader_for(options: ReadOptions) -> type[TableLoader]:
    """Return the class by which dlt's `sql_database` reads the tables of a source."""
    return type("ExactTableLoader", (_ExactTableLoader,), {"options": options})


class _ExactTableLoader(BoundByColumn, TableLoader):
    options: ReadOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._capabilities = (
            Container().get(DestinationCapabilitiesContext)
            or DestinationCapabilitiesContext.generic_capabilities()
        )
        # Destinations that dlt loads by INSERT round what their column does not hold; parquet, in
        # which loadsmith loads them, is refused. Nor do they get NUL characters.
        self._is_inserted = is_loaded_by_insert()
        self._reader = Reader(
            driver=self.engine.dialect.driver,
            decimal=self._capabilities.decimal_precision if self._is_inserted else None,
        )

    def load_rows(self, backend_kwargs: dict[str, Any] | None = None) -> Iterator[Any]:
        """Yield the rows of the table in pages."""
        name = self.table.name
        with panics_as_errors(lambda text: TableReadError(name, f"its driver panicked: {text}")):
            yield from self._rows()

    def _rows(self) -> Iterator[Any]:
        stored = stored_columns()
        begun = set(stored) or columns_in_destination()
        row_id = current_schema().naming.normalize_identifier("_dlt_id")
        because, by_types = self._rows_because(), None
        if because is None and row_id in begun:
            because = "its table has `_dlt_id`"
        if because is None:
            by_types = self._types_because()
        is_without = bool(begun) and row_id not in begun
        if because is None and by_types is None:
            yield from self._fast_or(stored, lambda why: self._by_rows(why, is_without))
        elif because is None and can_go_on(self, stored, self._reader):
            kept = unread_columns(self.table, self.columns, self._reader)
            self.options.warn(
                f"table '{self.table.name}': dlt's backend should read it, because {by_types}, but"
                f" an earlier version began it. It is read by connectorx. Its columns"
                f" {', '.join(map(repr, kept))} keep their types. To load it as plain dlt does, run"
                " it once with `refresh: drop_resources`."
            )
            yield from pages_in_kept_types(self, self._reader, self._page_rows())
        else:
            yield from self._by_rows(str(because or by_types), is_without)

    def _by_rows(self, because: str, is_without_id: bool) -> Iterator[Any]:
        told = f"table '{self.table.name}': read by dlt's backend, because {because}"
        hints: dict[str, Any] = {}
        if is_without_id:
            self.options.warn(
                f"{told}. Its rows get a `_dlt_id` from now on; those that it has keep none. To"
                " begin it anew, run it once with `refresh: drop_resources`."
            )
            # New columns of a table with rows cannot be NOT NULL.
            row_id = {"name": "_dlt_id", "data_type": "text", "nullable": True, "row_key": True}
            resource = current_resource()
            known = resource.columns if resource is not None else None
            hints["columns"] = {**(known if isinstance(known, dict) else {}), "_dlt_id": row_id}
        else:
            self.options.log(told)
        file_format = format_of_rows(
            self, self._capabilities, stored_columns(), is_inserted=self._is_inserted
        )
        if file_format:
            hints["file_format"] = file_format
        if hints:
            yield dlt.mark.with_hints([], dlt.mark.make_hints(**hints))
        scale = (self._reader.decimal or (0, 0))[1]
        for page in super().load_rows():
            yield as_inserted(page, self, scale) if self._is_inserted else page

    def _rows_because(self) -> str | None:
        """Return why dlt's own backend has to read the table, whatever types it has."""
        dialect = self.engine.dialect
        because = self.options.rows_because or rows_because_of(f"{dialect.name}+{dialect.driver}")
        if because:
            return because
        if not isinstance(self.table, sa.Table):
            return "it is a query"
        if self.incremental and self.incremental.last_value_func not in (min, max):
            return "its cursor is ordered by a function"
        if self.cursor_column is not None and not compares_exactly(self.cursor_column):
            kind = type_name(self.cursor_column.type)
            return f"its cursor '{self.cursor_column.name}' is {kind}"
        resource = current_resource()
        if resource is not None and (why := rows_because_of_merge(resource.write_disposition)):
            return why
        schema = current_schema()
        names = [column.name for column in self.table.columns]
        written = {schema.naming.normalize_identifier(name) for name in names}
        paths = {schema.naming.normalize_path(name) for name in names}
        if not names:
            return "it has no columns"
        if written != paths or len(written) != len(names):
            return "dlt changes names of its columns"
        if any(name.startswith("_dlt") for name in written):
            return "it has columns of dlt's own"
        if resource is not None and resource.table_name != resource.name:
            return "its rows go to a table of another name, as those of others may"
        undeclared = [
            schema.naming.normalize_identifier(name)
            for name in names
            if "data_type" not in self.columns.get(name, {})
        ]
        if any(schema.get_preferred_type(name) for name in undeclared):
            return "its schema prefers types for columns of it"
        return None

    def _types_because(self) -> str | None:
        """Return why its types need dlt's own backend, or None where ADBC has them all."""
        unread = unread_columns(self.table, self.columns, self._reader)
        listed = ", ".join(f"'{name}' ({kind})" for name, kind in unread.items())
        return f"its columns {listed} need it" if unread else None

    def _fast_or(
        self, stored: TTableSchemaColumns, otherwise: Callable[[str], Iterator[Any]]
    ) -> Iterator[Any]:
        """Yield pages read by ADBC, or what `otherwise` yields if it cannot begin."""
        import adbc_driver_manager
        import adbc_driver_postgresql.dbapi as adbc

        readings = {
            column.name: cast(
                Reading, reading_of(column, self.columns.get(column.name), self._reader)
            )
            for column in self.table.columns
        }
        targets = self._targets(readings, stored)
        if isinstance(targets, str):
            yield from otherwise(targets)
            return
        try:
            connection = adbc.connect(self._address())
        except adbc_driver_manager.Error as error:
            yield from otherwise(f"ADBC does not connect ({error})")
            return
        with connection, connection.cursor() as cursor:
            try:
                cursor.execute(
                    "SELECT current_setting('server_encoding'),"
                    " current_setting('extra_float_digits')::int > 0"
                )
                encoding, has_all_digits = cursor.fetchone()
                if encoding == "SQL_ASCII":
                    reader = None
                    why = "nobody knows the encoding of a database in SQL_ASCII"
                elif not has_all_digits:
                    reader, why = None, "`extra_float_digits` rounds floats for drivers"
                else:
                    cursor.execute(self._copy_query(readings))
                    reader = cursor.fetch_record_batch()
                    why = _unexpected(reader.schema, readings)
            except adbc_driver_manager.Error as error:
                reader, why = None, f"ADBC does not read it ({error})"
            if reader is not None and not why:
                self.options.log(f"table '{self.table.name}': read by ADBC")
                yield from self._pages(reader, readings, targets)
                return
        yield from otherwise(why)

    def _address(self) -> str:
        # Without it, libpq takes the encoding of the database, and Arrow has UTF-8 alone.
        url = self.engine.url.set(drivername="postgresql")
        return url.update_query_dict({"client_encoding": "utf8"}).render_as_string(
            hide_password=False
        )

    def _copy_query(self, readings: Mapping[str, Reading]) -> str:
        """Return dlt's query with casts, and with literals as bounds: COPY takes no parameters."""
        bounds = self.last_value, self.end_value
        if self.cursor_column is not None:
            self.last_value, self.end_value = (bound(each, self.cursor_column) for each in bounds)
        try:
            query = cast(Any, query_of(self))
        finally:
            self.last_value, self.end_value = bounds
        selected = (reading.select.label(name) for name, reading in readings.items())
        # Compiled in dlt's way, `%` would be written twice, as psycopg wants it.
        dialect = cast(Any, postgresql).dialect(paramstyle="named")
        literals = {"literal_binds": True}
        return str(
            query.with_only_columns(*selected).compile(dialect=dialect, compile_kwargs=literals)
        )

    def _targets(
        self, readings: Mapping[str, Reading], stored: TTableSchemaColumns
    ) -> dict[str, pa.DataType] | str:
        """Return the types that dlt writes, or why a stored column does not take what is read."""
        naming = current_schema().naming
        found: dict[str, pa.DataType] = {}
        for name, reading in readings.items():
            known = stored.get(naming.normalize_identifier(name), {})
            if known and is_complete_column(known) and known["data_type"] != reading.data_type:
                return f"its column '{name}' was {known['data_type']} and is {reading.data_type}"
            column = {**known, **self.columns.get(name, {}), "data_type": reading.data_type}
            found[name] = get_py_arrow_datatype(
                cast(Any, column), self._capabilities, get_context_timezone_name()
            )
        return found

    def _page_rows(self) -> int:
        return self.options.page_rows or (self.chunk_size if self.limit else ROW_GROUP)

    def _pages(
        self,
        reader: pa.RecordBatchReader,
        readings: Mapping[str, Reading],
        targets: Mapping[str, pa.DataType],
    ) -> Iterator[pa.Table]:
        for page in self._told(_in_pages(reader, self._page_rows()), readings):
            columns = {}
            for name, reading in readings.items():
                values = converted_or_told(
                    self.table.name, name, page[name], reading, targets[name]
                )
                is_made_by_values = not reading.is_declared and values.null_count == len(values)
                columns[name] = pa.nulls(len(values)) if is_made_by_values else values
            yield pa.table(columns)

    def _told(
        self, pages: Iterator[pa.Table], readings: Mapping[str, Reading]
    ) -> Iterator[pa.Table]:
        """Name the table where the database cannot give a row, and the columns that it rounds."""
        try:
            yield from pages
        except OSError as error:
            names = [name for name, reading in readings.items() if reading.is_rounded]
            is_of_column = names and "numeric field overflow" in str(error)
            where = f"one of its columns {', '.join(map(repr, names))}: " if is_of_column else ""
            raise TableReadError(self.table.name, f"{where}{error}") from None


# dlt takes them for live resources, too, which are made without loadsmith.
register_table_loader_backend("connectorx", ConnectorXLoader)
register()


def _unexpected(schema: pa.Schema, readings: Mapping[str, Reading]) -> str:
    for field_ in schema:
        kind = field_.type
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        if kind not in readings[field_.name].arrow:
            return f"ADBC gives its column '{field_.name}' as {kind}"
    return ""


def _in_pages(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.Table]:
    waiting = reader.schema.empty_table()
    for batch in reader:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while waiting.num_rows >= rows:
            yield waiting.slice(0, rows)
            waiting = waiting.slice(rows)
    if waiting.num_rows:
        yield waiting


def rows_because_of_merge(disposition: Any) -> str | None:
    """Return why rows of a write disposition are not read by ADBC, or None where they may be."""
    strategy = disposition.get("strategy") if isinstance(disposition, Mapping) else None
    return None if strategy in _MERGES else f"the merge strategy {strategy} needs `_dlt_id`"


def rows_because_of(engine_name: str) -> str | None:
    """Return why no table of a database is read by ADBC, from the name in its address."""
    dialect, _, driver = engine_name.partition("+")
    if dialect not in ("postgresql", "postgres"):
        return "the fast way reads PostgreSQL alone"
    if driver and driver not in _DRIVERS:
        return f"the fast way takes no address of the driver {driver}"
    with suppress(ModuleNotFoundError):
        if find_spec("adbc_driver_postgresql") is not None:
            return None
    return "adbc-driver-postgresql is not installed"
