"""A window in, sources whose cursors take exactly that window out.

dlt bounds cursors of declared dates, times and seconds by itself when a window is in its context.
It refuses text cursors and those whose type nobody declared, and takes milliseconds for seconds;
these get bounds that compare as times.

A live source is used by one run after the other, and dlt writes the bounds of a run into objects
that its copies share, so these are put back when the block ends.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dlt.common.data_types import py_type_to_sc_type

from loadsmith.engine.dlt_hooks import (
    WindowIncremental,
    WindowNumber,
    WindowText,
    WindowTime,
    day_at,
    feeds_of,
    incremental_of,
    moment_of,
    number_at,
    own_cursor,
    text_at,
    unit_of,
)
from loadsmith.errors import ResolveError
from loadsmith.model import CursorResult, Window


@contextmanager
def bound_to_window(
    source: Any, resources: Iterable[str], window: Window | None, warn: Callable[[str], None]
) -> Iterator[list[CursorResult]]:
    """Make the cursors of `resources` take `window` for the block; warn of those without a cursor.

    What feeds a transformer is bound with it. Yields a list that holds after the block where the
    cursors were.
    """
    found: list[CursorResult] = []
    with ExitStack() as stack:
        for name in with_feeds(source, resources):
            resource = source.resources[name]
            # Without a window, too: what a run leaves in a cursor would bound the next window.
            stack.enter_context(own_cursor(resource))
            if window is None:
                continue
            incremental = incremental_of(resource)
            if incremental is None:
                if not resource.is_transformer:
                    warn(
                        f"resource '{name}' has no incremental cursor that takes the window"
                        f" {window.start.isoformat()} to {window.end.isoformat()}: this run loads"
                        " all of it. Give it one (dlt.sources.incremental), or leave it out of the"
                        " partitions."
                    )
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
            stack.callback(_note, found, resource)
            bounds = _bounds(resource, incremental, window)
            if bounds is not None:
                _warn_of_number(name, incremental, bounds, warn)
                _set_bounds(resource, incremental, *bounds)
        yield found


def _note(found: list[CursorResult], resource: Any) -> None:
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
        )
    )


def with_feeds(source: Any, resources: Iterable[str]) -> list[str]:
    """Return the resources and what feeds them, where the source knows it by name."""
    found = dict.fromkeys(resources)
    for name in list(found):
        for feed in feeds_of(source.resources[name]):
            if feed in source.resources:
                found.setdefault(feed)
    return list(found)


def _bounds(resource: Any, incremental: Any, window: Window) -> tuple[Any, Any] | None:
    """Return the window as values for the cursor; None where dlt's context does it."""
    kind = incremental.get_incremental_value_type()
    initial = incremental.initial_value
    data_type = _declared_type(resource, incremental) if kind is Any else py_type_to_sc_type(kind)
    if data_type == "text":
        return text_at(window.start, initial), text_at(window.end, initial)
    if data_type in ("bigint", "double"):
        unit = unit_of(initial) if initial else 1
        if unit != 1:
            number = type(initial)
            return number(number_at(window.start, unit)), number(number_at(window.end, unit))
        return WindowNumber(window.start.timestamp()), WindowNumber(window.end.timestamp())
    if kind is not Any and incremental.last_value_func is max:
        return None
    if kind is not Any and data_type == "date":
        return day_at(window.start), day_at(window.end)
    return WindowTime.of(window.start), WindowTime.of(window.end)


def _declared_type(resource: Any, incremental: Any) -> str | None:
    """Return the type that the hints of a resource give the column of its cursor, or None."""
    name = incremental.get_cursor_column_name()
    columns = resource.columns
    if callable(columns) or not isinstance(columns, dict):
        return None
    return (columns.get(name) or {}).get("data_type")


def _warn_of_number(
    name: str, incremental: Any, bounds: tuple[Any, Any], warn: Callable[[str], None]
) -> None:
    path = str(incremental.cursor_path)
    may_be_number = incremental.get_incremental_value_type() is Any and not isinstance(
        bounds[0], WindowText
    )
    if (may_be_number or isinstance(bounds[0], WindowNumber)) and path.lower().endswith("id"):
        warn(
            f"resource '{name}': the numbers of its cursor '{path}' are read as Unix times, to fit"
            " the window. If they are none, leave the resource out of the partitions."
        )


def _set_bounds(resource: Any, incremental: Any, start: Any, end: Any) -> None:
    """Bound a cursor by the window and by what the source says itself, whichever is narrower."""
    bounded = WindowIncremental.of(incremental)
    initial, final = bounded.initial_value, bounded.end_value
    if bounded.last_value_func is min:
        # It runs from late to early, where the first value is the late one: not in the window.
        if not initial or moment_of(initial) >= moment_of(end):
            bounded.initial_value, bounded.range_start = end, "open"
        if final is None or moment_of(final) < moment_of(start):
            bounded.end_value, bounded.range_end = start, "closed"
    else:
        # Zero and one are how sources write "from the beginning".
        if not initial or moment_of(initial) <= moment_of(start):
            bounded.initial_value = start
        if final is None or moment_of(final) >= moment_of(end):
            bounded.end_value = end
    bounded.allow_external_schedulers = False
    resource.apply_hints(incremental=bounded)
