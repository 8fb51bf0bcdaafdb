"""InputSnapshot: where a resource has read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, kw_only=True)
class InputSnapshot:
    """A place that a resource has read from, without secrets.

    Attributes:
        kind: `sql_database`, `rest_api`, `filesystem`, or what a source of one's own says.
        location: Address of a database, an API or a bucket.
        names: What was read there: tables, endpoints, or the pattern of files.
        tables: The tables among them.
        places: Tables of databases and patterns of folders, in the form of `reads`.
    """

    kind: str
    location: str | None = None
    names: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def reads(self, place: str) -> bool:
        """Tell whether a table `host:port/database/schema/table`, or a folder of files, is read."""
        return any(_covers(pattern, place) for pattern in self.places)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "InputSnapshot":
        """Build it from plain data."""
        lists = {name: tuple(value.get(name, ())) for name in ("names", "tables", "places")}
        return InputSnapshot(kind=value["kind"], location=value.get("location"), **lists)


def _covers(pattern: str, place: str) -> bool:
    head, deep, _ = pattern.partition("**")
    if deep:
        return f"{place}/".startswith(head)
    return place == pattern or fnmatchcase(place, pattern)
