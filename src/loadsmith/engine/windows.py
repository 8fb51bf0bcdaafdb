"""A window in, sources whose cursors take exactly that window out.

dlt bounds cursors of declared dates, times and seconds by itself when a window is in its context.
It refuses text cursors and those whose type nobody declared, and takes milliseconds for seconds;
these get bounds that compare as times.

A live source is used by one run after the other, and dlt writes the bounds of a run into objects
that its copies share, so these are put back when the block ends.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, time, timezone
from typing import Any

from dlt.common.data_types import py_type_to_sc_type
from dlt.extract.incremental import Incremental, IncrementalResourceWrapper

from loadsmith.model import CursorResult, Window

#: A number from here on is milliseconds since 1970, below it seconds, as dlt counts.
_FIRST_MILLISECONDS = 100_000_000_000


class _Bound:
    """A bound of a window that compares with values of any type by the time that they mean."""

    __slots__ = ()

    @property
    def moment(self) -> datetime:
        """The time of the bound."""
        raise NotImplementedError

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


class WindowText(_Bound, str):
    """A bound as ISO text, for a cursor of text."""

    __slots__ = ("_moment",)

    _moment: datetime

    def __new__(cls, text: str, moment: datetime) -> "WindowText":
        """Make a bound that is shown as `text` and compares as `moment`."""
        bound = super().__new__(cls, text)
        bound._moment = moment
        return bound

    @property
    def moment(self) -> datetime:
        """The time of the bound."""
        return self._moment

    def __deepcopy__(self, memo: dict[int, Any]) -> "WindowText":
        return self

    def __copy__(self) -> "WindowText":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (WindowText, (str(self), self.moment))


class WindowNumber(_Bound, float):
    """A bound as seconds since 1970, for a cursor of numbers that may be milliseconds as well."""

    @property
    def moment(self) -> datetime:
        """The time of the bound."""
        return datetime.fromtimestamp(float(self), timezone.utc)

    def __int__(self) -> int:
        return int(self.moment.timestamp())

    def __str__(self) -> str:
        return str(int(self))


class WindowTime(_Bound, datetime):
    """A bound as a time, for a cursor whose type nobody declared; shown as ISO text."""

    @property
    def moment(self) -> datetime:
        """The time of the bound."""
        zone = self.tzinfo or timezone.utc
        parts = (self.year, self.month, self.day, self.hour, self.minute, self.second)
        return datetime(*parts, self.microsecond, zone, fold=self.fold)

    @classmethod
    def of(cls, moment: datetime) -> "WindowTime":
        """Make the bound of a time."""
        utc = moment.astimezone(timezone.utc)
        return cls(
            utc.year,
            utc.month,
            utc.day,
            utc.hour,
            utc.minute,
            utc.second,
            utc.microsecond,
            timezone.utc,
        )

    def __str__(self) -> str:
        return self.isoformat().replace("+00:00", "Z")


def moment_of(value: Any) -> datetime:
    """Return the time that a cursor's value means; without a zone it is UTC.

    Raises:
        ValueError: The text is no ISO date or time.
    """
    if isinstance(value, _Bound):
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
            _keep(resource, stack)
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
    found.append(
        CursorResult(
            resource=resource.name,
            cursor_path=str(incremental.cursor_path),
            start_value=str(incremental.initial_value),
            end_value=str(incremental.end_value),
            last_value=str(incremental.last_value),
        )
    )


def with_feeds(source: Any, resources: Iterable[str]) -> list[str]:
    """Return the resources and what feeds them, where the source knows it by name."""
    found = dict.fromkeys(resources)
    for name in list(found):
        pipe = source.resources[name]._pipe.parent
        while pipe is not None:
            if pipe.name in source.resources:
                found.setdefault(pipe.name)
            pipe = pipe.parent
    return list(found)


def _keep(resource: Any, stack: ExitStack) -> None:
    """Give a resource a cursor of its own, and put back at the end what copies of it share."""
    step = resource.incremental
    if isinstance(step, IncrementalResourceWrapper):
        # The function of the resource knows the wrapper, so that it cannot be another one.
        stack.callback(_put_back, step, dict(vars(step)))
        if step._incremental is not None:
            step._incremental = step._incremental.copy()
    elif step is not None:
        resource.apply_hints(incremental=step.copy())


def _put_back(step: Any, before: dict[str, Any]) -> None:
    vars(step).clear()
    vars(step).update(before)


def incremental_of(resource: Any) -> Any | None:
    """Return the incremental of a resource, from its hints or its function's arguments, or None."""
    step = resource.incremental
    if step is None:
        return None
    if not isinstance(step, IncrementalResourceWrapper):
        return step
    if step.incremental is not None:
        return step.incremental
    given = dict(resource.explicit_args) if resource.args_bound else {}
    for value in given.values():
        if isinstance(value, Incremental):
            return value
    function = resource._pipe.gen
    if not callable(function):
        return None
    parameter = IncrementalResourceWrapper.get_incremental_arg(inspect.signature(function))
    if parameter is None or not isinstance(parameter.default, Incremental):
        return None
    if given.get(parameter.name) is None:
        return parameter.default
    # A bare value in place of the cursor is where it starts.
    default = parameter.default.copy()
    default.initial_value = given[parameter.name]
    return default


def _bounds(resource: Any, incremental: Any, window: Window) -> tuple[Any, Any] | None:
    """Return bounds of our own where dlt's context does not do, else None."""
    kind = incremental.get_incremental_value_type()
    initial = incremental.initial_value
    data_type = _declared_type(resource, incremental) if kind is Any else py_type_to_sc_type(kind)
    if data_type == "text":
        return _text(window.start, initial), _text(window.end, initial)
    if data_type in ("bigint", "double"):
        if initial and abs(initial) >= _FIRST_MILLISECONDS:
            number = type(initial)
            return number(window.start.timestamp() * 1000), number(window.end.timestamp() * 1000)
        return WindowNumber(window.start.timestamp()), WindowNumber(window.end.timestamp())
    if kind is Any:
        return WindowTime.of(window.start), WindowTime.of(window.end)
    return None


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
    if isinstance(bounds[0], WindowNumber) and path.lower().endswith("id"):
        warn(
            f"resource '{name}': the numbers of its cursor '{path}' are read as Unix times, to fit"
            " the window. If they are none, leave the resource out of the partitions."
        )


def _text(moment: datetime, like: Any) -> WindowText:
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
    return WindowText(text, utc)


def _set_bounds(resource: Any, incremental: Any, start: Any, end: Any) -> None:
    bounded = incremental.copy()
    initial = bounded.initial_value
    # Zero and one are how sources write "from the beginning".
    later = bool(initial) and moment_of(initial) > moment_of(start)
    bounded.initial_value = initial if later else start
    ends_before = bounded.end_value is not None and moment_of(bounded.end_value) < moment_of(end)
    bounded.end_value = bounded.end_value if ends_before else end
    bounded.allow_external_schedulers = False
    resource.apply_hints(incremental=bounded)
