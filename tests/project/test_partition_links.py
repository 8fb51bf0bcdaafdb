"""Which partitions of a parent belong to those of a run."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from loadsmith import Task, TaskContext, task_type
from loadsmith.project.partition_links import parent_partitions

Make = Callable[..., Any]

DAY = dg.DailyPartitionsDefinition("2024-01-01")
WEEK = dg.WeeklyPartitionsDefinition("2024-01-01")
MONTH = dg.MonthlyPartitionsDefinition("2024-01-01")
SHOPS = dg.StaticPartitionsDefinition(["a", "b"])
OTHERS = dg.StaticPartitionsDefinition(["b", "c"])
BOTH = dg.MultiPartitionsDefinition({"day": DAY, "shop": SHOPS})


@pytest.mark.parametrize(
    ("own", "keys", "parent", "expected"),
    [
        (DAY, ["2024-01-15"], DAY, ["2024-01-15"]),
        (DAY, ["2024-01-15"], MONTH, ["2024-01-01"]),
        (DAY, ["2024-01-31", "2024-02-01"], MONTH, ["2024-01-01", "2024-02-01"]),
        (WEEK, ["2024-01-28"], MONTH, ["2024-01-01", "2024-02-01"]),
        (MONTH, ["2024-02-01"], DAY, [f"2024-02-{day:02}" for day in range(1, 30)]),
        (SHOPS, ["a"], OTHERS, []),
        (SHOPS, ["b"], OTHERS, ["b"]),
        (SHOPS, ["a"], DAY, None),
        (BOTH, ["2024-01-15|a"], DAY, ["2024-01-15"]),
        (BOTH, ["2024-01-15|a"], MONTH, ["2024-01-01"]),
        (BOTH, ["2024-01-15|a"], SHOPS, ["a"]),
        (DAY, ["2024-01-15"], BOTH, ["2024-01-15|a", "2024-01-15|b"]),
    ],
)
def test_partitions_belong_to_those_that_they_overlap_or_are_called_like(
    own: Any, keys: list[str], parent: Any, expected: list[str] | None
) -> None:
    found = parent_partitions(own, keys, parent)
    assert (None if found is None else [str(key) for key in found]) == expected


@task_type("tell_partitions")
class TellPartitions(Task):
    month: str

    def run(self, context: TaskContext) -> dict[str, Any]:
        assert context.partition_key is None
        assert context.window is not None
        start, end = context.window
        return {
            "keys": list(context.partition_keys),
            "window": f"{start:%d.%m.} to {end:%d.%m.}",
            "month": self.month,
        }


FILES = """
assets:
  - asset_key: month
    task_type: duckdb_query
    params: {query: "select '{{context.partition_key}}' as m"}
  - asset_key: days
    task_type: tell_partitions
    depends_on: [month]
    max_partitions_per_run: 5
    params: {month: "{{month.preview}}"}
partitions:
  - {assets: [month], params: {start: 2024-01-01, schedule_type: MONTHLY}}
  - {assets: [days], params: {start: 2024-01-01, schedule_type: DAILY}}
"""


def run_days(project: Any, first: str, last: str) -> Any:
    job = project.definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=project.instance,
        asset_selection=[dg.AssetKey("days")],
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )


def test_a_task_takes_several_partitions_and_the_parents_that_belong_to_them(
    make_project: Make,
) -> None:
    project = make_project(w=FILES)
    project.build()
    project.run("month", partition_key="2024-01-01")
    project.run("month", partition_key="2024-02-01")
    done = run_days(project, "2024-01-10", "2024-01-12")
    assert done.success
    events = done.get_asset_materialization_events()
    assert {event.partition for event in events} == {f"2024-01-{day}" for day in (10, 11, 12)}
    metadata = project.metadata(done)["days"]
    assert metadata["keys"] == ["2024-01-10", "2024-01-11", "2024-01-12"]
    assert metadata["window"] == "10.01. to 13.01."
    assert "2024-01-01" in metadata["month"]


def test_a_parents_partition_that_is_missing_is_named(make_project: Make) -> None:
    project = make_project(w=FILES)
    project.build()
    project.run("month", partition_key="2024-01-01")
    failed = run_days(project, "2024-02-10", "2024-02-12")
    [failure] = [event for event in failed.all_events if event.is_step_failure]
    assert "'month' (partition 2024-02-01) was not" in failure.event_specific_data.error.to_string()


def test_a_table_that_never_had_a_row_is_told_from_a_wrong_name(make_project: Make) -> None:
    project = make_project(
        w="""
        assets:
          - asset_key: shop/orders
            task_type: dlt
            params: {LOAD, source_params: {rows: 0}}
          - asset_key: q
            task_type: duckdb_query
            depends_on: [shop/orders]
            params: {query: "select * from {{shop_orders.destination_table_id}}"}
        """
    )
    project.build()
    failed = project.run(fails=True)
    [failure] = [event for event in failed.all_events if event.is_step_failure]
    text = failure.event_specific_data.error.to_string()
    assert "workflows/w.yaml:5:5: " in text
    assert "Table with name orders does not exist" in text
    assert "A table that never had a row is not in its destination yet" in text


def test_a_load_whose_variable_has_no_value_names_its_lines(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_NAME", raising=False)
    project = make_project(
        w="""
        assets:
          - asset_key: shop/orders
            task_type: dlt
            params: {LOAD, source_params: {since: "{{env.NO_SUCH_NAME}}"}}
          - asset_key: shop/people
            task_type: dlt
            depends_on: [later]
            params: {LOAD, source_params: {since: "{{later.row_count}}"}}
          - asset_key: later
            task_type: duckdb_query
            params: {query: select 1}
        """
    )
    project.build()
    failed = project.run("shop/orders", "shop/humans", fails=True)
    texts = [
        event.event_specific_data.error.to_string()
        for event in failed.all_events
        if event.is_step_failure
    ]
    assert any("w.yaml:2:5: the environment variable 'NO_SUCH_NAME'" in text for text in texts)
    assert any("w.yaml:5:5: the asset 'later' was not materialized yet" in text for text in texts)
