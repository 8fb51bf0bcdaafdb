"""Read one table of a database for dlt: by ADBC where that is exact, by dlt's own backend else.

Which way it is depends on the types that SQLAlchemy reflects, on the cursor, on how rows are merged
and on the table in the destination, all known before a row is read. Rows that dlt's backend reads
have a `_dlt_id`, those that come in Arrow have none. A table that has the column keeps it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
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
from dlt.sources.sql_database.helpers import ConnectorXTableLoader
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
from loadsmith.engine.sources.sql_types import (
    Reader,
    Reading,
    bound,
    compares_exactly,
    converted,
    reading_of,
    rounded,
    type_name,
    unread_columns,
)

#: Drivers of SQLAlchemy whose addresses are those of PostgreSQL's own library, which ADBC uses.
_DRIVERS = frozenset({"psycopg", "psycopg2"})

#: DuckDB reads no parquet with longer decimals, and Arrow has none with more than 76 digits.
_PARQUET_DIGITS = 38

#: Strategies of merges that need no `_dlt_id`.
_MERGES = (None, "delete-insert", "upsert", "insert-only")

#: What ConnectorX makes of types that dlt declares nothing of.
_BY_CONNECTORX = {"binary": ("BIT",), "text": ("INT4RANGE", "INT8RANGE", "NUMRANGE", "DATERANGE")}


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


class TableReadError(RuntimeError):
    """A table cannot be read; dlt says of which resource, and `run_error` of which load.

    Attributes:
        table_name: The table.
    """

    def __init__(self, table_name: str, message: str) -> None:
        super().__init__(message)
        self.table_name = table_name


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
        elif because is None and self._is_of_connectorx(stored):
            yield from self._by_connectorx(str(by_types))
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
        if file_format := self._format_of_decimals():
            hints["file_format"] = file_format
        if hints:
            yield dlt.mark.with_hints([], dlt.mark.make_hints(**hints))
        pages = super().load_rows()
        yield from map(self._as_inserted, pages) if self._is_inserted else pages

    def _as_inserted(self, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return rows with the values that INSERT leaves in the destination.

        It rounds decimals of columns that declare no scale. dlt takes out NUL characters.

        Raises:
            TableReadError: A column of integers has one that no destination takes.
        """
        kinds = {name: column.get("data_type") for name, column in self.columns.items()}
        integers = {name for name, kind in kinds.items() if kind == "bigint"}
        cursor = self.cursor_column.name if self.cursor_column is not None else None
        decimals = [
            name
            for name in page[0]
            if self.columns.get(name, {}).get("scale") is None
            and kinds.get(name) in ("decimal", None)
            and name != cursor
        ]
        scale = (self._reader.decimal or (0, 0))[1]
        for row in page if decimals else ():
            for name in decimals:
                if isinstance(row[name], Decimal):
                    row[name] = rounded(row[name], scale)
        # PostgreSQL has neither NUL in texts nor integers of more than 64 bits.
        for row in page if self.engine.dialect.name != "postgresql" else ():
            for name, value in row.items():
                if isinstance(value, str):
                    if "\0" in value:
                        row[name] = value.replace("\0", "")
                elif name in integers and isinstance(value, int | float):
                    if not -(2**63) <= value < 2**63:
                        message = f"column '{name}': {value} has more than the 64 bits of `bigint`"
                        raise TableReadError(self.table.name, message)
        return page

    def _format_of_decimals(self) -> str | None:
        """Return dlt's default format where parquet does not hold all digits of the decimals."""
        default = "insert_values" if self._is_inserted else "jsonl"
        if (
            self._capabilities.preferred_loader_file_format != "parquet"
            or default not in self._capabilities.supported_loader_file_formats
        ):
            return None
        columns = self.columns.values()
        is_long = any(map(_is_no_parquet_decimal, columns))
        if self._is_inserted:
            # The cursor is compared with more digits than the table keeps.
            kind: Any = None if self.cursor_column is None else self.cursor_column.type
            is_long |= isinstance(kind, sa.Numeric) and kind.asdecimal and kind.scale is None
        else:
            # Readers take the files of a table for files of one format.
            is_long |= any(
                column.get("data_type") == "decimal" and column.get("scale") is None
                for column in columns
            )
            is_long &= not stored_columns()
        return default if is_long else None

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
                cursor.execute("SELECT current_setting('server_encoding')")
                if cursor.fetchone() == ("SQL_ASCII",):
                    reader = None
                    why = "nobody knows the encoding of a database in SQL_ASCII"
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

    def _pages(
        self,
        reader: pa.RecordBatchReader,
        readings: Mapping[str, Reading],
        targets: Mapping[str, pa.DataType],
    ) -> Iterator[pa.Table]:
        size = self.options.page_rows or (self.chunk_size if self.limit else ROW_GROUP)
        for page in self._told(_in_pages(reader, size), readings):
            columns = {}
            for name, reading in readings.items():
                values = self._converted(page[name], name, reading, targets[name])
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
            columns = f", one of its columns {', '.join(map(repr, names))}" if names else ""
            is_of_column = "numeric field overflow" in str(error)
            where = f"table '{self.table.name}'{columns if is_of_column else ''}"
            raise TableReadError(self.table.name, f"{where}: {error}") from None

    def _converted(
        self,
        values: pa.ChunkedArray,
        name: str,
        reading: Reading,
        target: pa.DataType | None = None,
    ) -> pa.ChunkedArray:
        try:
            return converted(values, reading, target or values.type)
        except ValueError as error:
            message = f"column '{name}': {error}. Leave the column or the rows out."
            raise TableReadError(self.table.name, message) from None

    def _is_of_connectorx(self, stored: TTableSchemaColumns) -> bool:
        """Tell whether an earlier version began the table by ConnectorX, which can go on exactly.

        It made other types than dlt of some, and loses digits of decimals.
        """
        naming = current_schema().naming
        for name, kind in unread_columns(self.table, self.columns, self._reader).items():
            stored_type = stored.get(naming.normalize_identifier(name), {}).get("data_type")
            declared = self.columns.get(name, {}).get("data_type")
            is_same = declared == stored_type if declared else False
            if not stored_type or not (
                is_same or kind.startswith(_BY_CONNECTORX.get(stored_type, ()))
            ):
                return False
        decimals = (column.get("data_type") == "decimal" for column in self.columns.values())
        return find_spec("connectorx") is not None and not any(decimals)

    def _by_connectorx(self, because: str) -> Iterator[Any]:
        """Go on with a table that ConnectorX began, in the types that it has."""
        kept = unread_columns(self.table, self.columns, self._reader)
        self.options.warn(
            f"table '{self.table.name}': dlt's backend should read it, because {because}, but an"
            f" earlier version began it. It is read by connectorx. Its columns"
            f" {', '.join(map(repr, kept))} keep their types. To load it as plain dlt does, run it"
            " once with `refresh: drop_resources`."
        )
        loader: Any = ConnectorXLoader(
            self.engine,
            "connectorx",
            self.table,
            self.columns,
            chunk_size=self.chunk_size,
            incremental=self.incremental,
            limit=self.limit,
        )
        size = self.options.page_rows or (self.chunk_size if self.limit else ROW_GROUP)
        readings = {
            column.name: reading
            for column in self.table.columns
            if (reading := reading_of(column, self.columns.get(column.name), self._reader))
        }
        for page in loader.load_rows({"return_type": "arrow_stream", "batch_size": size}):
            for name, reading in readings.items():
                values = self._converted(page[name].cast(reading.arrow[-1]), name, reading)
                page = page.set_column(page.column_names.index(name), name, values)
            yield page


class ConnectorXLoader(ConnectorXTableLoader):
    """dlt's loader by ConnectorX, whose panics are errors; it panics at types that it has not."""

    def load_rows(self, backend_kwargs: dict[str, Any] | None = None) -> Iterator[Any]:
        """Yield the rows of the table as Arrow tables."""
        unread = unread_columns(self.table, self.columns, Reader("psycopg"))

        def error(text: str) -> TableReadError:
            listed = ", ".join(f"'{name}' ({kind})" for name, kind in unread.items())
            where = f", at one of its columns {listed}" if unread else ""
            advice = "Leave `backend` out, or set it to `sqlalchemy`."
            return TableReadError(self.table.name, f"ConnectorX panicked{where}: {text}. {advice}")

        with panics_as_errors(error):
            yield from super().load_rows(backend_kwargs or {})


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


def _is_no_parquet_decimal(column: Mapping[str, Any]) -> bool:
    digits, scale = column.get("precision"), column.get("scale") or 0
    return (
        column.get("data_type") == "decimal"
        and digits is not None
        and (digits > _PARQUET_DIGITS or not 0 <= scale <= digits)
    )


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
