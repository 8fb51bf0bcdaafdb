"""Bounds of a window, as values that a cursor of any type can be compared with."""

from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

#: Units of numbers since 1970 in a second, by the size from which numbers are in that unit.
_UNITS = {10**17: 10**9, 10**14: 10**6, 10**11: 10**3, 0: 1}

#: What stands for a calendar day written as a number, 20240131, in place of a unit.
DAYS = 0


class WindowBound:
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


class WindowText(WindowBound, str):
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


class WindowNumber(WindowBound, float):
    """A bound as seconds since 1970, for a cursor of numbers that may have another unit."""

    @property
    def moment(self) -> datetime:
        """The time of the bound."""
        return datetime.fromtimestamp(float(self), timezone.utc)

    def __int__(self) -> int:
        return int(self.moment.timestamp())

    def __str__(self) -> str:
        return str(int(self))


class WindowTime(WindowBound, datetime):
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
    if isinstance(value, WindowBound):
        return value.moment
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    elif isinstance(value, int | float):
        moment = _moment_of_number(value)
    else:
        from dlt.common.time import ensure_datetime

        moment = ensure_datetime(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _moment_of_number(value: float) -> datetime:
    unit = unit_of(value)
    if unit == DAYS:
        day = int(value)
        return datetime(day // 10000, day // 100 % 100, day % 100, tzinfo=timezone.utc)
    return datetime.fromtimestamp(value / unit, timezone.utc)


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


def number_at(moment: datetime, unit: int) -> int:
    """Return the first number of a unit that is not before a moment."""
    if unit == DAYS:
        day = day_at(moment)
        return day.year * 10000 + day.month * 100 + day.day
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    microseconds = (since.days * 86400 + since.seconds) * 10**6 + since.microseconds
    return -(-microseconds * unit // 10**6)


def day_at(moment: datetime) -> date:
    """Return the first day that does not begin before a moment."""
    utc = moment.astimezone(timezone.utc)
    is_midnight = utc.time() == time()
    return utc.date() if is_midnight else utc.date() + timedelta(days=1)


def text_at(moment: datetime, like: Any) -> WindowText:
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
