"""Bind the cursors of a source to the window of a run, and to nothing else.

Each cursor gets the ends of the window in its own type. A live source is used by one run after the
other, and dlt writes the bounds of a run into objects that its copies share, so these are put back
when the block ends.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone, tzinfo
from decimal import Decimal
from numbers import Integral, Real
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from dlt.common.data_types import py_type_to_sc_type
from dlt.extract.incremental.context import get_interval_context

from loadsmith.engine.dlt_hooks import (
    Edge,
    WindowIncremental,
    WindowNumber,
    WindowText,
    WindowTime,
    day_at,
    each_once,
    feeding,
    incremental_of,
    number_at,
    own_cursor,
    unit_of,
)
from loadsmith.errors import ResolveError
from loadsmith.model import CursorResult, RunRequest, Window

#: Says the time zone of a resource's cursor: `partition`, `UTC`, a name, or None.
Zones = Callable[[str], str | None]


@contextmanager
def bound_to_window(
    source: Any,
    resources: Iterable[str],
    request: RunRequest,
    zones: Zones = lambda _name: None,
) -> Iterator[list[CursorResult]]:
    """Make the cursors of `resources` take the window of a run for the block.

    Those without a cursor are warned of.

    What feeds a transformer is bound with it. Yields a list that holds after the block where the
    cursors were.

    Raises:
        ConfigError: A cursor has no time zone, and the window is in one that is not UTC.
        ResolveError: A cursor has an order of its own.
    """
    window, warn = request.window, request.warn
    found: list[CursorResult] = []
    names = list(resources)
    if window is not None and not request.arguments_hold_window:
        _warn_of_endless(source, names, window, warn)
    with ExitStack() as stack:
        for resource in feeding_all(source, names):
            # Without a window, too: what a run leaves in a cursor would bound the next window.
            stack.enter_context(own_cursor(resource))
            if window is None:
                _leave_scheduler(resource)
                continue
            name, incremental = str(resource.name), _plain(incremental_of(resource))
            if incremental is None:
                continue
            if incremental.allow_external_schedulers is False:
                warn(
                    f"resource '{name}' has a cursor that refuses external schedulers, so it does"
                    " not take the window. Remove allow_external_schedulers=False from it."
                )
                continue
            if incremental.last_value_func not in (min, max):
                ordered_by = getattr(incremental.last_value_func, "__name__", "a function")
                raise ResolveError(
                    f"resource '{name}': its cursor '{incremental.cursor_path}' is ordered by"
                    f" '{ordered_by}' (last_value_func), so that nobody can tell what is in the"
                    f" window {window.start.isoformat()} to {window.end.isoformat()}. Order it by"
                    " max or min, or leave the resource out of the partitions."
                )
            if (
                incremental.on_cursor_value_missing == "include"
                and resource.write_disposition != "merge"
            ):
                warn(
                    f"resource '{name}' includes rows without a value of its cursor"
                    f" '{incremental.cursor_path}' (on_cursor_value_missing), so each partition"
                    " gets all of them. Exclude them, or load them by a resource of their own."
                )
            stack.callback(_note, found, resource, is_utc=is_utc(zones(name), window))
            start, end = _edges(name, incremental, window, zones(name))
            bounds = _bounds(resource, incremental, start, end)
            _warn_of_number(name, incremental, bounds, warn)
            _set_bounds(resource, incremental, (start, end), bounds)
        yield found


def _warn_of_endless(
    source: Any, names: Iterable[str], window: Window, warn: Callable[[str], None]
) -> None:
    """Tell which roots are read as a whole, because nothing on their way has a cursor."""
    chains = [feeding(source.resources[name], source.resources) for name in names]
    bounded = {
        str(chain[-1].name)
        for chain in chains
        if any(incremental_of(link) is not None for link in chain)
    }
    for root in dict.fromkeys(str(chain[-1].name) for chain in chains):
        if root not in bounded:
            warn(
                f"resource '{root}' has no incremental cursor that takes the window"
                f" {window.start.isoformat()} to {window.end.isoformat()}: this run loads"
                " all of it. Give it one (dlt.sources.incremental), or leave it out of the"
                " partitions."
            )


def feeding_all(source: Any, resources: Iterable[str]) -> list[Any]:
    """Return resources of a source and all that feeds them, each once."""
    known = source.resources
    chains = (feeding(known[name], known) for name in resources)
    return each_once(link for chain in chains for link in chain)


def _edges(name: str, incremental: Any, window: Window, asked: str | None) -> tuple[Edge, Edge]:
    """Return the ends of the window, with the zone of cursor values that have none."""
    zone: tzinfo | None = window.start.tzinfo if asked == "partition" else None
    if asked not in (None, "partition"):
        zone = timezone.utc if asked.upper() == "UTC" else ZoneInfo(asked)
    elif window.is_utc:
        zone = timezone.utc
    refusal = (
        f"resource '{name}': the values of its cursor '{incremental.cursor_path}' have no time"
        f" zone, and the window {window.start.isoformat()} to {window.end.isoformat()} is in"
        f" {window.start.tzinfo}, so nobody can tell which rows are in it. Set cursor_timezone of"
        " the load: 'partition' where the values are in the time of the partitions, 'UTC', or the"
        " name of another zone."
    )
    start, end = (moment.astimezone(timezone.utc) for moment in (window.start, window.end))
    return Edge(start, zone, refusal), Edge(end, zone, refusal)


def _leave_scheduler(resource: Any) -> None:
    """Let a cursor that asks for an external scheduler go on from its state, where none is."""
    step, context = resource.incremental, get_interval_context()
    if step is not None and (context is None or context.interval is None):
        incremental = incremental_of(resource)
        if incremental is not None and incremental.allow_external_schedulers:
            step.allow_external_schedulers = False


def is_utc(asked: str | None, window: Window) -> bool:
    """Tell whether cursor values that have no time zone, if there are any, are in UTC."""
    if asked == "partition":
        return window.is_utc
    return asked is None or asked.upper() == "UTC"


def _note(found: list[CursorResult], resource: Any, *, is_utc: bool) -> None:
    incremental = incremental_of(resource)
    if incremental is None or incremental.end_value is None:
        return
    start, end = incremental.initial_value, incremental.end_value
    if incremental.last_value_func is min:
        start, end = end, start
    found.append(
        CursorResult(
            resource=resource.name,
            cursor_path=str(incremental.cursor_path),
            start_value=str(start),
            end_value=str(end),
            last_value=str(incremental.last_value),
            is_utc=is_utc,
        )
    )


def _bounds(resource: Any, incremental: Any, start: Edge, end: Edge) -> tuple[Any, Any]:
    """Return the ends of the window as values for the cursor."""
    kind, initial = _type_of(incremental), incremental.initial_value
    column = _column(resource, incremental)
    data_type = column.get("data_type") if kind is Any else _data_type_of(kind)
    if data_type == "text":
        return WindowText.of(start, initial), WindowText.of(end, initial)
    if data_type in ("bigint", "double", "decimal"):
        unit = unit_of(initial) if initial else 1
        if unit != 1:
            number = {"bigint": int, "double": float, "decimal": Decimal}[data_type]
            return number(number_at(start, unit)), number(number_at(end, unit))
        return WindowNumber.of(start), WindowNumber.of(end)
    if kind is not Any and data_type == "date":
        return day_at(start), day_at(end)
    has_zone = _has_zone(initial, column, start)
    if kind is Any or not issubclass(kind, datetime):
        return WindowTime.of(start, has_zone=has_zone), WindowTime.of(end, has_zone=has_zone)
    shown = [edge.moment if has_zone else edge.wall for edge in (start, end)]
    if issubclass(kind, pendulum.DateTime):
        # pendulum takes a time without a zone for UTC unless it is told so.
        shown = [pendulum.instance(moment, tz=None) for moment in shown]
    return shown[0], shown[1]


def _type_of(incremental: Any) -> Any:
    """Return the type of a cursor's values; Any where nobody declared it."""
    try:
        return incremental.get_incremental_value_type()
    except IndexError:
        # A subclass that leaves the type open.
        initial = incremental.initial_value
        return Any if initial is None else type(initial)


def _plain(incremental: Any) -> Any:
    """Return a cursor whose ends are no numbers of NumPy's, which know no time."""
    ends = ("initial_value", "end_value")
    numpy = [end for end in ends if hasattr(getattr(incremental, end, None), "dtype")]
    if numpy:
        incremental = incremental.copy()
        for end in numpy:
            setattr(incremental, end, getattr(incremental, end).item())
    return incremental


def _data_type_of(kind: type) -> str | None:
    """Return dlt's name for a Python type, those of NumPy's numbers included; None if unknown."""
    if issubclass(kind, Integral):
        return "bigint"
    if issubclass(kind, Real):
        return "double"
    try:
        return py_type_to_sc_type(kind)
    except TypeError:
        return None


def _has_zone(initial: Any, column: dict[str, Any], edge: Edge) -> bool:
    """Tell whether the times of a cursor are likely to have a zone: what its source is shown."""
    if column.get("timezone") is not None:
        return bool(column["timezone"])
    if isinstance(initial, datetime):
        return initial.tzinfo is not None
    return edge.zone in (None, timezone.utc)


def _column(resource: Any, incremental: Any) -> dict[str, Any]:
    """Return the hints that a resource gives the column of its cursor."""
    columns = resource.columns
    if callable(columns) or not isinstance(columns, dict):
        return {}
    return dict(columns.get(incremental.get_cursor_column_name()) or {})


def _warn_of_number(
    name: str, incremental: Any, bounds: tuple[Any, Any], warn: Callable[[str], None]
) -> None:
    path = str(incremental.cursor_path)
    may_be_number = _type_of(incremental) is Any and not isinstance(bounds[0], WindowText)
    if (may_be_number or isinstance(bounds[0], WindowNumber)) and path.lower().endswith("id"):
        warn(
            f"resource '{name}': the numbers of its cursor '{path}' are read as Unix times, to fit"
            " the window. If they are none, leave the resource out of the partitions."
        )


def _set_bounds(
    resource: Any, incremental: Any, edges: tuple[Edge, Edge], bounds: tuple[Any, Any]
) -> None:
    """Bound a cursor by the window and by what the source says itself, whichever is narrower."""
    (early, late), (start, end) = edges, bounds
    bounded = WindowIncremental.of(incremental, _type_of(incremental), edges)
    initial, final = bounded.initial_value, bounded.end_value
    if bounded.last_value_func is min:
        # It runs from late to early, where the first value is the late one: not in the window.
        if not initial or not late.is_after(initial):
            bounded.initial_value, bounded.range_start = end, "open"
        if final is None or early.is_after(final):
            bounded.end_value, bounded.range_end = start, "closed"
    else:
        # Zero and one are how sources write "from the beginning".
        if not initial or not early.is_before(initial):
            bounded.initial_value, bounded.range_start = start, "closed"
        if final is None or not late.is_after(final):
            bounded.end_value, bounded.range_end = end, "open"
    bounded.allow_external_schedulers = False
    resource.apply_hints(incremental=bounded)
