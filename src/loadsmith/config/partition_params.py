"""The model of partitions in files, and the check of cron expressions."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from loadsmith.config.settings import Settings, Text
from loadsmith.errors import did_you_mean
from loadsmith.model import PartitionSettings, read_time

PARTITION_KINDS = (
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "cron",
    "static",
    "dynamic",
    "multi",
)
"""Kinds of partitions; the first five are windows of time."""


class PartitionParams(Settings):
    """Partitions of assets. Say `schedule_type` or `type`, or what only one kind has."""

    schedule_type: str | None = Field(
        default=None,
        description="`HOURLY`, `DAILY`, `WEEKLY` or `MONTHLY`; for others `cron_schedule`.",
    )
    type: str | None = Field(
        default=None,
        description=(
            "`hourly`, `daily`, `weekly`, `monthly`, `cron`, `static`, `dynamic` or `multi`; the "
            "same as `schedule_type`, for all kinds."
        ),
    )
    start: Text | None = Field(
        default=None, description="Begin of the first partition, in `fmt` or as `2024-01-31`."
    )
    end: Text | None = Field(
        default=None, description="Time from which there are no more partitions; none if left out."
    )
    cron_schedule: str | None = Field(
        default=None, description="Cron expression at which a partition ends and the next begins."
    )
    timezone: str | None = Field(
        default=None, description="Time zone of the partitions, such as `Europe/Berlin`; else UTC."
    )
    fmt: str | None = Field(
        default=None, description="Format of the partition keys, as Python's strftime has it."
    )
    minute_offset: int = Field(
        default=0, ge=0, le=59, description="Minutes past the hour at which partitions begin."
    )
    hour_offset: int = Field(
        default=0, ge=0, le=23, description="Hour of the day at which partitions begin."
    )
    day_offset: int = Field(
        default=0,
        ge=0,
        le=31,
        description="Day of the week (0 is Sunday) or of the month at which partitions begin.",
    )
    end_offset: int = Field(
        default=0, description="Partitions beyond the last one that has ended; may be negative."
    )
    keys: tuple[Text, ...] = Field(default=(), description="The partition keys; kind `static`.")
    name: str | None = Field(
        default=None, description="Name of the set of partitions; kind `dynamic`."
    )
    dimensions: dict[str, "PartitionParams"] = Field(
        default_factory=dict, description="Two partitions by name; kind `multi`."
    )

    @field_validator("schedule_type", "type")
    @classmethod
    def _know_kind(cls, value: str | None) -> str | None:
        if value is not None and value.lower() not in PARTITION_KINDS:
            hint = did_you_mean(value.lower(), PARTITION_KINDS)
            raise ValueError(f"there are no partitions of the kind {value!r}.{hint}")
        return value

    @field_validator("timezone")
    @classmethod
    def _know_timezone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ValueError, OSError, KeyError) as error:
                raise ValueError(
                    f"there is no time zone {value!r}. Write one such as 'Europe/Berlin' or 'UTC'."
                ) from error
        return value

    @field_validator("cron_schedule")
    @classmethod
    def _look_like_cron(cls, value: str | None) -> str | None:
        return check_cron(value)

    @property
    def kind(self) -> str:
        """The kind of partitions, in the words of `PartitionSettings`."""
        named = self.type or self.schedule_type
        if named:
            return named.lower()
        if self.cron_schedule:
            return "cron"
        if self.keys:
            return "static"
        if self.dimensions:
            return "multi"
        return "dynamic" if self.name else ""

    @model_validator(mode="after")
    def _have_what_the_kind_needs(self) -> "PartitionParams":
        if self.type and self.schedule_type and self.type.lower() != self.schedule_type.lower():
            raise ValueError("`type` and `schedule_type` contradict. Keep one of them.")
        kind = self.kind
        if not kind:
            raise ValueError(
                "nothing says which partitions these are. Add `schedule_type: DAILY`, "
                "`cron_schedule`, `keys` or `name`."
            )
        needed = {"static": "keys", "dynamic": "name", "multi": "dimensions"}.get(kind, "start")
        if not getattr(self, needed):
            raise ValueError(f"{kind} partitions need `{needed}`. Add it.")
        if kind == "cron" and not self.cron_schedule:
            raise ValueError("cron partitions need `cron_schedule`. Add it.")
        if kind != "cron" and self.cron_schedule:
            raise ValueError(
                f"{kind} partitions take no `cron_schedule`. Remove it, or the kind of partitions."
            )
        taken = _TAKEN_BY.get(kind, ("minute_offset", "hour_offset", "day_offset"))
        for name in _ONLY_SOME_TAKE:
            if getattr(self, name) and name not in taken:
                raise ValueError(f"{kind} partitions take no `{name}`. Remove it.")
        if kind == "weekly" and self.day_offset > 6:
            raise ValueError("a week has the days 0 (Sunday) to 6. Change `day_offset`.")
        if kind == "multi" and len(self.dimensions) != 2:
            raise ValueError(f"`dimensions` takes two partitions, not {len(self.dimensions)}.")
        return self

    @model_validator(mode="after")
    def _have_times(self) -> "PartitionParams":
        times = {name: _time_of(getattr(self, name) or "", self.fmt) for name in ("start", "end")}
        for name, time in times.items():
            value = getattr(self, name)
            if value and time is None:
                shape = f", or in the form {self.fmt!r}" if self.fmt else ""
                raise ValueError(
                    f"{value!r} in `{name}` is not a time. Write one such as '2024-01-31'{shape}."
                )
        if times["start"] and times["end"] and times["end"] <= times["start"]:
            raise ValueError("`end` is not after `start`, so there is no partition. Change one.")
        return self

    def to_settings(self) -> PartitionSettings:
        """Return the partitions as plain data."""
        values = {field.name: getattr(self, field.name) for field in fields(PartitionSettings)}
        values["dimensions"] = {name: part.to_settings() for name, part in self.dimensions.items()}
        return PartitionSettings(**values)


_ONLY_SOME_TAKE = ("minute_offset", "hour_offset", "day_offset", "keys", "name", "dimensions")
"""Fields that Dagster has for some kinds of partitions only; for others they would do nothing."""

_TAKEN_BY: Mapping[str, tuple[str, ...]] = {
    "hourly": ("minute_offset",),
    "daily": ("minute_offset", "hour_offset"),
    "cron": (),
    "static": ("keys",),
    "dynamic": ("name",),
    "multi": ("dimensions",),
}
"""Which of them the kinds take; weeks and months take all offsets."""


def _time_of(text: str, fmt: str | None) -> datetime | None:
    """Return a time without its zone, or None."""
    with suppress(ValueError):
        # Dagster writes the keys of hourly partitions in a form that is not ISO.
        return read_time(text, (fmt, "%Y-%m-%d-%H:%M")).replace(tzinfo=None)
    return None


_CRON_WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_CRON_CHARACTERS = frozenset("0123456789*/,-#?LWlwABCDEFGHIJMNOPRSTUVYabcdefghijmnoprstuvy")


def check_cron(value: str | None) -> str | None:
    """Return a cron expression that has the right form.

    Only the form is looked at: Dagster, which this package does not know, has the last word.

    Raises:
        ValueError: It has not five fields, or a field with characters that cron does not have.
    """
    if value is None or value in _CRON_WORDS:
        return value
    fields = value.split()
    if len(fields) != 5 or not all(_CRON_CHARACTERS.issuperset(part) for part in fields):
        raise ValueError(
            f"{value!r} is not a cron expression. Write five fields, such as '0 6 * * *', or "
            "'@daily'."
        )
    return value
