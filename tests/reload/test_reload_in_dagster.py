"""What a user of Dagster sees and says when a partition is loaded again."""

import uuid
from typing import Any

import dagster as dg
import dlt
import pytest
from days import Warehouse

from loadsmith import DagsterDltResource, dlt_assets

DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")


@pytest.fixture
def materialize(either: Warehouse) -> Any:
    """Load the days of a warehouse as assets; gives the metadata of the events' asset."""

    @dlt_assets(
        dlt_source=either.source(),
        dlt_pipeline=lambda: dlt.pipeline(
            f"days_{either.dataset}",
            destination=either.destination(),
            dataset_name=either.dataset,
            pipelines_dir=str(either.folder / "pipelines"),
        ),
        partitions_def=DAILY,
        name=f"days_{uuid.uuid4().hex[:6]}",
    )
    def days(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
        yield from loads.run(context=context)

    def run(first: str, last: str | None = None, **tags: str) -> list[dict[str, Any]]:
        window = (
            {}
            if last is None
            else {
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
        )
        result = dg.materialize(
            [days],
            resources={"loads": DagsterDltResource()},
            instance=instance,
            partition_key=first if last is None else None,
            tags={**window, **{f"loadsmith/{name}": value for name, value in tags.items()}},
            raise_on_error=False,
        )
        if not result.success:
            return []
        return [
            {name: value.value for name, value in event.materialization.metadata.items()}
            for event in result.get_asset_materialization_events()
            if event.asset_key.path[-1].endswith("events")
        ]

    with dg.DagsterInstance.ephemeral() as instance:
        yield run


def test_a_materialization_says_what_it_has_replaced(either, materialize):
    (first,) = materialize("2024-01-01")
    assert "rows_replaced" not in first
    either.rows[1] = [4, 5, 6]
    (second,) = materialize("2024-01-01")
    assert (second["rows_loaded"], second["rows_replaced"]) == (3, 2)
    assert second["partition rows before"] == 2
    assert either.held() == either.expected(1)


def test_a_tag_of_a_run_keeps_the_way_of_dlt(either, materialize):
    materialize("2024-01-01")
    materialize("2024-01-01", reload="append")
    assert set(either.held().values()) == {2}
    assert materialize("2024-01-01", reload="apend") == []


def test_a_run_over_all_partitions_may_drop_what_they_hold(either, materialize):
    materialize("2024-01-01")
    either.rows[1] = [9]
    assert materialize("2024-01-01", refresh="drop_resources") == []
    assert materialize("2024-01-01", "2024-01-02", refresh="drop_resources") == []
    assert len(materialize("2024-01-01", "2024-01-03", refresh="drop_resources")) == 3
    assert either.held() == either.expected(1, 2, 3)
