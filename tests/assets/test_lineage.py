"""What a run read, and from which columns the columns of its tables come."""

import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pytest
from dlt.sources.filesystem import readers
from dlt.sources.sql_database import sql_database

from loadsmith import DagsterDltResource, dlt_assets
from loadsmith.assets.links import link_loads


def load(source: Any, pipeline: Any, **settings: Any) -> dg.AssetsDefinition:
    @dlt_assets(dlt_source=source, dlt_pipeline=pipeline, **settings)
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context)

    return loaded


def run(assets: dg.AssetsDefinition) -> Any:
    return dg.materialize([assets], resources={"dlt": DagsterDltResource()})


def read(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(record.data) for record in event["inputs"].records]


def lineage(event: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    found = event["dagster/column_lineage"].deps_by_column
    return {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for column, deps in found.items()
    }


@pytest.fixture
def shop_db(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE "Orders" ("OrderID" INTEGER PRIMARY KEY, total REAL)')
        connection.execute('INSERT INTO "Orders" VALUES (1, 2.5)')
    connection.close()
    return path


@pytest.mark.parametrize("deferred", [False, True])
def test_a_table_of_a_database_says_where_each_column_is_from(
    shop_db: Path, pipeline, events_of, deferred: bool
) -> None:
    source = sql_database(
        f"sqlite:///{shop_db}", table_names=["Orders"], defer_table_reflect=deferred
    )
    event = events_of(run(load(source, pipeline)))["dlt_sql_database_Orders"]
    assert read(event) == [
        {"kind": "sql_database", "location": f"sqlite://{shop_db}", "read": "Orders"}
    ]
    # The asset upstream stands for the one table.
    assert lineage(event) == {
        "order_id": [("sql_database_Orders", "OrderID")],
        "total": [("sql_database_Orders", "total")],
    }


def test_a_nested_table_hangs_from_the_rows_that_its_lists_are_in(pipeline, events_of) -> None:
    @dlt.source(name="shop")
    def shop():
        rows = [{"id": 1, "items": [{"sku": "a", "parts": [{"n": 1}]}]}]
        return dlt.resource(rows, name="orders", primary_key="id", write_disposition="merge")

    def assets() -> dg.AssetsDefinition:
        return load(shop(), pipeline, nested_tables=True)

    run(assets())
    # What the first run saw are assets of the second.
    again = assets()
    parents = {
        spec.key.to_user_string(): [dep.asset_key.to_user_string() for dep in spec.deps]
        for spec in again.specs
    }
    assert parents == {
        "dlt_shop_orders": ["shop_orders"],
        "dlt_shop_orders__items": ["dlt_shop_orders"],
        "dlt_shop_orders__items__parts": ["dlt_shop_orders__items"],
    }
    events = events_of(run(again))
    assert "dagster/column_lineage" not in events["dlt_shop_orders"]
    assert lineage(events["dlt_shop_orders__items__parts"]) == {
        "_dlt_parent_id": [("dlt_shop_orders__items", "_dlt_id")],
        "_dlt_root_id": [("dlt_shop_orders", "_dlt_id")],
    }


def test_what_is_read_through_a_feed_is_told_of_what_it_feeds(
    tmp_path: Path, pipeline, events_of
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"a": 1}\n')
    bucket = (tmp_path / "in").as_uri()
    source = readers(bucket, file_glob="*.jsonl").with_resources("read_jsonl")
    event = events_of(run(load(source, pipeline)))["dlt_readers_read_jsonl"]
    assert read(event) == [{"kind": "filesystem", "location": bucket, "read": "*.jsonl"}]


def test_a_source_of_ones_own_says_what_it_read_and_secrets_stay_out(
    pipeline, events_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_API_TOKEN", "tok-4711-secret")

    @dlt.source(name="crm")
    def crm():
        @dlt.resource
        def deals():
            place = {"kind": "crm", "location": "https://crm/tok-4711-secret", "tables": ["Deal"]}
            dlt.current.resource().add_input(place)
            yield [{"id": 1}]

        return deals

    event = events_of(run(load(crm(), pipeline)))["dlt_crm_deals"]
    assert read(event) == [{"kind": "crm", "location": "https://crm/***", "read": "Deal"}]


@pytest.mark.parametrize("reads", ["in", "."])
def test_a_load_is_downstream_of_the_files_that_another_has_written(
    tmp_path: Path, reads: str
) -> None:
    lake = tmp_path / "lake"
    (lake / "in").mkdir(parents=True)
    (lake / "in" / "a.jsonl").write_text('{"a": 1}\n')

    def loads(*partitions: Any) -> list[dg.AssetsDefinition]:
        return [
            load(
                readers((lake / bucket).as_uri(), file_glob=glob).with_resources(reader),
                dlt.pipeline(
                    name,
                    destination=dlt.destinations.filesystem(str(lake)),
                    dataset_name=name,
                    pipelines_dir=str(tmp_path / "pipelines"),
                ),
                name=name,
                partitions_def=partitions_def,
            )
            for partitions_def, (name, bucket, glob, reader) in zip(
                partitions or (None, None),
                (
                    ("first", reads, "**/a.jsonl", "read_jsonl"),
                    ("second", "first", "read_jsonl/*.parquet", "read_parquet"),
                ),
                strict=True,
            )
        ]

    def parents(assets: list[dg.AssetsDefinition]) -> dict[str, set[str]]:
        resources = {"dlt": DagsterDltResource()}
        graph = dg.Definitions(assets=assets, resources=resources).resolve_asset_graph()
        return {
            key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
            for key in graph.materializable_asset_keys
        }

    first, second = "dlt_readers_read_jsonl", "dlt_readers_read_parquet"
    sources = {first: {"readers_filesystem"}, second: {"readers_filesystem"}}
    assert parents(link_loads(loads())) == sources
    for assets in loads():
        assert run(assets).success
    assert parents(loads()) == sources
    # A first load that may read what the second writes makes no circle.
    below, above = (second, first) if reads == "in" else (first, second)
    assert parents(link_loads(loads())) == {**sources, below: {"readers_filesystem", above}}
    days = dg.DailyPartitionsDefinition("2024-01-01")
    shops = dg.StaticPartitionsDefinition(["a", "b"])
    partitioned = link_loads(loads(days, shops))
    assert parents(partitioned)[below] == {"readers_filesystem", above}
    (mapping,) = [
        dep.partition_mapping
        for assets in partitioned
        for spec in assets.specs
        for dep in spec.deps
        if dep.asset_key.to_user_string() == above
    ]
    assert mapping == dg.AllPartitionMapping()
    linked = dg.materialize(link_loads(loads()), resources={"dlt": DagsterDltResource()})
    assert linked.success
