"""Settings become partitions; the keys of a run become one window."""

from datetime import datetime, timezone

import dagster as dg
import pytest

from loadsmith.assets.define import (
    RunPartitions,
    build_backfill_policy,
    build_partitions_def,
    window_of_keys,
)
from loadsmith.errors import ConfigError, SelectionError
from loadsmith.model import PartitionSettings

DAILY = PartitionSettings(kind="daily", start="2024-01-01")
COLORS = PartitionSettings(kind="static", keys=("red", "blue"))


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("kind", "start", "key", "end"),
    [
        ("hourly", "2024-01-01-00:00", "2024-01-02-03:00", utc(2024, 1, 2, 4)),
        ("daily", "2024-01-01", "2024-01-02", utc(2024, 1, 3)),
        ("weekly", "2024-01-07", "2024-01-07", utc(2024, 1, 14)),
        ("monthly", "2024-01-01", "2024-02-01", utc(2024, 3, 1)),
        ("cron", "2024-01-01", "2024-01-02-06:00", utc(2024, 1, 2, 18)),
    ],
)
def test_time_partitions_of_each_kind_give_a_half_open_window(kind, start, key, end):
    schedule = "0 6,18 * * *" if kind == "cron" else None
    partitions = build_partitions_def(
        PartitionSettings(kind=kind, start=start, cron_schedule=schedule)
    )
    window = window_of_keys(partitions, [key])
    assert window.end == end
    assert window.start < window.end


def test_a_range_of_keys_is_one_window():
    keys = ["2024-01-02", "2024-01-03", "2024-01-04"]
    window = window_of_keys(build_partitions_def(DAILY), keys)
    assert (window.start, window.end) == (utc(2024, 1, 2), utc(2024, 1, 5))


def test_a_start_may_be_iso_text_and_the_time_zone_counts():
    partitions = build_partitions_def(
        PartitionSettings(kind="daily", start="2024-01-01T00:00:00", timezone="europe/berlin")
    )
    assert window_of_keys(partitions, ["2024-01-02"]).start == utc(2024, 1, 1, 23)


def test_static_and_dynamic_partitions_are_no_window():
    assert window_of_keys(build_partitions_def(COLORS), ["red"]) is None
    dynamic = build_partitions_def(PartitionSettings(kind="dynamic", name="tenants"))
    assert dynamic.name == "tenants"
    assert window_of_keys(dynamic, ["a"]) is None


def test_the_time_dimension_of_multi_partitions_gives_the_window():
    partitions = build_partitions_def(
        PartitionSettings(kind="multi", dimensions={"day": DAILY, "color": COLORS})
    )
    key = dg.MultiPartitionKey({"day": "2024-01-02", "color": "red"})
    assert window_of_keys(partitions, [key]).start == utc(2024, 1, 2)
    assert window_of_keys(partitions, [str(key)]).end == utc(2024, 1, 3)
    other = dg.MultiPartitionKey({"day": "2024-01-02", "color": "blue"})
    with pytest.raises(SelectionError, match="one run cannot load several"):
        window_of_keys(partitions, [key, other])


def test_windows_go_into_one_run_and_others_one_by_one():
    assert build_backfill_policy(None) is None
    daily, colors = build_partitions_def(DAILY), build_partitions_def(COLORS)
    assert build_backfill_policy(daily) == dg.BackfillPolicy.single_run()
    assert build_backfill_policy(colors) == dg.BackfillPolicy.multi_run(1)
    assert build_backfill_policy(daily, 7) == dg.BackfillPolicy.multi_run(7)


def test_the_state_of_several_keys_without_a_window_is_that_of_none_alone():
    assert RunPartitions(keys=("a",)).key == "a"
    assert RunPartitions(keys=("a", "b")).key == "a,b"
    assert RunPartitions(keys=("a", "b")).label == "a...b (2 partitions)"
    assert RunPartitions().key is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PartitionSettings(kind="dayly"), "Did you mean 'daily'"),
        (PartitionSettings(kind="daily"), "need a 'start'"),
        (PartitionSettings(kind="daily", start="tomorrow"), "'tomorrow' is no time"),
        (PartitionSettings(kind="daily", start="2024-01-01", timezone="Mars"), "no time zone"),
        (PartitionSettings(kind="cron", start="2024-01-01"), "need a 'cron_schedule'"),
        (
            PartitionSettings(kind="cron", start="2024-01-01", cron_schedule="often"),
            "no cron schedule",
        ),
        (PartitionSettings(kind="static"), "need 'keys'"),
        (PartitionSettings(kind="dynamic"), "need a 'name'"),
        (PartitionSettings(kind="multi", dimensions={"a": COLORS}), "two 'dimensions'"),
    ],
)
def test_a_mistake_in_the_settings_says_what_to_do(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_partitions_def(settings)


def test_a_window_over_partitions_that_are_excluded_is_refused():
    daily = dg.TimeWindowPartitionsDefinition(
        start="2024-01-01",
        fmt="%Y-%m-%d",
        cron_schedule="0 0 * * *",
        exclusions=["0 0 2 * *"],
        end="2024-01-09",
    )
    days = daily.get_partition_keys()
    assert "2024-01-02" not in days
    with pytest.raises(SelectionError, match=r"2024-01-02T00:00:00.* belongs to none of them"):
        window_of_keys(daily, days)
    assert window_of_keys(daily, days[1:]).start == utc(2024, 1, 3)
    assert window_of_keys(daily, days[:1]).end == utc(2024, 1, 2)
    assert build_backfill_policy(daily) == dg.BackfillPolicy.multi_run(1)

    both = dg.MultiPartitionsDefinition(
        {"day": daily, "color": dg.StaticPartitionsDefinition(["red"])}
    )
    keys = [dg.MultiPartitionKey({"day": day, "color": "red"}) for day in days]
    with pytest.raises(SelectionError, match="belongs to none of them"):
        window_of_keys(both, keys)
    assert window_of_keys(both, keys[1:]).end == utc(2024, 1, 9)
