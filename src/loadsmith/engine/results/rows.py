"""Read the rows of a query from an open client of SQL, as plain values."""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of a table, or of the answer to a query; plain values, without secrets.

    Attributes:
        table: The table; None for a query.
        has_more: Whether there are more rows than these.
    """

    table: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    has_more: bool = False

    def records(self) -> list[dict[str, Any]]:
        """Return each row as a mapping."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def plain(value: Any) -> Any:
    """Return a value of a row as JSON and a terminal show it; exact, so a decimal is text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return str(value)


def rows_of_query(client: Any, query: str, limit: int, table: str | None = None) -> Rows:
    """Return the rows of a query that an open client runs."""
    with client.execute_query(query) as cursor:
        columns = _unique(_names_of(cursor.native_cursor))
        found = cursor.fetchmany(limit + 1) if columns else []
    return replace(plain_rows(table, columns, found[:limit]), has_more=len(found) > limit)


def plain_rows(table: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Rows:
    """Return rows with plain values."""
    return Rows(
        table=table,
        columns=tuple(columns),
        rows=tuple(tuple(plain(value) for value in row) for row in rows),
    )


def select_of(client: Any, table: str, limit: int, condition: str = "") -> str:
    """Return the query for the first rows of a table."""
    # Definitions import this module, and no dlt.
    from loadsmith.engine.dlt_hooks import limited_sql

    top, bottom = limited_sql(client, limit)
    name = client.make_qualified_table_name(table)
    return " ".join(f"SELECT {top} * FROM {name} {condition} {bottom}".split())


def without(rows: Rows, leave_out: Iterable[str]) -> Rows:
    """Return rows without some columns."""
    names = set(leave_out)
    kept = [number for number, name in enumerate(rows.columns) if name not in names]
    return replace(
        rows,
        columns=tuple(rows.columns[number] for number in kept),
        rows=tuple(tuple(row[number] for number in kept) for row in rows.rows),
    )


def columns_of_dlt(rows: Rows) -> list[str]:
    """Return the columns that dlt adds to a table."""
    return [name for name in rows.columns if name.lower().startswith("_dlt_")]


def _names_of(cursor: Any) -> list[str]:
    """Return the columns of a cursor of a driver, or of what SQLAlchemy gives."""
    if hasattr(cursor, "keys"):
        return list(map(str, cursor.keys())) if cursor.returns_rows else []
    return [str(column[0]) for column in cursor.description or ()]


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in names:
        number, own = 2, name
        while own in found:
            own, number = f"{name}_{number}", number + 1
        found[own] = None
    return tuple(found)


def left_out(columns: Iterable[str], exclude: Sequence[str], inside: str = "") -> list[str]:
    """Return the columns that are to be left out, as names or patterns say, whatever their case.

    A name leaves out all below it, too: `address` also `address__city`, and `items` the rows of a
    nested table.

    Args:
        columns: The columns of a table.
        exclude: Names or shell patterns.
        inside: What the table's name has behind that of its root table.
    """
    patterns = [pattern.casefold() for pattern in exclude]
    found = []
    for column in columns:
        parts = [*filter(None, inside.split("__")), *column.split("__")]
        paths = {column, *("__".join(parts[:end]) for end in range(1, len(parts) + 1))}
        # A path may begin inside of a nested table, as the user sees its columns.
        own = column.split("__")
        paths |= {"__".join(own[:end]) for end in range(1, len(own) + 1)}
        if any(fnmatchcase(path.casefold(), pattern) for path in paths for pattern in patterns):
            found.append(column)
    return found
