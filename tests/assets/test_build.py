"""Definitions in plain data become assets, ops, checks and sensors, and run."""

import json
from pathlib import Path

import dagster as dg
import pytest

from loadsmith.assets.build import (
    build_assets,
    build_load_definitions,
    build_retry_policy,
    with_unique_names,
)
from loadsmith.assets.define import DagsterDltTranslator, build_specs, split_load
from loadsmith.engine.snapshots import inspect_load
from loadsmith.errors import ConfigError, ResolveError
from loadsmith.model import (
    AssetAttributes,
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    OpSettings,
    PartitionSettings,
    PipelineSettings,
    ResourceSelection,
    ResourceSnapshot,
    SourceReference,
    TableSnapshot,
)

SOURCE = '''
from datetime import datetime, timedelta, timezone

import dlt

START = datetime(2024, 1, 1, tzinfo=timezone.utc)


@dlt.source(name="shop")
def shop():
    @dlt.resource(primary_key="id")
    def orders():
        """Orders."""
        yield {"id": 1, "items": [{"sku": "a"}, {"sku": "b"}]}

    @dlt.resource
    def users():
        yield [{"id": 1}, {"id": 2}]

    @dlt.resource
    def visits(at=dlt.sources.incremental("at", initial_value=START)):
        yield [{"n": n, "at": START + timedelta(hours=12 * n)} for n in range(10)]

    return orders, users, visits
'''


@pytest.fixture
def load(tmp_path, database):
    (tmp_path / "shop_source.py").write_text(SOURCE)

    def definition(**settings):
        return LoadDefinition(
            **{
                "name": "shop",
                "source": SourceReference(module="shop_source", search_path=str(tmp_path)),
                "pipeline": PipelineSettings(pipeline_name="shop", dataset_name="ds"),
                "destination": DestinationReference(
                    name="duckdb", params={"credentials": str(database)}
                ),
                **settings,
            }
        )

    return definition


@pytest.fixture
def known(tmp_path):
    """Store what is known of the load, its nested table included."""
    snapshot = LoadSnapshot(
        source_name="shop",
        origin="stored",
        dataset_name="ds",
        destination_name="duckdb",
        resources=(
            ResourceSnapshot(
                name="orders",
                source_name="shop",
                tables=(
                    TableSnapshot(name="orders", resource="orders"),
                    TableSnapshot(name="orders__items", resource="orders", parent="orders"),
                ),
            ),
            ResourceSnapshot(
                name="users",
                source_name="shop",
                tables=(TableSnapshot(name="users", resource="users"),),
            ),
        ),
    )
    path = Path(tmp_path, "snapshot.json")
    path.write_text(json.dumps(snapshot.to_dict()))
    return {
        "snapshot_path": str(path),
        "resources": ResourceSelection(include=("orders", "users")),
    }


def run(assets, instance=None, **options):
    return dg.materialize([assets], instance=instance, **options)


def test_every_table_is_an_asset_with_its_rows(load, known, events_of):
    events = events_of(run(build_assets(load(**known))))
    assert {key: event["rows_loaded"] for key, event in events.items()} == {
        "dlt_shop_orders": 1,
        "dlt_shop_orders__items": 2,
        "dlt_shop_users": 2,
    }


def test_a_nested_table_alone_loads_its_resource_and_says_what_came_along(load, known, events_of):
    events = events_of(run(build_assets(load(**known)), selection=["dlt_shop_orders__items"]))
    assert set(events) == {"dlt_shop_orders", "dlt_shop_orders__items"}
    assert events["dlt_shop_orders"]["loadsmith/came_along"] is True
    assert "loadsmith/came_along" not in events["dlt_shop_orders__items"]


def test_a_table_that_the_snapshot_does_not_have_is_reported_with_a_warning(load, known, events_of):
    known["resources"] = ResourceSelection(include=("orders",))
    snapshot = LoadSnapshot(
        source_name="shop",
        origin="stored",
        resources=(
            ResourceSnapshot(
                name="orders",
                source_name="shop",
                tables=(TableSnapshot(name="orders", resource="orders"),),
            ),
        ),
    )
    result = run(build_assets(load(resources=known["resources"]), snapshot=snapshot))
    found = events_of(result)["dlt_shop_orders__items"]
    assert found["rows_loaded"] == 2
    assert found["loadsmith/undeclared"] is True


def test_a_door_gives_keys_and_upstream_keys_of_its_own(load, known, events_of):
    assets = build_assets(
        load(**known),
        key_for=lambda resource, table: dg.AssetKey(["a", table.name if table else resource.name]),
        deps_for=lambda resource: [dg.AssetKey("a")],
    )
    assert {key.to_user_string() for key in assets.keys} == {
        "a/orders",
        "a/orders__items",
        "a/users",
    }
    assert set(assets.dependency_keys) - set(assets.keys) == {dg.AssetKey("a")}
    assert events_of(run(assets))["a/orders__items"]["rows_loaded"] == 2


def test_a_daily_partition_loads_its_window(load, events_of, instance):
    definition = load(
        resources=ResourceSelection(include=("visits",)),
        partitions=PartitionSettings(kind="daily", start="2024-01-01"),
    )
    assets = build_assets(definition)
    events = events_of(run(assets, instance, partition_key="2024-01-02"))
    visits = events["dlt_shop_visits"]
    assert visits["rows_loaded"] == 2
    assert visits["dagster/partition_row_count"] == 2


def test_a_range_of_partitions_is_one_run_whose_rows_are_marked_as_the_total(load, instance):
    definition = load(
        resources=ResourceSelection(include=("visits",)),
        partitions=PartitionSettings(kind="daily", start="2024-01-01"),
    )
    assets = build_assets(definition)
    result = run(
        assets,
        instance,
        tags={
            "dagster/asset_partition_range_start": "2024-01-02",
            "dagster/asset_partition_range_end": "2024-01-04",
        },
    )
    events = result.get_asset_materialization_events()
    assert len(events) == 3
    for event in events:
        metadata = event.materialization.metadata
        assert metadata["rows_loaded_in_all_partitions"].value == 6
        assert metadata["partitions"].value == "2024-01-02...2024-01-04 (3 partitions)"
        assert metadata["rows_loaded"].value == 2


def test_the_launchpad_gives_a_window(load, events_of):
    assets = build_assets(load(resources=ResourceSelection(include=("visits",))))
    window = {"start": "2024-01-01", "end": "2024-01-02T00:00:00Z"}
    config = {"ops": {"dlt_assets_shop": {"config": {"window": window}}}}
    assert events_of(run(assets, run_config=config))["dlt_shop_visits"]["rows_loaded"] == 2


def test_static_partitions_keep_a_cursor_each(load, events_of, instance):
    definition = load(
        resources=ResourceSelection(include=("visits",)),
        partitions=PartitionSettings(kind="static", keys=("a", "b")),
    )
    assets = build_assets(definition)
    rows = [
        events_of(run(assets, instance, partition_key=key))["dlt_shop_visits"]["rows_loaded"]
        for key in ("a", "a", "b")
    ]
    assert rows == [10, 0, 10]


def test_the_cursor_is_shown(load, events_of):
    assets = build_assets(load(resources=ResourceSelection(include=("visits",))))
    cursor = events_of(run(assets))["dlt_shop_visits"]["cursor"]
    assert cursor["path"] == "at"
    assert cursor["last_value"].startswith("2024-01-05")


def test_op_settings_reach_the_op(load, known):
    op = OpSettings(
        pool="one",
        op_tags={"k": "v"},
        max_retries=2,
        retry_delay_seconds=1,
        retry_backoff="exponential",
        retry_jitter="plus_minus",
    )
    assets = build_assets(load(**known, op=op))
    assert assets.op.pool == "one"
    assert assets.op.tags["k"] == "v"
    assert assets.op.retry_policy.backoff is dg.Backoff.EXPONENTIAL
    with pytest.raises(ConfigError, match="retry_backoff: 'steep'"):
        build_retry_policy(OpSettings(max_retries=1, retry_backoff="steep"))


def test_a_load_without_resources_is_an_error(load):
    snapshot = LoadSnapshot(source_name="shop", origin="stored", resources=())
    with pytest.raises(ResolveError, match="the load has no resource"):
        build_assets(load(), snapshot=snapshot)


def test_specs_are_the_translators_to_give(load, known):
    with pytest.raises(ConfigError, match=r"'outs' comes from the load"):
        build_assets(load(**known), outs={"a": dg.AssetOut()})


def test_a_large_load_becomes_several_ops_of_whole_resources(load, known):
    definition = load(**known)
    definitions = build_load_definitions([definition], outputs_per_op=2)
    assets = list(definitions.assets or ())
    ops = [found for found in assets if isinstance(found, dg.AssetsDefinition)]
    assert [found.op.name for found in ops] == ["dlt_assets_shop_1", "dlt_assets_shop_2"]
    assert [len(list(found.keys)) for found in ops] == [2, 1]


def test_the_parts_of_a_load_do_not_share_a_working_directory(load, known):
    definition = load(**known)
    snapshot = inspect_load(definition)
    specs = build_specs(snapshot, DagsterDltTranslator(), definition)
    parts = split_load(definition, specs, snapshot, 2)
    assert [part.resources.include for part, _ in parts] == [("orders",), ("users",)]
    assert not any(part.owns_pipeline_name for part, _ in parts)


def test_the_parts_of_a_load_run_in_one_job(load, known, events_of):
    definitions = build_load_definitions([load(**known)], outputs_per_op=2)
    job = definitions.resolve_implicit_global_asset_job_def()
    events = events_of(job.execute_in_process())
    assert events["dlt_shop_users"]["rows_loaded"] == 2
    assert events["dlt_shop_orders__items"]["rows_loaded"] == 2


def test_op_names_are_valid_and_unique(load):
    names = [found.name for found in with_unique_names([load(name="my-ds"), load(name="my_ds")])]
    assert names == ["my_ds", "my_ds_2"]


def test_upstream_assets_are_external_and_in_the_group(load, known):
    definition = load(**known, attributes=AssetAttributes(group_name="g"))
    definitions = build_load_definitions([definition])
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert specs["shop_orders"].group_name == "g"
    plain = build_load_definitions([definition], with_upstreams=False)
    assert not [found for found in plain.assets or () if isinstance(found, dg.AssetSpec)]


def test_freshness_is_a_check_with_a_sensor(load, known):
    definition = load(**known, attributes=AssetAttributes(freshness_lower_bound_delta_seconds=60))
    definitions = build_load_definitions([definition])
    names = {key.name for check in definitions.asset_checks or () for key in check.check_keys}
    assert names == {"freshness_check"}
    assert [sensor.name for sensor in definitions.sensors or ()] == ["shop_freshness"]


def test_a_check_that_does_not_exist_is_an_error(load, known):
    attributes = AssetAttributes(checks={"primary_keys": {}})
    with pytest.raises(ConfigError, match="Did you mean 'primary_key'"):
        build_assets(load(**known, attributes=attributes))


def test_a_schema_change_fails_its_check_and_the_first_load_does_not(
    load, known, tmp_path, checks_of
):
    definition = load(**known, attributes=AssetAttributes(checks={"schema_change": {}}))
    check = ("dlt_shop_users", "schema_change")
    assert checks_of(run(build_assets(definition)))[check].passed
    changed = SOURCE.replace('[{"id": 1}, {"id": 2}]', '[{"id": 3, "name": "x"}]')
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "shop_source.py").write_text(changed)
    source = SourceReference(module="shop_source", search_path=str(folder))
    later = load(**known, source=source, attributes=definition.attributes)
    result = checks_of(run(build_assets(later)))[check]
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert "| users | new column | name |" in result.metadata["changes"].value
