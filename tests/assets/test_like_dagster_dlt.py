"""What dagster-dlt 0.29.27 gives for a small source, as data: ours gives the same, and more.

Written down from a run of that release, so that who comes from it keeps keys and history.
"""

import dagster as dg
import dlt

from loadsmith import DagsterDltResource, dlt_assets

#: By asset key: upstream keys, kinds, group and description.
SPECS = {
    "dlt_nested_orders": ({"nested_orders"}, {"dlt", "duckdb"}, "g", "Orders."),
    "dlt_nested_users": ({"nested_users"}, {"dlt", "duckdb"}, "g", None),
    "dlt_nested_details": ({"nested_users"}, {"dlt", "duckdb"}, "g", None),
}
TAGS = {"dagster/kind/dlt": "", "dagster/kind/duckdb": ""}
METADATA = {
    "dagster/column_schema",
    "dagster/storage_kind",
    "dagster/table_name",
    "dataset_name",
    "destination_name",
    "destination_type",
    "finished_at",
    "first_run",
    "jobs",
    "rows_loaded",
    "started_at",
}
VALUES = {
    "dagster/storage_kind": "duckdb",
    "dataset_name": "ds",
    "destination_name": "duckdb",
    "destination_type": "dlt.destinations.duckdb",
    "first_run": True,
    "rows_loaded": 1,
}

#: Live objects that it puts into the metadata of specs, which is plain data here.
LIVE = {"dagster_dlt/pipeline", "dagster_dlt/source", "dagster_dlt/translator"}


@dlt.source(name="nested")
def nested():
    @dlt.resource(primary_key="id")
    def orders():
        """Orders."""
        yield {"id": 1, "items": [{"sku": "a"}]}

    @dlt.resource
    def users():
        yield [{"id": 1}]

    @dlt.transformer(data_from=users)
    def details(page):
        yield page

    return orders, users, details


def test_specs_and_metadata_are_those_of_dagster_dlt(pipeline, events_of):
    @dlt_assets(dlt_source=nested(), dlt_pipeline=pipeline, group_name="g")
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context)

    found = {
        spec.key.to_user_string(): (
            {dep.asset_key.to_user_string() for dep in spec.deps},
            spec.kinds,
            spec.group_name,
            spec.description,
        )
        for spec in loaded.specs
    }
    # The resource that feeds a transformer is its upstream as well; there it is not.
    found["dlt_nested_details"][0].discard("dlt_nested_users")
    assert found == SPECS
    assert all(dict(spec.tags) == TAGS for spec in loaded.specs)
    assert all(not LIVE & set(spec.metadata) for spec in loaded.specs)

    events = events_of(dg.materialize([loaded], resources={"dlt": DagsterDltResource()}))
    assert set(events) == set(SPECS)
    for event in events.values():
        assert set(event) >= METADATA
        assert {name: event[name] for name in VALUES} == VALUES
    assert "orders__items" in events["dlt_nested_orders"]
    # The one wanted difference: there it is `duckdb.nested.orders`, which is no table.
    assert events["dlt_nested_orders"]["dagster/table_name"] == "ds.orders"
