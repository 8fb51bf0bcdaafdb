"""Read by ConnectorX, for users who chose it and for tables that it began.

Earlier versions of loadsmith read PostgreSQL by ConnectorX. It makes other types than dlt of some.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from dlt.common.schema.typing import TTableSchemaColumns
from dlt.sources.sql_database.helpers import (
    BaseTableLoader,
    ConnectorXTableLoader,
    get_table_loader_class,
)

from loadsmith.engine.sources.panics import panics_as_errors
from loadsmith.engine.sources.sql_begun import current_schema
from loadsmith.engine.sources.sql_types import (
    Reader,
    TableReadError,
    converted_or_told,
    reading_of,
    unread_columns,
)

#: What it makes of types that dlt declares nothing of.
_TYPES = {"binary": ("BIT",), "text": ("INT4RANGE", "INT8RANGE", "NUMRANGE", "DATERANGE")}


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


def can_go_on(loader: BaseTableLoader, stored: TTableSchemaColumns, reader: Reader) -> bool:
    """Tell whether ConnectorX began a table and can go on with it: it loses digits of decimals."""
    naming = current_schema().naming
    for name, kind in unread_columns(loader.table, loader.columns, reader).items():
        stored_type = stored.get(naming.normalize_identifier(name), {}).get("data_type")
        declared = loader.columns.get(name, {}).get("data_type")
        is_same = kind.startswith(_TYPES.get(stored_type or "", ()))
        if stored_type is None or (stored_type != declared if declared else not is_same):
            return False
    decimals = (column.get("data_type") == "decimal" for column in loader.columns.values())
    return find_spec("connectorx") is not None and not any(decimals)


def pages_in_kept_types(loader: BaseTableLoader, reader: Reader, rows: int) -> Iterator[Any]:
    """Yield pages of a table that ConnectorX began, in the types that it has.

    Args:
        loader: Who was to read the table.
        reader: What the way to read a column depends on.
        rows: Rows of a page.
    """
    own: Any = get_table_loader_class("connectorx")(
        loader.engine,
        "connectorx",
        loader.table,
        loader.columns,
        chunk_size=loader.chunk_size,
        incremental=loader.incremental,
        limit=loader.limit,
    )
    readings = {
        column.name: reading
        for column in loader.table.columns
        if (reading := reading_of(column, loader.columns.get(column.name), reader))
    }
    for page in own.load_rows({"return_type": "arrow_stream", "batch_size": rows}):
        for name, reading in readings.items():
            kind = reading.arrow[-1]
            values = converted_or_told(
                loader.table.name, name, page[name].cast(kind), reading, kind
            )
            page = page.set_column(page.column_names.index(name), name, values)
        yield page
