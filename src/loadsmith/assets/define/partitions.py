"""Build partitions from settings, and read the partitions and the window of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import dagster as dg

from loadsmith.assets.define.automation import check_cron, check_timezone
from loadsmith.errors import ConfigError, SelectionError, did_you_mean
from loadsmith.model import PartitionSettings, Window, read_time

Partitions: TypeAlias = dg.PartitionsDefinition[Any]

_HOURLY_FORMAT = "%Y-%m-%d-%H:%M"
_DAILY_FORMAT = "%Y-%m-%d"
_TIME_KINDS = {
    "hourly": _HOURLY_FORMAT,
    "daily": _DAILY_FORMAT,
    "weekly": _DAILY_FORMAT,
    "monthly": _DAILY_FORMAT,
    "cron": _HOURLY_FORMAT,
}
_KINDS = (*_TIME_KINDS, "static", "dynamic", "multi")


@dataclass(frozen=True, kw_only=True)
class RunPartitions:
    """The partitions of a run.

    Attributes:
        keys: Partition keys in order; empty for a run without partitions.
        window: The time from the first to the last partition, if the partitions are time windows.
        windows: The window of each key, if there are several keys and they are time windows.
    """

    keys: tuple[str, ...] = ()
    window: Window | None = None
    windows: tuple[Window, ...] = ()

    @property
    def key(self) -> str | None:
        """The only key, or all keys if several keys have no window."""
        if len(self.keys) == 1:
            return self.keys[0]
        return ",".join(self.keys) if self.keys and self.window is None else None

    @property
    def label(self) -> str:
        """The keys as text for people."""
        if len(self.keys) < 2:
            return self.keys[0] if self.keys else ""
        return f"{self.keys[0]}...{self.keys[-1]} ({len(self.keys)} partitions)"


def build_partitions_def(settings: PartitionSettings, *, where: str = "partitions") -> Partitions:
    """Build Dagster's partitions from plain data.

    Raises:
        ConfigError: The kind, a time, a schedule or a time zone is wrong, or a part is missing.
    """
    kind = settings.kind.lower()
    if kind in _TIME_KINDS:
        return _build_time_windows(kind, settings, where)
    if kind == "static":
        if not settings.keys:
            raise ConfigError(f"{where}: static partitions need 'keys'. List them.")
        return dg.StaticPartitionsDefinition(list(settings.keys))
    if kind == "dynamic":
        if not settings.name:
            raise ConfigError(f"{where}: dynamic partitions need a 'name'. Give one.")
        return dg.DynamicPartitionsDefinition(name=settings.name)
    if kind == "multi":
        if len(settings.dimensions) != 2:
            raise ConfigError(
                f"{where}: multi partitions have two 'dimensions', not "
                f"{len(settings.dimensions)}. Dagster takes neither fewer nor more."
            )
        return dg.MultiPartitionsDefinition(
            {
                name: build_partitions_def(dimension, where=f"{where}.dimensions.{name}")
                for name, dimension in settings.dimensions.items()
            }
        )
    raise ConfigError(
        f"{where}: there are no partitions of kind '{settings.kind}'.{did_you_mean(kind, _KINDS)}"
    )


def build_backfill_policy(
    partitions: Partitions | None,
    max_partitions_per_run: int | None = None,
    *,
    may_have_cursor: bool = True,
) -> dg.BackfillPolicy | None:
    """Return the policy of a load: a single run for time windows, else a run per partition.

    Windows with exclusions are no single window.
    None where no cursor needs a policy, as in dagster-dlt: a job refuses assets of several.
    """
    if partitions is None:
        return None
    if max_partitions_per_run is not None:
        return dg.BackfillPolicy.multi_run(max_partitions_per_run)
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        has_gaps = bool(partitions.exclusions)
        return dg.BackfillPolicy.multi_run(1) if has_gaps else dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(1) if may_have_cursor else None


def read_partitions(context: Any) -> RunPartitions:
    """Read the partitions of the run of an asset or an op."""
    if not context.has_partition_key and not context.has_partition_key_range:
        return RunPartitions()
    partitions = context.assets_def.partitions_def if context.has_assets_def else None
    if partitions is None:
        return RunPartitions(keys=(str(context.partition_key),), window=_window_of_op(context))
    keys: Sequence[str] = list(context.partition_keys)
    window = window_of_keys(partitions, keys)
    several = keys if window is not None and len(keys) > 1 else ()
    return RunPartitions(
        keys=tuple(str(key) for key in keys),
        window=window,
        windows=tuple(
            found for key in several if (found := window_of_keys(partitions, [key])) is not None
        ),
    )


def has_all_partitions(context: Any, found: RunPartitions) -> bool:
    """Tell whether a run has all partitions that there are."""
    partitions = context.assets_def.partitions_def if context.has_assets_def else None
    if partitions is None or not found.keys:
        return False
    known = partitions.get_partition_keys(dynamic_partitions_store=context.instance)
    return set(known) <= set(found.keys)


def window_of_keys(partitions: Partitions, keys: Sequence[str]) -> Window | None:
    """Return the time from the first to the last of `keys`; None if partitions are no windows.

    Raises:
        SelectionError: A run has several partitions of the other dimension. A window cannot
            separate their rows.
    """
    if not keys:
        return None
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        ends = keys if partitions.exclusions else (keys[0], keys[-1])
        windows = [partitions.time_window_for_partition_key(key) for key in ends]
        return _one_window(keys, windows, is_whole=bool(partitions.exclusions))
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return _window_of_multi(partitions, keys)
    return None


def _window_of_multi(
    partitions: dg.MultiPartitionsDefinition, keys: Sequence[str]
) -> Window | None:
    timed = [
        dimension
        for dimension in partitions.partitions_defs
        if isinstance(dimension.partitions_def, dg.TimeWindowPartitionsDefinition)
    ]
    if len(timed) != 1:
        return None
    time = timed[0]
    assert isinstance(time.partitions_def, dg.TimeWindowPartitionsDefinition)
    parts = [
        (
            key
            if isinstance(key, dg.MultiPartitionKey)
            else partitions.get_partition_key_from_str(key)
        ).keys_by_dimension
        for key in keys
    ]
    others = {tuple(value for name, value in part.items() if name != time.name) for part in parts}
    if len(others) > 1:
        raise SelectionError(
            f"partitions {keys[0]}...{keys[-1]}: one run cannot load several partitions beside "
            "the time. Set backfill_policy=dg.BackfillPolicy.multi_run(1)."
        )
    windows = sorted(
        (time.partitions_def.time_window_for_partition_key(part[time.name]) for part in parts),
        key=lambda window: window.start,
    )
    return _one_window(keys, windows, is_whole=True)


def _one_window(keys: Sequence[str], windows: Sequence[Any], *, is_whole: bool) -> Window:
    """Return the window that the windows of partitions make up.

    Args:
        keys: The partition keys, for the message.
        windows: Their windows in the order of time.
        is_whole: Whether all windows are there; otherwise the first and the last.

    Raises:
        SelectionError: There is a gap, as `exclusions` leave. The window would hold rows that
            belong to none of the partitions.
    """
    gaps = ((one, next_one) for one, next_one in pairwise(windows) if one.end < next_one.start)
    gap = next(gaps, None) if is_whole else None
    if gap is not None:
        raise SelectionError(
            f"partitions {keys[0]}...{keys[-1]}: the time from {gap[0].end.isoformat()} to"
            f" {gap[1].start.isoformat()} belongs to none of them, and one run loads one window."
            " Set backfill_policy=dg.BackfillPolicy.multi_run(1), or max_partitions_per_run: 1."
        )
    return Window(start=windows[0].start, end=windows[-1].end)


def _window_of_op(context: Any) -> Window | None:
    """Return the window of an op in a partitioned job; None if it has no window."""
    try:
        window = context.partition_time_window
    except (dg.DagsterError, ValueError):
        return None
    return Window(start=window.start, end=window.end)


def _build_time_windows(kind: str, settings: PartitionSettings, where: str) -> Partitions:
    if settings.start is None:
        raise ConfigError(f"{where}: {kind} partitions need a 'start'. Give a date.")
    timezone = check_timezone(settings.timezone or "UTC", where=f"{where}.timezone")
    fmt = settings.fmt or _TIME_KINDS[kind]
    shared: dict[str, Any] = {
        "start": _time_of(settings.start, fmt, timezone, f"{where}.start"),
        "end": _time_of(settings.end, fmt, timezone, f"{where}.end") if settings.end else None,
        "timezone": timezone,
        "fmt": fmt,
        "end_offset": settings.end_offset,
    }
    if kind == "cron":
        if not settings.cron_schedule:
            raise ConfigError(f"{where}: cron partitions need a 'cron_schedule'. Give one.")
        schedule = check_cron(settings.cron_schedule, where=f"{where}.cron_schedule")
        return dg.TimeWindowPartitionsDefinition(cron_schedule=schedule, **shared)
    shared["start_date"], shared["end_date"] = shared.pop("start"), shared.pop("end")
    minute, hour, day = settings.minute_offset, settings.hour_offset, settings.day_offset
    if kind == "hourly":
        return dg.HourlyPartitionsDefinition(minute_offset=minute, **shared)
    if kind == "daily":
        return dg.DailyPartitionsDefinition(minute_offset=minute, hour_offset=hour, **shared)
    if kind == "weekly":
        return dg.WeeklyPartitionsDefinition(
            minute_offset=minute, hour_offset=hour, day_offset=day, **shared
        )
    return dg.MonthlyPartitionsDefinition(
        # A month has no day 0, and Dagster's own default is its first day.
        minute_offset=minute,
        hour_offset=hour,
        day_offset=day or 1,
        **shared,
    )


def _time_of(text: str, fmt: str, timezone: str, where: str) -> datetime:
    try:
        time = read_time(text, [fmt])
    except ValueError as error:
        raise ConfigError(
            f"{where}: {text!r} is no time. Write it as {fmt!r} or in ISO form."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=ZoneInfo(timezone))
