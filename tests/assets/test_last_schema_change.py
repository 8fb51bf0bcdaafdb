"""The last schema change stays in sight: later runs repeat it, asking Dagster once."""

import dagster as dg
import dlt
import pytest

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource
from loadsmith.assets.run.metadata import REPEATED_CHANGES, schema_change_of_a_load


def load(pipeline, instance, **row):
    @dlt.source(name="shop")
    def shop():
        orders = dlt.resource([{"id": 1, **row}], name="orders")
        return orders, dlt.resource([{"id": 1}], name="users")

    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context)

    return dg.materialize([loaded], resources={"dlt": DagsterDltResource()}, instance=instance)


def test_later_runs_show_the_last_change_with_its_load(pipeline, events_of, instance):
    runs = [
        events_of(load(pipeline, instance, **row)) for row in ({}, {"total": 2}, {"total": 3}, {})
    ]
    orders = [run["dlt_shop_orders"] for run in runs]
    told = orders[1]["last_schema_change"]
    assert f"Load {orders[1]['load_ids'][-1]}, {orders[1]['finished_at']}" in told
    assert "| orders | new column | total |" in told
    assert "| id |" not in told
    assert "schema_changes" not in orders[2]
    assert [run["last_schema_change"] for run in orders[2:]] == [told, told]
    users = [run["dlt_shop_users"]["last_schema_change"] for run in runs]
    assert set(users) == {users[0]}
    assert runs[0]["dlt_shop_users"]["load_ids"][-1] in users[0]


def test_dagster_is_asked_once_for_all_assets(pipeline, instance, monkeypatch):
    asked = []
    ask = dg.DagsterInstance.get_latest_materialization_events

    def counted(self, keys):
        asked.append(sorted(key.to_user_string() for key in keys))
        return ask(self, keys)

    monkeypatch.setattr(dg.DagsterInstance, "get_latest_materialization_events", counted)
    load(pipeline, instance)
    assert asked == [["dlt_shop_orders", "dlt_shop_users"]]


def test_a_dagster_that_does_not_answer_fails_no_load(
    pipeline, events_of, instance, monkeypatch, capfd
):
    load(pipeline, instance)

    def silent(self, keys):
        raise ConnectionError("gone")

    monkeypatch.setattr(dg.DagsterInstance, "get_latest_materialization_events", silent)
    second = load(pipeline, instance)
    assert second.success
    assert "last_schema_change" not in events_of(second)["dlt_shop_orders"]
    assert (
        "could not be asked for the last schema changes: ConnectionError" in capfd.readouterr().err
    )


@pytest.mark.parametrize(("count", "left"), [(REPEATED_CHANGES, 0), (REPEATED_CHANGES + 7, 7)])
def test_a_long_change_is_repeated_in_part(count, left):
    told = schema_change_of_a_load("\n".join(["head", "---", *["line"] * count]), "1.5", "now")
    assert told.count("line") == REPEATED_CHANGES
    assert (f"and {left} more" in told) is bool(left)
