"""Partition: the part of a load that is there once, however often it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loadsmith.model.request import Window

#: Dagster's sign between the keys of two dimensions.
_DIMENSIONS = "|"


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The partition keys and the time window of a run or of a package.

    Attributes:
        keys: Partition keys, sorted by Dagster; none for a window of the launchpad.
        window: The time window; None where the partitions are no windows.
    """

    keys: tuple[str, ...] = ()
    window: Window | None = None

    def __bool__(self) -> bool:
        """Tell whether it is a part at all; a load without partitions is loaded as a whole."""
        return bool(self.keys) or self.window is not None

    @property
    def label(self) -> str:
        """The partition for messages."""
        if self.keys:
            return self.keys[0] if len(self.keys) == 1 else f"{self.keys[0]} to {self.keys[-1]}"
        if self.window is None:
            return "all partitions"
        return f"{self.window.start.isoformat()} to {self.window.end.isoformat()}"

    def overlaps(self, other: "Partition") -> bool:
        """Tell whether a row may belong to both; a load as a whole overlaps each of its parts."""
        if not self or not other:
            return True
        if self.window and other.window and not (self.has_dimensions or other.has_dimensions):
            return self.window.start < other.window.end and other.window.start < self.window.end
        return not set(self.keys).isdisjoint(other.keys)

    def contains(self, other: "Partition") -> bool:
        """Tell whether all rows of another partition belong to this one."""
        if not self or not other:
            return not self
        if self.window and other.window and not (self.has_dimensions or other.has_dimensions):
            return self.window.start <= other.window.start and other.window.end <= self.window.end
        return set(self.keys).issuperset(other.keys)

    def to_dict(self) -> dict[str, Any]:
        """Return the partition as plain data."""
        window = self.window
        ends = [window.start.isoformat(), window.end.isoformat()] if window else None
        return {"partition_keys": list(self.keys), "window": ends}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Partition":
        """Read what `to_dict` returned."""
        ends = value.get("window")
        window = None
        if ends:
            start, end = map(datetime.fromisoformat, ends)
            window = Window(start=start, end=end)
        return Partition(keys=tuple(value.get("partition_keys") or ()), window=window)

    @property
    def has_dimensions(self) -> bool:
        """Whether a key has two dimensions, of which the window is one."""
        return any(_DIMENSIONS in key for key in self.keys)
