"""Partitions, jobs and schedules as the users of dagster-odp write them."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest

from loadsmith.errors import ConfigError

Make = Callable[..., Any]

DAILY = """
assets:
  - asset_key: shop/api/orders
    task_type: dlt
    params:
      {LOAD, source_params: {since: "{{#date}}{{context.partition_key}}|%d.%m.%Y{{/date}}"}}
  - asset_key: day
    task_type: duckdb_query
    depends_on: [shop/api/orders]
    params:
      query: >
        select '{{context.partition_key}}' as key,
        '{{#date}}{{context.partition_window_end}}|%Y%m%d{{/date}}' as until,
        {{shop_api_orders.rows_loaded}} as loaded
"""

JOBS = """
partitions:
  - assets: [shop/api/orders, day]
    params: {start: "2024-01-01", schedule_type: DAILY}
jobs:
  - job_id: every_day
    description: Yesterday
    asset_selection: ["shop/api/orders*"]
    triggers:
      - trigger_id: by_partition
        trigger_type: schedule
        description: After midnight
        params: {schedule_kind: partition, schedule_params: {hour_of_day: 3}}
      - trigger_id: by_cron
        trigger_type: schedule
        params: {schedule_kind: cron, schedule_params: {cron_schedule: "0 6 * * *"}}
"""


def test_a_partition_reaches_load_and_query_from_another_file(make_project: Make) -> None:
    project = make_project(assets=DAILY, jobs=JOBS)
    project.build()
    metadata = project.metadata(project.run(partition_key="2024-01-31"))
    assert project.rows("select distinct since from shop_data.orders") == [("31.01.2024",)]
    assert "| 2024-01-31 | 20240201 | 2 |" in metadata["day"]["preview"]


def test_a_parent_is_asked_for_the_same_partition(make_project: Make) -> None:
    project = make_project(assets=DAILY, jobs=JOBS)
    project.build()
    project.run("shop/api/orders", partition_key="2024-01-01")
    result = project.run("day", partition_key="2024-01-02", fails=True)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "(partition 2024-01-02)" in failure.event_specific_data.error.to_string()
    project.run("day", partition_key="2024-01-01")


def test_jobs_and_schedules_are_built(make_project: Make) -> None:
    project = make_project(assets=DAILY, jobs=JOBS)
    definitions = project.build()
    job = definitions.resolve_job_def("every_day")
    assert job.description == "Yesterday"
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "shop/api/orders",
        "shop/api/orders__items",
        "day",
    }
    assert definitions.resolve_schedule_def("by_partition").cron_schedule == "0 3 * * *"
    assert definitions.resolve_schedule_def("by_cron").cron_schedule == "0 6 * * *"


def test_a_cron_schedule_of_a_partitioned_job_runs_the_latest_partition(
    make_project: Make,
) -> None:
    project = make_project(assets=DAILY, jobs=JOBS)
    definitions = project.build()
    # The tick opens the instance anew, so that an ephemeral one will not do.
    with dg.instance_for_test() as stored:
        context = dg.build_schedule_context(
            instance=stored,
            scheduled_execution_time=datetime(2024, 3, 5, 6, tzinfo=timezone.utc),
            repository_def=definitions.get_repository_def(),
        )
        tick = definitions.resolve_schedule_def("by_cron").evaluate_tick(context)
    assert [request.partition_key for request in tick.run_requests or ()] == ["2024-03-04"]


def test_a_schedule_by_partition_needs_partitions(make_project: Make) -> None:
    project = make_project(
        assets=DAILY.replace("context.partition_key", "utils.now").replace(
            "context.partition_window_end", "utils.now"
        ),
        jobs="""
        jobs:
          - job_id: every_day
            asset_selection: [day]
            triggers:
              - trigger_id: by_partition
                trigger_type: schedule
                params: {schedule_kind: partition}
        """,
    )
    with pytest.raises(ConfigError, match=r"jobs.yaml:7.*have no partitions"):
        project.build()


def test_a_selection_that_is_none_is_told_with_its_place(make_project: Make) -> None:
    project = make_project(
        assets=DAILY, jobs="jobs:\n  - job_id: odd\n    asset_selection: ['group:(']"
    )
    with pytest.raises(ConfigError, match=r"jobs.yaml:3.*no asset selection"):
        project.build()


def test_partitions_of_a_nested_table_belong_to_its_load(make_project: Make) -> None:
    project = make_project(
        assets=DAILY,
        jobs="""
        partitions:
          - assets: [shop/api/orders__items]
            params: {start: "2024-01-01", schedule_type: DAILY}
        """,
    )
    with pytest.raises(ConfigError, match="loaded together with 'shop/api/orders'"):
        project.build()


def test_a_load_that_asks_for_the_partition_key_has_a_run_for_each(make_project: Make) -> None:
    project = make_project(assets=DAILY, jobs=JOBS)
    graph = project.build().resolve_asset_graph()
    keyed = graph.get(dg.AssetKey(["shop", "api", "orders"])).backfill_policy
    assert keyed == dg.BackfillPolicy.multi_run(1)
    windowed = make_project(
        "windowed",
        assets=DAILY.replace("partition_key", "run_id"),
        jobs=JOBS.partition("jobs:")[0],
    )
    graph = windowed.build().resolve_asset_graph()
    policy = graph.get(dg.AssetKey(["shop", "api", "orders"])).backfill_policy
    assert policy == dg.BackfillPolicy.single_run()
