"""What can be set on a load, on one of its resources and on their partitions; one text per option.

The YAML door, the `defaults` block of its files and the component read the same models, so that
a setting has one name, one description and one JSON Schema wherever it is written.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from loadsmith.errors import did_you_mean
from loadsmith.model import AssetAttributes, OpSettings, PartitionSettings


class Settings(BaseModel):
    """Base of all models of the files: frozen, and a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_text(value: Any) -> Any:
    """Give back as text what YAML turned into a date or a number, such as `start: 2024-01-01`."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


Text = Annotated[str, BeforeValidator(_as_text)]
"""A string that may be written without quotes, as a date or a number."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""A list of names, or one name alone."""


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `own` over `defaults`: mappings key by key, all else as a whole."""
    found = dict(defaults)
    for name, value in own.items():
        before = found.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[name] = merged(before, value)
        else:
            found[name] = value
    return found


CHECKS = ("primary_key", "row_count", "schema_change", "schema_contract")
"""Names of the checks that a load can ask for."""


class RetryPolicySettings(Settings):
    """How often a failed load is tried again, and when."""

    max_retries: int = Field(default=1, ge=0, description="Retries after a failure.")
    delay: float | None = Field(
        default=None, ge=0, description="Seconds before the first retry; at once if left out."
    )
    backoff: Literal["linear", "exponential"] | None = Field(
        default=None, description="How the delay grows; the same each time if left out."
    )
    jitter: Literal["full", "plus_minus"] | None = Field(
        default=None, description="How much chance there is in the delay; none if left out."
    )

    def to_retries(self) -> dict[str, Any]:
        """Return the fields of `OpSettings` that say the same."""
        return {
            "max_retries": self.max_retries,
            "retry_delay_seconds": self.delay,
            "retry_backoff": self.backoff,
            "retry_jitter": self.jitter,
        }


class ResourceSettings(Settings):
    """Dagster's settings of the assets of one dlt resource."""

    group_name: str | None = Field(default=None, description="Dagster group of the assets.")
    description: str | None = Field(default=None, description="Text on the asset's page.")
    owners: Names = Field(
        default=(), description="E-mail addresses, or teams as `team:name`, that own the assets."
    )
    tags: dict[str, Text] = Field(
        default_factory=dict, description="Dagster tags of the assets: text by name."
    )
    kinds: Names = Field(
        default=(), description="Kinds shown on the assets, beside dlt and the destination."
    )
    deps: Names = Field(
        default=(),
        description="Keys of assets that these come from, such as assets of another project.",
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Further metadata of the assets: plain values by name."
    )
    automation_condition: str | None = Field(
        default=None,
        description=(
            "When Dagster materializes the assets by itself: `eager`, `on_cron`, `on_missing` or "
            "`on_schedule`."
        ),
    )
    automation_condition_config: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the condition: `cron_schedule` and `cron_timezone`.",
    )
    freshness_lower_bound_delta_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Age in seconds from which a freshness check of the assets fails.",
    )
    checks: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description=(
            "Asset checks to make: `primary_key`, `row_count`, `schema_change`, `schema_contract`, "
            "as a list of names or with settings by name."
        ),
    )

    @field_validator("checks", mode="before")
    @classmethod
    def _name_checks(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            value = {name: {} for name in value}
        if isinstance(value, Mapping):
            value = {name: {} if given in (None, True) else given for name, given in value.items()}
            for name in value:
                if name not in CHECKS:
                    raise ValueError(f"there is no check {name!r}.{did_you_mean(name, CHECKS)}")
        return value

    def to_attributes(self) -> AssetAttributes:
        """Return the settings of the assets as plain data."""
        return AssetAttributes(
            group_name=self.group_name,
            description=self.description,
            owners=self.owners,
            tags=dict(self.tags),
            kinds=self.kinds,
            deps=self.deps,
            metadata=dict(self.metadata),
            automation_condition=self.automation_condition,
            automation_condition_config=dict(self.automation_condition_config),
            freshness_lower_bound_delta_seconds=self.freshness_lower_bound_delta_seconds,
            checks=dict(self.checks),
        )


class ResourceOpSettings(ResourceSettings):
    """Dagster's settings of the assets of one dlt resource, and of an op of its own."""

    pool: str | None = Field(
        default=None, description="Dagster pool that limits how many such loads run at once."
    )
    op_tags: dict[str, Any] = Field(
        default_factory=dict, description="Tags of the op, such as `dagster-k8s/config`."
    )
    retry_policy: RetryPolicySettings | None = Field(
        default=None, description="What happens after a failure; nothing if left out."
    )

    def own_op(self, of_load: OpSettings) -> OpSettings | None:
        """Return how the op of the resource is run, or None where that of the load loads it.

        Args:
            of_load: What holds where this says nothing; tags are merged.
        """
        if not (self.pool or self.op_tags or self.retry_policy):
            return None
        retries = self.retry_policy.to_retries() if self.retry_policy else {}
        return replace(
            of_load,
            pool=self.pool or of_load.pool,
            op_tags={**of_load.op_tags, **self.op_tags},
            **retries,
        )


class AssetSettings(ResourceOpSettings):
    """Dagster's settings of the assets of a load, and of the op that loads them."""

    max_partitions_per_run: int | None = Field(
        default=None,
        ge=1,
        description="Partitions of a backfill that one run takes; as many as fit if left out.",
    )

    def to_op_settings(self) -> OpSettings:
        """Return the settings of the op as plain data."""
        return OpSettings(
            pool=self.pool,
            op_tags=dict(self.op_tags),
            max_partitions_per_run=self.max_partitions_per_run,
            **(self.retry_policy.to_retries() if self.retry_policy else {}),
        )


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
        return PartitionSettings(
            kind=self.kind,
            start=self.start,
            end=self.end,
            cron_schedule=self.cron_schedule,
            timezone=self.timezone,
            fmt=self.fmt,
            minute_offset=self.minute_offset,
            hour_offset=self.hour_offset,
            day_offset=self.day_offset,
            end_offset=self.end_offset,
            keys=self.keys,
            name=self.name,
            dimensions={name: part.to_settings() for name, part in self.dimensions.items()},
        )


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
    # Dagster writes the keys of hourly partitions in a form that is not ISO.
    for form in (fmt, "%Y-%m-%d-%H:%M"):
        with suppress(ValueError):
            if form:
                return datetime.strptime(text, form).replace(tzinfo=None)
    with suppress(ValueError):
        iso = text[:-1] + "+00:00" if text.endswith("Z") else text
        return datetime.fromisoformat(iso).replace(tzinfo=None)
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
