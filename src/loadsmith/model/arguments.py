"""RunArguments: what `run` takes, each argument with the place that it goes to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from loadsmith.errors import ConfigError, UnknownArgument, did_you_mean, one_of

_PLACES = {
    "resources": ("merge_key",),
    "pipeline": ("destination", "staging", "dataset_name", "credentials"),
    "options": ("limit", "on_error", "on_empty", "normalizer", "cursor_timezone", "reload"),
}


_REFRESHES = ("drop_sources", "drop_resources", "drop_data")


@dataclass(frozen=True, kw_only=True)
class RunArguments(Mapping[str, Any]):
    """Arguments of a run; as a mapping, those that were given.

    Attributes:
        table_name: This and the next are arguments of dlt's `extract`, as are all to `refresh`.
        merge_key: A hint that each resource gets.
        destination: This and the next three are the pipeline's.
        limit: At most so many pages of each resource (dlt's `add_limit`).
        on_error: This and the next are those of `RunOptions`.
    """

    table_name: Any = None
    parent_table_name: str | None = None
    write_disposition: Any = None
    columns: Any = None
    primary_key: Any = None
    schema: Any = None
    loader_file_format: str | None = None
    table_format: str | None = None
    schema_contract: Any = None
    refresh: str | None = None
    merge_key: Any = None
    destination: Any = None
    staging: Any = None
    dataset_name: str | None = None
    credentials: Any = None
    limit: int | None = None
    on_error: str | None = None
    on_empty: str | None = None
    normalizer: str | None = None
    cursor_timezone: str | Mapping[str, str] | None = None
    reload: str | None = None

    def __post_init__(self) -> None:
        if self.refresh is not None and "{{" not in self.refresh:
            # dlt takes any other text for the strongest of them.
            one_of(_REFRESHES, self.refresh, "refresh")
        if self.limit is not None and (not isinstance(self.limit, int) or self.limit < 1):
            raise ConfigError(f"limit: {self.limit!r} is no whole number above 0.")

    @staticmethod
    def of(given: Mapping[str, Any], place: str = "run") -> "RunArguments":
        """Read arguments by name.

        Raises:
            UnknownArgument: A name is no argument of `run`.
        """
        if isinstance(given, RunArguments):
            return given
        known = [argument.name for argument in fields(RunArguments)]
        for name in given:
            if name not in known:
                raise UnknownArgument(
                    f"{place}: there is no argument '{name}'.{did_you_mean(name, known)}"
                )
        return RunArguments(**given)

    def to(self, place: str) -> dict[str, Any]:
        """Return what goes to `extract`, `resources`, `pipeline` or `options`."""
        elsewhere = {name for names in _PLACES.values() for name in names}
        names = _PLACES.get(place, [name for name in self if name not in elsewhere])
        return {name: self[name] for name in names if name in self}

    def __getitem__(self, name: str) -> Any:
        value = getattr(self, name, None) if name in self.__dataclass_fields__ else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (a.name for a in fields(self) if getattr(self, a.name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def guard_problem(value: object) -> str | None:
    """Return what is wrong with a `guard`, or None."""
    share = value.get("at_least") if isinstance(value, Mapping) and len(value) == 1 else value
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        return f"take a share from 0 to 1, such as {{at_least: 0.8}}, not {value!r}."
    return None


def timezone_problem(value: object) -> str | None:
    """Return what is wrong with a `cursor_timezone`, which may be one by resource, or None."""
    for zone in value.values() if isinstance(value, Mapping) else (value,):
        if not isinstance(zone, str):
            return f"take 'partition', 'UTC' or the name of a time zone, not {zone!r}."
        if zone == "partition" or zone.upper() == "UTC" or "{{" in zone:
            continue
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            known = ["partition", "UTC", *available_timezones()]
            return f"there is no time zone {zone!r}.{did_you_mean(zone, known)}"
    return None
