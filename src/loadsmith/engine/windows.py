"""A window in, sources whose cursors take exactly that window out.

dlt bounds cursors of dates, times and numbers by itself when a window is in its context. It leaves
out text cursors and those whose type nobody declared; these get bounds that compare as times.
"""

import inspect
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timezone
from typing import Any

from dlt.common.data_types import py_type_to_sc_type
from dlt.extract.incremental import Incremental, IncrementalResourceWrapper

from loadsmith.model import Window

#: A number from here on is milliseconds since 1970, below it seconds, as dlt counts.
_FIRST_MILLISECONDS = 100_000_000_000


class WindowBound(str):
    """A bound of a window as ISO text that compares with other values by the time they mean."""

    moment: datetime
    __slots__ = ("moment",)

    def __new__(cls, text: str, moment: datetime) -> "WindowBound":
        """Make a bound that is shown as `text` and compares as `moment`."""
        bound = super().__new__(cls, text)
        bound.moment = moment
        return bound

    def __eq__(self, other: object) -> bool:
        return moment_of(other) == self.moment

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return self.moment < moment_of(other)

    def __le__(self, other: Any) -> bool:
        return self.moment <= moment_of(other)

    def __gt__(self, other: Any) -> bool:
        return self.moment > moment_of(other)

    def __ge__(self, other: Any) -> bool:
        return self.moment >= moment_of(other)

    def __hash__(self) -> int:
        return hash(self.moment)

    def __deepcopy__(self, memo: dict[int, Any]) -> "WindowBound":
        return self

    def __copy__(self) -> "WindowBound":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (WindowBound, (str(self), self.moment))


def moment_of(value: Any) -> datetime:
    """Return the time that a cursor's value means; without a zone it is UTC.

    Raises:
        ValueError: The text is no ISO date or time.
    """
    if isinstance(value, WindowBound):
        return value.moment
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    elif isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= _FIRST_MILLISECONDS else value
        moment = datetime.fromtimestamp(seconds, timezone.utc)
    else:
        from dlt.common.time import ensure_datetime

        moment = ensure_datetime(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def bound_to_window(
    source: Any, resources: Sequence[str], window: Window, warn: Callable[[str], None]
) -> None:
    """Make the cursors of `resources` take `window`, and warn of those that have no cursor."""
    for name in resources:
        resource = source.resources[name]
        incremental = incremental_of(resource)
        if incremental is None:
            if not resource.is_transformer:
                warn(
                    f"resource '{name}' has no incremental cursor that takes the window"
                    f" {window.start.isoformat()} to {window.end.isoformat()}: this run loads all"
                    " of it. Give it one (dlt.sources.incremental), or leave it out of the"
                    " partitions."
                )
            continue
        if incremental.allow_external_schedulers is False:
            warn(
                f"resource '{name}' has a cursor that refuses external schedulers, so it does not"
                " take the window. Remove allow_external_schedulers=False from it."
            )
            continue
        bounds = _bounds(incremental, window)
        if bounds is not None:
            _set_bounds(resource, incremental, *bounds)


def incremental_of(resource: Any) -> Any | None:
    """Return the incremental of a resource, from its hints or its function's arguments, or None."""
    step = resource.incremental
    if step is None:
        return None
    if not isinstance(step, IncrementalResourceWrapper):
        return step
    if step.incremental is not None:
        return step.incremental
    function = resource._pipe.gen
    if not callable(function):
        return None
    parameter = IncrementalResourceWrapper.get_incremental_arg(inspect.signature(function))
    return parameter.default if parameter and isinstance(parameter.default, Incremental) else None


def _bounds(incremental: Any, window: Window) -> tuple[Any, Any] | None:
    """Return bounds of our own where dlt's context does not do, else None."""
    kind = incremental.get_incremental_value_type()
    initial = incremental.initial_value
    if kind is Any:
        return _text(window.start, initial), _text(window.end, initial)
    data_type = py_type_to_sc_type(kind)
    if data_type == "text":
        return _text(window.start, initial), _text(window.end, initial)
    if data_type in ("bigint", "double") and initial and abs(initial) >= _FIRST_MILLISECONDS:
        return (
            kind(window.start.timestamp() * 1000),
            kind(window.end.timestamp() * 1000),
        )
    return None


def _text(moment: datetime, like: Any) -> WindowBound:
    """Write a bound the way that the source writes its own initial value, for use in its URLs."""
    utc = moment.astimezone(timezone.utc)
    sample = like if isinstance(like, str) else ""
    if len(sample) == len("2024-01-01"):
        text = utc.strftime("%Y-%m-%d")
    elif sample.endswith("Z") or not sample:
        text = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif sample[10:11] == " ":
        text = utc.strftime("%Y-%m-%d %H:%M:%S")
    elif "+" in sample[10:]:
        text = utc.isoformat()
    else:
        text = utc.strftime("%Y-%m-%dT%H:%M:%S")
    return WindowBound(text, utc)


def _set_bounds(resource: Any, incremental: Any, start: Any, end: Any) -> None:
    bounded = incremental.copy()
    initial = bounded.initial_value
    later = initial is not None and moment_of(initial) > moment_of(start)
    bounded.initial_value = initial if later else start
    bounded.end_value = end
    bounded.allow_external_schedulers = False
    resource.apply_hints(incremental=bounded)
