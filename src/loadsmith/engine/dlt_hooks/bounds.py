"""Ends of a window, as values that a cursor of any type can be compared with."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, TypeVar

from loadsmith.errors import ConfigError

#: Units of numbers since 1970 in a second, by the size from which numbers are in that unit.
_UNITS = {10**17: 10**9, 10**14: 10**6, 10**11: 10**3, 0: 1}

#: What stands for a calendar day written as a number, 20240131, in place of a unit.
DAYS = 0

_Bound = TypeVar("_Bound", bound="WindowBound")


@dataclass(frozen=True)
class Edge:
    """One end of a window.

    Attributes:
        moment: The time, in UTC.
        zone: Time zone of cursor values that have none; None where nobody knows it.
        refusal: What is said where it has to be known.
    """

    moment: datetime
    zone: tzinfo | None
    refusal: str

    @property
    def wall(self) -> datetime:
        """The first time without a zone that is not before the moment.

        Where clocks are set back, a time without a zone means its first occurrence.

        Raises:
            ConfigError: The zone is not known.
        """
        if self.zone is None:
            raise ConfigError(self.refusal)
        local = self.moment.astimezone(self.zone)
        if local.fold:
            back = (local.replace(fold=0).utcoffset() or timedelta()) - (
                local.utcoffset() or timedelta()
            )
            # The clocks were set back within that time: look for when, to the second.
            early, late = self.moment - back, self.moment
            while late - early > timedelta(seconds=1):
                middle = early + (late - early) / 2
                if middle.astimezone(self.zone).fold:
                    late = middle
                else:
                    early = middle
            local = late.replace(microsecond=0).astimezone(self.zone) + back
        midnight = datetime.combine(local.date(), time(), self.zone)
        if midnight.astimezone(timezone.utc) == self.moment:
            # Where clocks are set forward at midnight, the day begins at 01:00: no time is before.
            local = midnight
        return local.replace(tzinfo=None, fold=0)

    def is_before(self, value: Any) -> bool:
        """Tell whether this end is before the time that a cursor's value means."""
        mine, its = self.against(value)
        return mine < its

    def is_after(self, value: Any) -> bool:
        """Tell whether this end is after the time that a cursor's value means."""
        mine, its = self.against(value)
        return mine > its

    def against(self, value: Any) -> tuple[datetime, datetime]:
        """Return this end and the time of a value, both with a zone or both without."""
        if isinstance(value, WindowBound):
            return self.moment, value.edge.moment
        found = time_of(value)
        return (self.moment if found.tzinfo else self.wall), found


class WindowBound:
    """An end of a window that compares with values of any type by the time that they mean."""

    __slots__ = ()

    edge: Edge

    def __eq__(self, other: object) -> bool:
        mine, its = self.edge.against(other)
        return mine == its

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        mine, its = self.edge.against(other)
        return mine < its

    def __le__(self, other: Any) -> bool:
        mine, its = self.edge.against(other)
        return mine <= its

    def __gt__(self, other: Any) -> bool:
        mine, its = self.edge.against(other)
        return mine > its

    def __ge__(self, other: Any) -> bool:
        mine, its = self.edge.against(other)
        return mine >= its

    def __hash__(self) -> int:
        return hash(self.edge.moment)

    def __deepcopy__(self: _Bound, memo: dict[int, Any]) -> _Bound:
        return self

    def __copy__(self: _Bound) -> _Bound:
        return self


class WindowText(WindowBound, str):
    """An end as ISO text, for a cursor of text."""

    __slots__ = ("edge",)

    @classmethod
    def of(cls, edge: Edge, like: Any) -> "WindowText":
        """Write an end the way that the source writes its own initial value, for its URLs."""
        sample = like if isinstance(like, str) else ""
        utc = edge.moment
        is_day = len(sample) == len("2024-01-01")
        has_zone = sample.endswith("Z") or "+" in sample[10:] or "-" in sample[10:]
        # Only in UTC nobody has to say which zone a text without one is in.
        shown = utc if has_zone or (not sample and edge.zone in (None, timezone.utc)) else edge.wall
        if is_day:
            text = shown.strftime("%Y-%m-%d")
        elif sample.endswith("Z") or (not sample and shown.tzinfo):
            text = shown.strftime("%Y-%m-%dT%H:%M:%SZ")
        elif has_zone:
            text = shown.isoformat()
        else:
            text = shown.strftime(f"%Y-%m-%d{' ' if sample[10:11] == ' ' else 'T'}%H:%M:%S")
        bound = cls(text)
        bound.edge = edge
        return bound


class WindowNumber(WindowBound, float):
    """An end as seconds since 1970, for a cursor of numbers that may have another unit."""

    @classmethod
    def of(cls, edge: Edge) -> "WindowNumber":
        """Make the bound of an end."""
        bound = cls(edge.moment.timestamp())
        bound.edge = edge
        return bound

    def __int__(self) -> int:
        return int(self.edge.moment.timestamp())

    def __str__(self) -> str:
        return str(int(self))


class WindowTime(WindowBound, datetime):
    """An end as a time, for a cursor whose type nobody declared; shown as ISO text."""

    _edge: Edge

    @classmethod
    def of(cls, edge: Edge, *, has_zone: bool) -> "WindowTime":
        """Make the bound of an end, with a zone or as a clock shows it."""
        shown = edge.moment if has_zone else edge.wall
        parts = (shown.year, shown.month, shown.day, shown.hour, shown.minute, shown.second)
        bound = cls(*parts, shown.microsecond, shown.tzinfo)
        bound._edge = edge
        return bound

    @property
    def edge(self) -> Edge:  # type: ignore[override]  # a time that a source made of it has none
        """The end of the window; of a time that was computed from a bound, that time."""
        known = vars(self).get("_edge")
        if isinstance(known, Edge):
            return known
        zone = self.tzinfo or timezone.utc
        plain = datetime.combine(self.date(), self.time(), zone)
        return Edge(plain.astimezone(timezone.utc), zone, "")

    def __str__(self) -> str:
        return self.isoformat().replace("+00:00", "Z")


def time_of(value: Any) -> datetime:
    """Return the time that a cursor's value means, without a zone where it has none.

    Raises:
        ValueError: The text is no ISO date or time.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, int | float):
        unit = unit_of(value)
        if unit == DAYS:
            day = int(value)
            return datetime(day // 10000, day // 100 % 100, day % 100)
        return datetime.fromtimestamp(value / unit, timezone.utc)
    from dlt.common.time import ensure_datetime

    return ensure_datetime(str(value))


def unit_of(number: float) -> int:
    """Return how many of the unit of a cursor's number are a second, or `DAYS`.

    Seconds, milliseconds, microseconds and nanoseconds since 1970 differ by their size. What can
    be read as a day of these centuries is one: as seconds it would be one of 1970.
    """
    if 19000101 <= number <= 29991231 and number == int(number):
        with suppress(ValueError):
            date(int(number) // 10000, int(number) // 100 % 100, int(number) % 100)
            return DAYS
    return next(unit for size, unit in _UNITS.items() if abs(number) >= size)


def number_at(edge: Edge, unit: int) -> int:
    """Return the first number of a unit that is not before an end."""
    if unit == DAYS:
        day = day_at(edge)
        return day.year * 10000 + day.month * 100 + day.day
    since = edge.moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    microseconds = (since.days * 86400 + since.seconds) * 10**6 + since.microseconds
    return -(-microseconds * unit // 10**6)


def day_at(edge: Edge) -> date:
    """Return the first day that does not begin before an end."""
    wall = edge.wall
    return wall.date() if wall.time() == time() else wall.date() + timedelta(days=1)
