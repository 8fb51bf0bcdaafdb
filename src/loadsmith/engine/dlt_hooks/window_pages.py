"""Arrow pages of a run with a window: the bounds in the type and the unit of the cursor's column.

dlt compares a bound with a whole column at once, so that it has to be of the column's own type.
Which one that is nobody knows before the first page, where the source does not declare it.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

from dlt.common.libs import is_pandas_frame, is_polars_frame
from dlt.extract.incremental import Incremental
from dlt.extract.incremental.transform import ArrowIncremental

from loadsmith.engine.dlt_hooks.bounds import (
    WindowTime,
    day_at,
    moment_of,
    number_at,
    unit_of,
)
from loadsmith.engine.dlt_hooks.check import not_called

T = TypeVar("T")


class _WindowArrow(ArrowIncremental):
    """Compares Arrow pages with the window."""

    def __call__(self, page: Any) -> tuple[Any, bool, bool]:
        """Return the rows of a page that are in the window."""
        table = _arrow_of(page)
        if not len(table) or self.cursor_path not in table.schema.names:
            return super().__call__(page)
        column = table[self.cursor_path]
        fit = _fitting(column)
        if fit is None:
            return _rows_in_window(self, table, column.to_pylist())
        for name in ("start_value", "last_value", "end_value"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, fit(moment_of(value)))
        self.start_value_is_datetime = isinstance(self.start_value, datetime)
        self.end_value_is_datetime = isinstance(self.end_value, datetime)
        return super().__call__(page)


class WindowIncremental(Incremental[T]):
    """A cursor that is bounded by a window.

    dlt copies cursors by their class, and reads its type argument, so that this one is generic.
    """

    @classmethod
    def of(cls, incremental: Incremental[Any]) -> Incremental[Any]:
        """Return a copy of a cursor, which compares Arrow pages with its window."""
        bounded: Any = incremental.copy()
        kind = bounded.get_incremental_value_type()
        bounded.__class__ = cls
        bounded.__orig_class__ = cls[kind]  # type: ignore[index]  # a type at run time
        return cast("Incremental[Any]", bounded)

    # Not a field: dlt reads the annotated names of such a class from its configuration.
    _is_asked = False

    def __call__(self, rows: Any, meta: Any = None) -> Any:
        """Return the rows of a page that are in the window.

        Raises:
            RunError: dlt did not ask how they are compared.
        """
        kept = super().__call__(rows, meta)
        is_empty = rows is None or (isinstance(rows, list) and not rows)
        if not (is_empty or self._advanced or self._is_asked):
            raise not_called("windows")
        return kept

    def _make_or_get_transformer(self, cls: Any) -> Any:
        self._is_asked = True
        return super()._make_or_get_transformer(_WindowArrow if cls is ArrowIncremental else cls)


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
