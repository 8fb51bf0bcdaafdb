"""Names of ops: those of dagster-dlt, and none that an ordinary asset has."""

from pathlib import Path

import dagster as dg
import dlt
import pytest
import yaml
from moved import in_component, in_factory, metadata_of, run

from loadsmith import build_definitions
from loadsmith.assets.run.outcome import outcome_of

CODE = """
import dlt

@dlt.source
def shop():
    return dlt.resource([{"id": 1}], name="orders")
"""


@dlt.source
def shop():
    return dlt.resource([{"id": 1}], name="orders")


def pipeline(dataset: str = "web") -> dlt.Pipeline:
    return dlt.pipeline(
        "shop", destination=dlt.destinations.duckdb("o.duckdb"), dataset_name=dataset
    )


def ops_of(defs: dg.Definitions) -> list[str]:
    graph = defs.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if graph.get(key).is_materializable]
    return sorted({graph.get(key).assets_def.op.name for key in keys})


def test_a_component_gives_the_names_of_dagster_dlt() -> None:
    assert ops_of(in_component(shop(), pipeline("my.web"))) == ["dlt_assets_shop_my_web"]
    assert ops_of(in_component(shop(), pipeline(), name="mine")) == ["mine"]

    @dlt.source(name="shop")
    def two():
        return [dlt.resource([{"id": 1}], name=name) for name in ("orders", "users")]

    assert ops_of(in_component(two(), pipeline(), granularity="table")) == [
        "dlt_assets_shop_web__orders",
        "dlt_assets_shop_web__users",
    ]


@pytest.mark.parametrize("door", ["files", "task", "factory", "component"])
def test_an_ordinary_asset_may_have_the_name_of_a_load(door, make_project) -> None:
    if door in ("files", "task"):
        params = {"destination": "duckdb", "destination_params": {"database": "o.duckdb"}}
        defs = make_project(CODE, {**params, "pipeline_params": {"dataset_name": "web"}})
        taken = "shop_orders"
        if door == "task":
            taken = "report_sales"
            defs = make_task("report/sales")
    elif door == "factory":
        defs, taken = in_factory(shop(), pipeline()), "web"
    else:
        defs, taken = in_component(shop(), pipeline()), "_shop_web"
    both = dg.Definitions.merge(defs, dg.Definitions(assets=[dg.asset(name=taken)(lambda: None)]))
    assert taken in ops_of(both)
    if door == "files":
        assert len(metadata_of(run(both))) == 2


def make_task(key: str) -> dg.Definitions:
    home = Path("tasks")
    (home / "workflows").mkdir(parents=True)
    config = {"resources": [{"resource_kind": "duckdb", "params": {"database_path": "o.duckdb"}}]}
    (home / "dagster_config.yaml").write_text(yaml.safe_dump(config))
    task = {"asset_key": key, "task_type": "duckdb_query", "params": {"query": "SELECT 1"}}
    (home / "workflows" / "w.yaml").write_text(yaml.safe_dump({"assets": [task]}))
    return build_definitions(home)


def test_a_run_of_0_1_is_asked_for_by_the_name_that_its_step_had(instance) -> None:
    """Else a load that Dagster has counted would be undone after the move to another version."""

    @dg.op(name="shop_orders")
    def released() -> None: ...

    @dg.op(name="other")
    def failing() -> None:
        raise ValueError

    @dg.job
    def before() -> None:
        released()
        failing()

    run_id = before.execute_in_process(instance=instance, raise_on_error=False).run_id
    asked = []

    @dg.op(name="dlt_assets_shop_orders")
    def now(context: dg.OpExecutionContext) -> None:
        asked.append(outcome_of(context, "shop_orders", run_id))
        asked.append(outcome_of(context, "other", run_id))
        # A step of the new name was begun in this run, so no other counts.
        asked.append(outcome_of(context, "shop_orders", context.run.run_id))

    @dg.job
    def after() -> None:
        now()
        dg.op(name="shop_orders")(lambda: None)()

    after.execute_in_process(instance=instance)
    assert asked == ["succeeded", "failed", "running"]
