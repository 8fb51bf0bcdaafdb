"""Checks of loads: what each says of tables that it has nothing to say of."""

from typing import Any

import dagster as dg
import dlt

from loadsmith import (
    ConfigurableDltResource,
    DagsterDltFactory,
    DagsterDltResource,
    dlt_assets,
)


@dlt.source(name="shop")
def shop(*, keyed: bool = True, doubled: bool = False, empty: bool = False) -> Any:
    @dlt.resource(name="orders", primary_key="id" if keyed else None)
    def orders() -> Any:
        yield [{"id": 1, "items": [{"n": 1}, {"n": 1}]}]
        if doubled:
            yield [{"id": 1}]

    @dlt.resource(name="visits")
    def visits() -> Any:
        yield [] if empty else [{"page": "/"}]

    return orders, visits


def run(pipeline: Any, checks_of: Any, source: Any, **options: Any) -> Any:
    @dlt_assets(dlt_source=source, dlt_pipeline=pipeline, **options)
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    return checks_of(dg.materialize([loaded], resources={"dlt": DagsterDltResource()}))


def test_a_table_without_a_primary_key_is_a_warning_wherever_the_check_is_asked(
    pipeline, checks_of, tmp_path
):
    def of_resource(keyed: bool) -> Any:
        destination = dlt.destinations.duckdb(str(tmp_path / "factory.duckdb"))
        named = dlt.resource([{"id": 1}], name="ds.orders", primary_key="id" if keyed else None)
        asked = ConfigurableDltResource.config(
            named, meta={"dagster": {"checks": {"primary_key": {"severity": "error"}}}}
        )
        defs = DagsterDltFactory.build_definitions([asked], destination)
        job = defs.resolve_implicit_global_asset_job_def()
        return checks_of(job.execute_in_process())["ds/raw/orders", "primary_key"]

    of_load = run(pipeline, checks_of, shop(keyed=False), checks=["primary_key"])
    for check in (of_load["dlt_shop_visits", "primary_key"], of_resource(keyed=False)):
        assert not check.passed
        assert check.severity == dg.AssetCheckSeverity.WARN
        assert "has no primary key. Give its resource one" in check.description


def test_a_key_that_is_there_twice_fails_as_severe_as_asked(pipeline, checks_of):
    found = run(pipeline, checks_of, shop(doubled=True), checks={"primary_key": {}})
    check = found["dlt_shop_orders", "primary_key"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["duplicates"].value == 1


def test_nested_and_empty_tables_have_nothing_that_a_key_check_could_look_at(pipeline, checks_of):
    export = dlt.pipeline(
        "exporting",
        destination=pipeline.destination,
        dataset_name="ds",
        export_schema_path="schemas",
    )
    run(export, checks_of, shop())
    found = run(
        pipeline,
        checks_of,
        shop(empty=True),
        checks=["primary_key"],
        nested_tables=True,
        schema_file_path="schemas/shop.schema.yaml",
    )
    assert found["dlt_shop_orders__items", "primary_key"].passed
    assert "nothing to look at" in found["dlt_shop_orders__items", "primary_key"].description


def test_every_table_of_a_resource_that_chooses_one_per_row_is_counted_and_looked_at(
    pipeline, checks_of
):
    @dlt.source(name="log")
    def log() -> Any:
        @dlt.resource(name="events", table_name=lambda row: row["kind"], primary_key="id")
        def events() -> Any:
            yield [{"kind": "a", "id": 1}, {"kind": "b", "id": 1}, {"kind": "b", "id": 1}]

        return events

    found = run(pipeline, checks_of, log(), checks={"primary_key": {}, "row_count": {"min": 3}})
    assert found["dlt_log_events", "row_count"].passed
    assert found["dlt_log_events", "row_count"].metadata["rows"].value == 3
    assert found["dlt_log_events", "primary_key"].metadata["duplicates"].value == 1
