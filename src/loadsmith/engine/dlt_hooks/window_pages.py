"""Arrow pages of a run with a window: the bounds in the type and the unit of the cursor's column.

dlt compares a bound with a whole column at once, so that it has to be of the column's own type.
Which one that is nobody knows before the first page, where the source does not declare it.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from dlt.common.libs import is_pandas_frame, is_polars_frame
from dlt.extract.incremental.transform import ArrowIncremental

from loadsmith.engine.dlt_hooks.bounds import (
    WindowBound,
    WindowTime,
    day_at,
    moment_of,
    number_at,
    unit_of,
)

_compare = ArrowIncremental.__call__


def _compare_with_window(cursor: ArrowIncremental, page: Any) -> tuple[Any, bool, bool]:
    if not any(isinstance(b, WindowBound) for b in (cursor.start_value, cursor.end_value)):
        return _compare(cursor, page)
    table = _arrow_of(page)
    if not len(table) or cursor.cursor_path not in table.schema.names:
        return _compare(cursor, page)
    column = table[cursor.cursor_path]
    fit = _fitting(column)
    if fit is None:
        return _rows_in_window(cursor, table, column.to_pylist())
    for name in ("start_value", "last_value", "end_value"):
        value = getattr(cursor, name)
        if value is not None:
            setattr(cursor, name, fit(moment_of(value)))
    cursor.start_value_is_datetime = isinstance(cursor.start_value, datetime)
    cursor.end_value_is_datetime = isinstance(cursor.end_value, datetime)
    return _compare(cursor, page)


def _arrow_of(page: Any) -> Any:
    if is_pandas_frame(page):
        from dlt.common.libs.pandas import pandas_to_arrow

        return pandas_to_arrow(page)
    if is_polars_frame(page):
        from dlt.common.libs.polars import polars_to_arrow

        return polars_to_arrow(page)
    return page


def _fitting(column: Any) -> Callable[[datetime], Any] | None:
    """Return what makes a bound of a time that a column is compared with; None for texts.

    The unit of numbers is told by their size, which a column without any does not tell.
    """
    import pyarrow as pa
    import pyarrow.compute

    kind = column.type
    if pa.types.is_timestamp(kind):
        return WindowTime.of
    if pa.types.is_date(kind):
        return day_at
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    largest = pyarrow.compute.max(column).as_py()
    if largest is None:
        return None
    unit = unit_of(float(largest))
    as_decimal = pa.types.is_decimal(kind)

    def number(moment: datetime) -> Any:
        found = number_at(moment, unit)
        return Decimal(found) if as_decimal else found

    return number


def _rows_in_window(
    cursor: ArrowIncremental, table: Any, values: list[Any]
) -> tuple[Any, bool, bool]:
    """Return the rows of a page whose values mean a time in the window, compared one by one."""
    import pyarrow as pa

    if cursor.on_cursor_value_missing == "raise" and None in values:
        cursor._process_null_at_cursor_path(table)
    # For `min` the start is the late end; each end says whether it is in the window itself.
    start, end = moment_of(cursor.start_value), moment_of(cursor.end_value)
    edges = {start: cursor.range_start == "closed", end: cursor.range_end == "closed"}

    def is_in(value: Any) -> bool:
        if value is None:
            return cursor.on_cursor_value_missing == "include"
        moment = moment_of(value)
        return edges.get(moment, min(start, end) < moment < max(start, end))

    mask = [is_in(value) for value in values]
    kept = [value for value, stays in zip(values, mask, strict=True) if stays and value is not None]
    cursor.seen_data = True
    if kept:
        chosen: Any = cursor.last_value_func
        cursor.last_value = chosen(kept, key=moment_of)
    return table.filter(pa.array(mask)), False, False


ArrowIncremental.__call__ = _compare_with_window  # type: ignore[method-assign,assignment]  # dlt has no hook
