"""Decide how a column of PostgreSQL is read into Arrow with the values of dlt's own backend.

A type is in this module only if a test compares what it becomes with what plain dlt makes of it.
Not in it, for instance, are `json` (a text in it becomes a variant column), `bytea` (empty values
become a variant column) and arrays (their items are written as JSON by dlt).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from dlt.common.libs.sql_alchemy import Table
from dlt.common.schema.typing import TColumnSchema
from sqlalchemy.dialects import postgresql

#: Digits of Arrow's decimals of 128 bits, and of DuckDB's.
_MOST_DIGITS = 38

#: Microseconds and days since 1970 of the first and the last moment that Python's dates have.
_FIRST_MICROSECOND, _LAST_MICROSECOND = -62_135_596_800_000_000, 253_402_300_799_999_999
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_IN_MICROSECONDS = 86_400_000_000


class TableReadError(RuntimeError):
    """A table cannot be read; dlt says of which resource, and `run_error` of which load.

    Attributes:
        table_name: The table.
    """

    def __init__(self, table_name: str, message: str) -> None:
        super().__init__(message)
        self.table_name = table_name


@dataclass(frozen=True)
class Reading:
    """How one column is read.

    Attributes:
        select: What the query selects for the column.
        arrow: The types that ADBC gives for it.
        data_type: dlt's type of it.
        is_declared: Whether dlt declares that type before it sees a value. A column that it does
            not declare, and that has no value, is in no table of dlt's.
        is_rounded: Whether the query rounds its decimals.
    """

    select: sa.ColumnElement[Any]
    arrow: tuple[pa.DataType, ...]
    data_type: str
    is_declared: bool
    is_rounded: bool = False


_INTEGERS = (pa.int16(), pa.int32(), pa.int64())
_DATETIMES = {
    postgresql.TIMESTAMP: ("timestamp", "9999-12-31 23:59:59.999999", "0001-01-01 00:00:00"),
    sa.DATE: ("date", "9999-12-31", "0001-01-01"),
}

#: dlt's type and what ADBC gives, for types whose values are the same without more ado.
_SIMPLE: dict[type, tuple[str, tuple[pa.DataType, ...]]] = {
    sa.SMALLINT: ("bigint", _INTEGERS),
    sa.INTEGER: ("bigint", _INTEGERS),
    sa.BIGINT: ("bigint", _INTEGERS),
    sa.BOOLEAN: ("bool", (pa.bool_(),)),
    sa.String: ("text", (pa.string(),)),
    sa.TEXT: ("text", (pa.string(),)),
    sa.VARCHAR: ("text", (pa.string(),)),
    sa.CHAR: ("text", (pa.string(),)),
    sa.DOUBLE_PRECISION: ("double", (pa.float64(),)),
}

#: Types of cursors whose values are neither rounded nor converted.
_CURSORS = frozenset(
    {sa.SMALLINT, sa.INTEGER, sa.BIGINT, sa.String, sa.TEXT, sa.VARCHAR, *_DATETIMES}
)


@dataclass(frozen=True)
class Reader:
    """What the way to read a column depends on beside the column itself.

    Attributes:
        driver: SQLAlchemy's name of the driver by which plain dlt would read.
        decimal: Digits and scale to which the destination rounds decimals that declare none; None
            where it keeps them.
    """

    driver: str
    decimal: tuple[int, int] | None = None


def reading_of(column: Any, hint: TColumnSchema | None, reader: Reader) -> Reading | None:
    """Return how a column is read, or None where dlt's own backend has to read it.

    Args:
        column: The column as SQLAlchemy reflects it.
        hint: What dlt declares of the column, hints of the user included; None for a column that
            it declares nothing of.
        reader: What else it depends on.
    """
    reading = _reading(column, reader)
    if reading is None:
        return None
    declared = (hint or {}).get("data_type")
    if declared is None and reading.data_type == "double":
        # SQLAlchemy 2.1 has floats that are no `Numeric`, which dlt 1.31 does not know.
        return reading
    return (
        replace(reading, is_declared=True)
        if declared == reading.data_type and _has_precision_of(column.type, hint or {})
        else None
    )


def compares_exactly(column: Any) -> bool:
    """Tell whether ADBC gives a cursor's values as dlt's own backend compares them."""
    if type(column.type) is sa.NUMERIC:
        return column.type.precision is not None
    return type(column.type) in _CURSORS


def unread_columns(
    table: Table, hints: Mapping[str, TColumnSchema], reader: Reader
) -> dict[str, str]:
    """Return the columns that dlt's own backend has to read, and their types as texts."""
    return {
        column.name: type_name(column.type)
        for column in table.columns
        if reading_of(column, hints.get(column.name), reader) is None
    }


def _reading(column: Any, reader: Reader) -> Reading | None:
    kind = type(column.type)
    if kind in _SIMPLE:
        data_type, arrow = _SIMPLE[kind]
        return Reading(column, arrow, data_type, is_declared=False)
    if kind is sa.REAL:
        # The shortest text of a `real` is what a driver gives to Python: 1.1, not 1.10000002.
        number = sa.cast(sa.cast(column, sa.TEXT), sa.DOUBLE_PRECISION)
        return Reading(number, (pa.float64(),), "double", is_declared=False)
    if kind in (sa.UUID, postgresql.CITEXT, postgresql.ENUM):
        return Reading(sa.cast(column, sa.TEXT), (pa.string(),), "text", is_declared=False)
    if kind is sa.NUMERIC:
        digits, scale = column.type.precision, column.type.scale
        if digits is None and scale is None and reader.decimal is not None:
            as_stored: sa.ColumnElement[Any] = sa.cast(column, sa.NUMERIC(*reader.decimal))
            return Reading(as_stored, (pa.string(),), "decimal", is_declared=False, is_rounded=True)
        is_plain = digits is not None and scale is not None and 0 <= scale <= digits
        if is_plain and digits <= _MOST_DIGITS:
            return Reading(column, (pa.string(),), "decimal", is_declared=False)
    if kind is postgresql.TIME and not column.type.timezone:
        return Reading(
            _as_time(column, reader.driver), (pa.time64("us"),), "time", is_declared=False
        )
    if kind in _DATETIMES:
        data_type, last, first = _DATETIMES[kind]
        zone = "UTC" if getattr(column.type, "timezone", False) else None
        select = column
        if reader.driver == "psycopg2":
            # It has no infinity, and takes the last and the first moment instead.
            offset = "+00" if zone else ""
            select = sa.case(
                (column == sa.literal_column("'infinity'"), sa.literal_column(f"'{last}{offset}'")),
                (
                    column == sa.literal_column("'-infinity'"),
                    sa.literal_column(f"'{first}{offset}'"),
                ),
                else_=column,
            )
        arrow = pa.date32() if data_type == "date" else pa.timestamp("us", zone)
        return Reading(select, (arrow,), data_type, is_declared=False)
    return None


def _as_time(column: Any, driver: str) -> Any:
    if driver != "psycopg2":
        return column
    # psycopg2 reads 24:00 as midnight; psycopg refuses it.
    is_end = column == sa.literal_column("'24:00'")
    return sa.case((is_end, sa.literal_column("'00:00'")), else_=column)


def _has_precision_of(kind: Any, hint: TColumnSchema) -> bool:
    """Tell whether the precision that dlt declares is that of the type, or that of its default."""
    if isinstance(kind, sa.Numeric) and hint.get("data_type") == "decimal":
        return (hint.get("precision"), hint.get("scale")) == (kind.precision, kind.scale)
    if hint.get("data_type") == "timestamp":
        return hint.get("precision") is None and hint.get("timezone") == kind.timezone
    if hint.get("data_type") in ("bigint", "text"):
        return True
    return hint.get("precision") is None


def type_name(kind: Any) -> str:
    """Return PostgreSQL's name of a type."""
    dialect: Any = postgresql
    try:
        return str(kind.compile(dialect=dialect.dialect()))
    except (sa.exc.CompileError, sa.exc.UnsupportedCompilationError):
        return "a type that SQLAlchemy does not know"


def converted(values: pa.ChunkedArray, reading: Reading, target: pa.DataType) -> pa.ChunkedArray:
    """Return the values of a column in the type and with the values that dlt writes.

    Raises:
        ValueError: A value is none that dlt can load; pyarrow's error is one.
    """
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array(
            [chunk.storage for chunk in values.chunks], type=values.type.storage_type
        )
    if reading.data_type == "double":
        # JSON, in which dlt extracts, has neither infinity nor "not a number".
        is_number = pc.is_finite(values)
        if not pc.all(is_number).as_py():
            values = pc.if_else(is_number, values, pa.scalar(None, values.type))
    elif reading.data_type == "date":
        _check_range(values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY, "a date")
    elif reading.data_type == "timestamp":
        _check_range(values.cast(pa.int64()), _FIRST_MICROSECOND, _LAST_MICROSECOND, "a time")
    elif reading.data_type == "time":
        _check_range(values.cast(pa.int64()), 0, _DAY_IN_MICROSECONDS - 1, "a time of day")
    return values if values.type == target else values.cast(target)


def converted_or_told(
    table: str, name: str, values: pa.ChunkedArray, reading: Reading, target: pa.DataType
) -> pa.ChunkedArray:
    """Return `converted` values; an error names the table and the column."""
    try:
        return converted(values, reading, target)
    except ValueError as error:
        message = f"column '{name}': {error}. Leave the column or the rows out."
        raise TableReadError(table, message) from None


def _check_range(numbers: pa.ChunkedArray, first: int, last: int, what: str) -> None:
    found = pc.min_max(numbers).as_py()
    if found["min"] is not None and (found["min"] < first or found["max"] > last):
        within = "00:00 to 23:59:59.999999" if first == 0 else "the years 1 to 9999"
        raise ValueError(f"{what} is outside of {within}, which are all that dlt can load")


def bound(value: Any, column: Any) -> Any:
    """Return a bound of a cursor as a literal that PostgreSQL compares as dlt compares it.

    dlt takes a time without a zone, in the database or in the bound, as one of UTC.
    """
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        text = datetime.isoformat(moment.astimezone(timezone.utc).replace(tzinfo=None), " ")
        if getattr(column.type, "timezone", False):
            return sa.literal_column(f"TIMESTAMP WITH TIME ZONE '{text}+00'")
        return sa.literal_column(f"TIMESTAMP '{text}'")
    if isinstance(value, date):
        return sa.literal_column(f"DATE '{date.isoformat(value)}'")
    if isinstance(value, str):
        # It means the same with and without `standard_conforming_strings`.
        text = value.replace("\\", "\\\\").replace("'", "''")
        return sa.literal_column(f"E'{text}'")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return sa.literal_column(format(value, "f") if isinstance(value, Decimal) else repr(value))
    return value
