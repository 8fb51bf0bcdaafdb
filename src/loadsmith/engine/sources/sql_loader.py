"""Read one table of a database for dlt: by ADBC where that is exact, by dlt's own backend else.

Which way it is depends on the types that SQLAlchemy reflects and on what dlt's schema says of the
table, both known before a row is read. A table keeps its way: rows that dlt's backend reads have a
`_dlt_id`, those that come in Arrow have none, and neither can be added to the other.
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
from dlt.common.exceptions import DltException
from dlt.common.libs.pyarrow import get_py_arrow_datatype
from dlt.common.schema import Schema
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.common.schema.utils import has_table_seen_data, is_complete_column
from dlt.common.time import get_context_timezone_name
from dlt.extract import DltResource
from dlt.sources.sql_database import TableLoader, register_table_loader_backend
from dlt.sources.sql_database.helpers import ConnectorXTableLoader, get_table_loader_class
from sqlalchemy.dialects import postgresql

from loadsmith.engine.dlt_hooks import query_of
from loadsmith.engine.normalizing import ROW_GROUP
from loadsmith.engine.sources.panics import panics_as_errors
from loadsmith.engine.sources.sql_bounds import BoundByColumn, register
from loadsmith.engine.sources.sql_types import (
    Reader,
    Reading,
    bound,
    converted,
    reading_of,
    rounded,
    unread_columns,
)

#: Drivers of SQLAlchemy whose addresses are those of PostgreSQL's own library, which ADBC uses.
_DRIVERS = frozenset({"psycopg", "psycopg2"})

#: DuckDB reads no parquet with longer decimals, and Arrow has none with more than 76 digits.
_PARQUET_DIGITS = 38

#: ConnectorX panics at a decimal with more digits.
_CONNECTORX_DIGITS = 28


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
        # which loadsmith loads them, is refused.
        rounds = "insert_values" in (self._capabilities.supported_loader_file_formats or ())
        self._reader = Reader(
            driver=self.engine.dialect.driver,
            decimal=self._capabilities.decimal_precision if rounds else None,
        )

    def load_rows(self, backend_kwargs: dict[str, Any] | None = None) -> Iterator[Any]:
        """Yield the rows of the table in pages."""
        name = self.table.name
        with panics_as_errors(lambda text: TableReadError(name, f"its driver panicked: {text}")):
            rows_because = self._rows_because()
            stored = _stored_columns()
            if stored and _schema().naming.normalize_identifier("_dlt_id") not in stored:
                if rows_because is None:
                    yield from self._fast_or(stored, lambda why: self._as_before(stored, why))
                else:
                    yield from self._as_before(stored, rows_because)
            elif stored:
                yield from self._by_rows(rows_because or "its table has `_dlt_id`")
            elif rows_because is not None:
                yield from self._by_rows(rows_because)
            else:
                yield from self._fast_or({}, self._by_rows)

    def _by_rows(self, because: str) -> Iterator[Any]:
        self.options.log(f"table '{self.table.name}': read by dlt's backend, because {because}")
        if (
            self._capabilities.preferred_loader_file_format == "parquet"
            and self._reader.decimal
            and any(map(_is_no_parquet_decimal, self.columns.values()))
        ):
            inserts = dlt.mark.make_hints(file_format="insert_values")
            yield dlt.mark.with_hints([], inserts)
        pages = super().load_rows()
        yield from pages if self._reader.decimal is None else map(self._rounded, pages)

    def _rounded(self, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Round decimals of columns that declare no scale, as the destination does."""
        assert self._reader.decimal is not None
        kinds = ("decimal", None)
        names = [
            name
            for name in page[0]
            if (hint := self.columns.get(name, {})).get("scale") is None
            and hint.get("data_type") in kinds
        ]
        for row in page if names else ():
            for name in names:
                if isinstance(row[name], Decimal):
                    row[name] = rounded(row[name], self._reader.decimal[1])
        return page

    def _rows_because(self) -> str | None:
        """Return why dlt's own backend has to read the table, or None where ADBC can."""
        dialect = self.engine.dialect
        because = self.options.rows_because or rows_because_of(f"{dialect.name}+{dialect.driver}")
        if because:
            return because
        if not isinstance(self.table, sa.Table):
            return "it is a query"
        if self.incremental and self.incremental.last_value_func not in (min, max):
            return "its cursor is ordered by a function"
        unread = unread_columns(self.table, self.columns, self._reader)
        if unread:
            listed = ", ".join(f"'{name}' ({kind})" for name, kind in unread.items())
            return f"its columns {listed} need it"
        schema = _schema()
        names = [column.name for column in self.table.columns]
        written = {schema.naming.normalize_identifier(name) for name in names}
        paths = {schema.naming.normalize_path(name) for name in names}
        if written != paths or len(written) != len(names):
            return "dlt changes names of its columns"
        if any(name.startswith("_dlt") for name in written):
            return "it has columns of dlt's own"
        resource = _resource()
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
        naming = _schema().naming
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
        for page in _in_pages(reader, size):
            columns = {}
            for name, reading in readings.items():
                try:
                    values = converted(page[name], reading, targets[name])
                except ValueError as error:
                    message = f"column '{name}': {error}. Leave the column or the rows out."
                    raise TableReadError(self.table.name, message) from None
                is_made_by_values = not reading.is_declared and values.null_count == len(values)
                columns[name] = pa.nulls(len(values)) if is_made_by_values else values
            yield pa.table(columns)

    def _as_before(self, stored: TTableSchemaColumns, because: str) -> Iterator[Any]:
        """Go on with a table without `_dlt_id`, with the types that it has.

        It was begun by ADBC, or by ConnectorX or PyArrow in an earlier version of loadsmith.
        """
        unread = unread_columns(self.table, self.columns, self._reader)
        naming = _schema().naming
        has_all = all(naming.normalize_identifier(name) in stored for name in unread)
        by_connectorx = (
            self.engine.dialect.name == "postgresql"
            and find_spec("connectorx") is not None
            and has_all
            and not any(_is_long_decimal(column) for column in self.columns.values())
        )
        backend = "connectorx" if by_connectorx else "pyarrow"
        kept = f" Its columns {', '.join(map(repr, unread))} keep their types." if unread else ""
        self.options.warn(
            f"table '{self.table.name}': dlt's backend should read it, because {because}, but"
            f" cannot add to a table without `_dlt_id`. It is read by {backend}.{kept}"
            " To load it as plain dlt does, run it once with `refresh: drop_resources`."
        )
        loader_class: type[Any] = get_table_loader_class(backend)
        loader = loader_class(
            self.engine,
            cast(Any, backend),
            self.table,
            self.columns,
            chunk_size=self.chunk_size,
            incremental=self.incremental,
            limit=self.limit,
            query_adapter_callback=self.query_adapter_callback,
        )
        size = self.options.page_rows or (self.chunk_size if self.limit else ROW_GROUP)
        stream = {"return_type": "arrow_stream", "batch_size": size}
        yield from loader.load_rows(stream if by_connectorx else None)


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


def _schema() -> Schema:
    """Return the schema of the source; a new one where rows are read outside of a pipeline."""
    try:
        return dlt.current.source_schema()
    except DltException:
        return Schema("outside_of_a_pipeline")


def _resource() -> DltResource | None:
    try:
        return dlt.current.resource()
    except DltException:
        return None


def _stored_columns() -> TTableSchemaColumns:
    """Return the columns of the resource's table, of which earlier runs have loaded rows."""
    schema, resource = _schema(), _resource()
    if resource is None or not isinstance(resource.table_name, str):
        return {}
    table = schema.tables.get(schema.naming.normalize_table_identifier(resource.table_name))
    return table["columns"] if table is not None and has_table_seen_data(table) else {}


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


def _is_long_decimal(column: Mapping[str, Any]) -> bool:
    return column.get("data_type") == "decimal" and (
        column.get("precision") is None or column["precision"] > _CONNECTORX_DIGITS
    )


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
