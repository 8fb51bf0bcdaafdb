"""Ask 24: what each partition of a range got, and how many partitions one run takes."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTree
from dlt.sources import incremental

from loadsmith import (
    DagsterDltResource,
    DltLoadCollectionComponent,
    DltLoadSpecModel,
    build_definitions,
    dlt_assets,
)

DAYS = [f"2024-01-0{day}" for day in (1, 2, 3)]
FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
#: Three rows of the first day, none of the second, two of the third, one of the fourth.
MOMENTS = [
    *(FIRST + timedelta(hours=hours) for hours in (0, 12, 23)),
    *(FIRST + timedelta(days=2, hours=hours) for hours in (0, 5)),
    FIRST + timedelta(days=3),
]
DAILY = dg.DailyPartitionsDefinition("2024-01-01")
RANGE = {
    "dagster/asset_partition_range_start": DAYS[0],
    "dagster/asset_partition_range_end": DAYS[-1],
}

CURSORS: dict[str, Any] = {
    "times": lambda moment: moment,
    "naive": lambda moment: moment.replace(tzinfo=None),
    "days": lambda moment: moment.date(),
    # dlt makes times of these texts, and nobody of these numbers.
    "texts": lambda moment: moment.isoformat(),
    "seconds": lambda moment: int(moment.timestamp()),
}


def events_by_partition(told: Any, key: str) -> dict[str, Mapping[str, Any]]:
    found = {}
    for event in told.result.get_asset_materialization_events():
        if event.asset_key.to_user_string() == key:
            metadata = event.materialization.metadata
            found[str(event.partition)] = {name: value.value for name, value in metadata.items()}
    return found


def source_of(convert: Any, **hints: Any) -> Any:
    @dlt.source(name="one")
    def one() -> Any:
        @dlt.resource(name="events", **hints)
        def events(seen=incremental("seenAt")) -> Any:
            yield [
                {"id": number, "seenAt": convert(moment), "tags": ["x"]}
                for number, moment in enumerate(MOMENTS)
            ]

        return events

    return one()


@pytest.mark.parametrize("kind", CURSORS)
def test_ask_24_each_partition_of_a_range_says_its_own_rows(shop: Any, kind: str) -> None:
    assets = shop.assets(source_of(CURSORS[kind], write_disposition="append"), partitions_def=DAILY)
    # The second time replaces what the first has loaded.
    for _ in range(2):
        events = events_by_partition(shop.run(assets, tags=RANGE), "dlt_one_events")
        assert list(events) == DAYS
        for event in events.values():
            assert event["rows_loaded_in_all_partitions"] == 5
            assert event["partitions"] == "2024-01-01...2024-01-03 (3 partitions)"
        rows = [event.get("dagster/partition_row_count") for event in events.values()]
        assert rows == ([None] * 3 if kind == "seconds" else [3, 0, 2])
        # What cannot be told apart is the total, under the name that dagster-dlt has for it, too.
        told = [event["rows_loaded"] for event in events.values()]
        assert told == ([5] * 3 if kind == "seconds" else rows)
    assert shop.rows("SELECT count(*) FROM ds.events") == [(5,)]


def test_ask_24_a_file_system_shows_the_total_alone(shop: Any, tmp_path: Path) -> None:
    pipeline = dlt.pipeline(
        "files", destination=dlt.destinations.filesystem(str(tmp_path / "lake")), dataset_name="ds"
    )
    source = source_of(CURSORS["times"])
    assets = shop.assets(source, dlt_pipeline=pipeline, partitions_def=DAILY)
    events = events_by_partition(shop.run(assets, tags=RANGE), "dlt_one_events")
    assert [event["rows_loaded_in_all_partitions"] for event in events.values()] == [5, 5, 5]
    assert not any("dagster/partition_row_count" in event for event in events.values())


def test_ask_24_the_context_of_an_op_shows_the_total_alone(shop: Any) -> None:
    @dlt_assets(
        dlt_source=source_of(CURSORS["times"]), dlt_pipeline=shop.pipeline, partitions_def=DAILY
    )
    def loaded(context: dg.OpExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    events = events_by_partition(shop.run(loaded, tags=RANGE), "dlt_one_events")
    assert [event["rows_loaded_in_all_partitions"] for event in events.values()] == [5, 5, 5]


def test_ask_24_a_run_of_one_partition_is_not_asked_again(shop: Any) -> None:
    assets = shop.assets(source_of(CURSORS["times"]), partitions_def=DAILY)
    events = events_by_partition(shop.run(assets, partition_key=DAYS[0]), "dlt_one_events")
    assert events[DAYS[0]]["dagster/partition_row_count"] == 3


def test_ask_24_a_file_says_how_many_partitions_one_run_takes(shop: Any, tmp_path: Path) -> None:
    home = tmp_path / "odp_config"
    (home / "workflows").mkdir(parents=True)
    (home / "dagster_config.yaml").write_text("resources: []\n")
    load = {"source_module": "rest_api", "destination": "duckdb", "source_params": {"config": {}}}
    entries = [
        {"asset_key": f"crm/{name}", "task_type": "dlt", "params": load, **settings}
        for name, settings in (("two", {"max_partitions_per_run": 2}), ("all", {}))
    ]
    partitions = {
        "assets": ["crm/two", "crm/all"],
        "params": {"schedule_type": "DAILY", "start": DAYS[0]},
    }
    (home / "workflows" / "crm.yaml").write_text(
        yaml.safe_dump({"assets": entries, "partitions": [partitions]})
    )
    graph = build_definitions(home).resolve_asset_graph()
    policies = {
        key.path[-1]: graph.get(key).backfill_policy for key in graph.materializable_asset_keys
    }
    assert policies == {
        "two": dg.BackfillPolicy.multi_run(2),
        "all": dg.BackfillPolicy.single_run(),
    }


def test_ask_24_a_component_says_how_many_partitions_one_run_takes(shop: Any) -> None:
    component = DltLoadCollectionComponent(
        loads=[
            DltLoadSpecModel(
                source=source_of(CURSORS["times"]),
                pipeline=shop.pipeline,
                partitions_def={"type": "daily", "start": DAYS[0]},
                max_partitions_per_run=2,
            )
        ]
    )
    defs = component.build_defs(ComponentTree.for_test().load_context)
    graph = defs.resolve_asset_graph()
    (key,) = graph.materializable_asset_keys
    assert graph.get(key).backfill_policy == dg.BackfillPolicy.multi_run(2)
