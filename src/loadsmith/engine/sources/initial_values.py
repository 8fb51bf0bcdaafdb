"""Let the text of an `initial_value` in YAML compare with the times of a cursor."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timezone
from typing import Any, cast

import pendulum

_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")


class TimeText(str):
    """The text of a time: a text among texts, and a time among times.

    Which of them a source compares is known when its first row comes. A time without a zone is UTC.
    """

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        """Tell whether it is before another time or text."""
        return bool(self._like(other) < other) if isinstance(other, date) else super().__lt__(other)

    def __gt__(self, other: Any) -> bool:
        """Tell whether it is after another time or text."""
        return bool(self._like(other) > other) if isinstance(other, date) else super().__gt__(other)

    def __le__(self, other: Any) -> bool:
        """Tell whether it is not after another time or text."""
        return not self > other

    def __ge__(self, other: Any) -> bool:
        """Tell whether it is not before another time or text."""
        return not self < other

    def __eq__(self, other: object) -> bool:
        """Tell whether it is another time or text."""
        return self._like(other) == other if isinstance(other, date) else super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        """Tell whether it is not another time or text."""
        return not self == other

    __hash__ = str.__hash__

    @property
    def moment(self) -> datetime:
        """The time, in UTC where the text has no zone."""
        return cast(datetime, pendulum.parse(str(self)))

    def _like(self, other: date) -> Any:
        """Return the time in the type and the zone of another one."""
        if not isinstance(other, datetime):
            return self.moment.date()
        utc = self.moment.astimezone(timezone.utc)
        return utc if other.tzinfo else utc.replace(tzinfo=None)


def with_times(value: Any, name: str = "") -> Any:
    """Return arguments of a source in which the text of an `initial_value` compares with times."""
    if isinstance(value, Mapping):
        return {key: with_times(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_times(item) for item in value]
    is_time = name == "initial_value" and isinstance(value, str) and _TIME.fullmatch(value)
    return TimeText(value) if is_time else value
