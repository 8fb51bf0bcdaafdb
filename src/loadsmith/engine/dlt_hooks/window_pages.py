"""Compare rows and Arrow pages of a run with its window.

dlt compares a bound with a whole column at once, so that it has to be of the column's own type.
Which one that is nobody knows before the first page, where the source does not declare it. And dlt
reads times without a zone as UTC, where the load may say something else.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

from dlt.common.libs import is_pandas_frame, is_polars_frame
from dlt.extract.incremental import Incremental
from dlt.extract.incremental.transform import (
    ArrowIncremental,
    IncrementalTransform,
    JsonIncremental,
)

from loadsmith.engine.dlt_hooks.bounds import (
    Edge,
    WindowBound,
    day_at,
    number_at,
    unit_of,
)
from loadsmith.engine.dlt_hooks.check import not_called

T = TypeVar("T")


def edge_of(bound: Any, incremental: Any) -> Edge | None:
    """Return the end of the window that a bound of a cursor stands for; None for others."""
    return _edge_among(getattr(incremental, "_edges", ()), bound)


def _edge_among(edges: Iterable[Edge], bound: Any) -> Edge | None:
    if isinstance(bound, WindowBound):
        return bound.edge
    if isinstance(bound, datetime):
        for edge in edges:
            if bound == (edge.moment if bound.tzinfo or edge.zone is None else edge.wall):
                return edge
    return None


class _Zoned:
    """Compares rows with the window, whatever dlt takes times without a zone for."""

    edges: tuple[Edge, ...] = ()
    is_asked = False

    def _adapt_timezone(self, row: datetime, bound: datetime, name: str, resource: str) -> Any:
        self.is_asked = True
        edge = _edge_among(self.edges, bound)
        if edge is None:
            return IncrementalTransform._adapt_timezone(row, bound, name, resource)
        if row.tzinfo is None:
            return edge.wall
        return bound if bound.tzinfo else edge.moment


class _WindowRows(_Zoned, JsonIncremental):
    """Compares rows with the window."""

    def __call__(self, row: Any) -> tuple[Any, bool, bool]:
        """Return the row if it is in the window.

        Raises:
            RunError: dlt did not ask for what a time is compared with.
        """
        compared = super().__call__(row)
        if not self.is_asked and (self.start_value_is_datetime or self.end_value_is_datetime):
            value = None if row is None else self.find_cursor_value(row)
            if isinstance(value, datetime):
                raise not_called("windows")
        return compared


class _WindowArrow(_Zoned, ArrowIncremental):
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
            if isinstance(value, WindowBound):
                setattr(self, name, fit(value.edge))
        self.start_value_is_datetime = isinstance(self.start_value, datetime)
        self.end_value_is_datetime = isinstance(self.end_value, datetime)
        return super().__call__(page)


class WindowIncremental(Incremental[T]):
    """A cursor that is bounded by a window.

    dlt copies cursors by their class, and reads its type argument, so that this one is generic.
    """

    @classmethod
    def of(
        cls, incremental: Incremental[Any], kind: Any, edges: tuple[Edge, ...]
    ) -> Incremental[Any]:
        """Return a copy of a cursor of a type, which compares rows and pages with its window."""
        bounded: Any = incremental.copy()
        bounded._edges = edges
        bounded.__class__ = cls
        bounded.__orig_class__ = cls[kind]  # type: ignore[index]  # a type at run time
        return cast("Incremental[Any]", bounded)

    # Not a field: dlt reads the annotated names of such a class from its configuration.
    _is_asked = False
    _edges = ()

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
        ours = {ArrowIncremental: _WindowArrow, JsonIncremental: _WindowRows}
        transformer: Any = super()._make_or_get_transformer(ours.get(cls, cls))
        transformer.edges = self._edges
        return transformer


def _arrow_of(page: Any) -> Any:
    if is_pandas_frame(page):
        from dlt.common.libs.pandas import pandas_to_arrow

        return pandas_to_arrow(page)
    if is_polars_frame(page):
        from dlt.common.libs.polars import polars_to_arrow

        return polars_to_arrow(page)
    return page


def _fitting(column: Any) -> Callable[[Edge], Any] | None:
    """Return what makes a bound of a time that a column is compared with; None for texts.

    The unit of numbers is told by their size, which a column without any does not tell.
    """
    import pyarrow as pa
    import pyarrow.compute

    kind = column.type
    if pa.types.is_timestamp(kind):
        return (lambda edge: edge.moment) if kind.tz else (lambda edge: edge.wall)
    if pa.types.is_date(kind):
        return day_at
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    largest = pyarrow.compute.max(column).as_py()
    if largest is None:
        return None
    unit = unit_of(float(largest))
    as_decimal = pa.types.is_decimal(kind)

    def number(edge: Edge) -> Any:
        found = number_at(edge, unit)
        return Decimal(found) if as_decimal else found

    return number


def _rows_in_window(
    cursor: ArrowIncremental, table: Any, values: list[Any]
) -> tuple[Any, bool, bool]:
    """Return the rows of a page whose values mean a time in the window, compared one by one."""
    import pyarrow as pa

    if cursor.on_cursor_value_missing == "raise" and None in values:
        cursor._process_null_at_cursor_path(table)
    start, end = cursor.start_value, cursor.end_value
    # For `min` the start is the late end; each end says whether it is in the window itself.
    is_late_first = cursor.last_value_func is min
    early, late = (end, start) if is_late_first else (start, end)
    has_start, has_end = cursor.range_start == "closed", cursor.range_end == "closed"
    has_early, has_late = (has_end, has_start) if is_late_first else (has_start, has_end)

    def is_in(value: Any) -> bool:
        if value is None:
            return cursor.on_cursor_value_missing == "include"
        after, before = _order(value, early), _order(value, late)
        return (after > 0 or (after == 0 and has_early)) and (
            before < 0 or (before == 0 and has_late)
        )

    mask = [is_in(value) for value in values]
    kept = [value for value, stays in zip(values, mask, strict=True) if stays and value is not None]
    cursor.seen_data = True
    if kept:
        chosen: Any = cursor.last_value_func
        cursor.last_value = chosen(kept)
    return table.filter(pa.array(mask)), False, False


def _order(value: Any, bound: Any) -> int:
    """Return -1, 0 or 1 for a value before, at or after a bound."""
    if isinstance(bound, WindowBound):
        mine, its = bound.edge.against(value)
        return (its > mine) - (its < mine)
    return int(value > bound) - int(value < bound)
