"""`@dlt_assets(granularity=...)` makes an op for each table, each with a state of its own."""

from typing import Any

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import DagsterDltResource, dlt_assets
from loadsmith.errors import ConfigError

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")


@dlt.source
def shop(broken: bool = False) -> Any:
    @dlt.resource(write_disposition="append", primary_key="id")
    def orders(at: Any = dlt.sources.incremental("id", initial_value=0)) -> Any:
        yield [{"id": number} for number in (1, 2, 3)]

    @dlt.resource(write_disposition="append")
    def users() -> Any:
        if broken:
            raise ConnectionError("down")
        yield [{"name": "a"}, {"name": "b"}]

    @dlt.transformer(data_from=users, write_disposition="append")
    def logins(page: Any) -> Any:
        yield [{"of": user["name"]} for user in page]

    return orders, users, logins


@pytest.fixture
def made(tmp_path):
    def make(granularity: str, *, broken: bool = False, **options: Any) -> Any:
        @dlt_assets(
            dlt_source=lambda: shop(broken),
            dlt_pipeline=lambda: dlt.pipeline(
                "shop",
                destination=dlt.destinations.duckdb(str(tmp_path / "shop.duckdb")),
                dataset_name="raw",
                pipelines_dir=str(tmp_path / "pipelines"),
            ),
            granularity=granularity,
            **options,
        )
        def web(context: dg.AssetExecutionContext, loads: DagsterDltResource):
            yield from loads.run(context=context)

        return web

    return make


def run(assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
    resources = {"loads": DagsterDltResource()}
    return dg.materialize(assets, resources=resources, raise_on_error=False, **options)


def count(tmp_path, table: str) -> int:
    with duckdb.connect(str(tmp_path / "shop.duckdb"), read_only=True) as connection:
        return connection.sql(f"SELECT count(*) FROM raw.{table}").fetchall()[0][0]


@pytest.mark.parametrize(
    ("granularity", "ops"),
    [
        ("component", [{"orders"}, {"logins", "users"}]),
        ("table", [{"orders"}, {"logins", "users"}]),
    ],
)
def test_each_component_has_an_op_and_keeps_its_cursor(made, tmp_path, granularity, ops):
    assets = made(granularity)
    found = [{key.path[-1].rpartition("_")[2] for key in each.keys} for each in assets]
    assert sorted(found, key=min) == sorted(ops, key=min)
    for _ in range(2):
        assert run(assets).success
    # The cursor of an op is kept; what has none is appended again.
    assert [count(tmp_path, table) for table in ("orders", "users", "logins")] == [3, 4, 4]


def test_an_op_that_fails_takes_no_other_with_it(made, tmp_path):
    assets = made("component", broken=True)
    result = run(assets)
    assert not result.success
    names = {event.step_key for event in result.all_events if event.is_step_failure}
    assert len(names) == 1
    assert count(tmp_path, "orders") == 3


def test_checks_go_with_their_assets_and_options_to_each_op(made):
    checks = [dg.AssetCheckSpec("own", asset="dlt_shop_orders")]
    assets = made("component", check_specs=checks, op_tags={"team": "web"})
    assert all(each.op.tags["team"] == "web" for each in assets)
    with_checks = [each for each in assets if list(each.check_keys)]
    assert [set(each.keys) for each in with_checks] == [{dg.AssetKey("dlt_shop_orders")}]


def test_one_op_is_what_it_was(made):
    assert isinstance(made("source"), dg.AssetsDefinition)
    with pytest.raises(ConfigError, match="granularity"):
        made("tables")


@pytest.mark.parametrize(
    ("partitions", "key"),
    [(DAYS, "2024-01-01"), (dg.StaticPartitionsDefinition(["eu"]), "eu")],
    ids=["day", "key"],
)
@pytest.mark.parametrize("first", ["source", "table"])
def test_a_partition_is_there_once_when_the_granularity_changes(tmp_path, partitions, key, first):
    @dlt.source(name="shop")
    def by_partition() -> Any:
        def rows() -> Any:
            yield [{"id": 1}, {"id": 2}]

        return [
            dlt.resource(rows, name=name, write_disposition="append")
            for name in ("orders", "users")
        ]

    def load(granularity: str) -> None:
        @dlt_assets(
            dlt_source=by_partition(),
            dlt_pipeline=lambda: dlt.pipeline(
                "shop",
                destination=dlt.destinations.duckdb(str(tmp_path / "shop.duckdb")),
                dataset_name="raw",
                pipelines_dir=str(tmp_path / "pipelines"),
            ),
            partitions_def=partitions,
            partitioned=True,
            granularity=granularity,
        )
        def web(context: dg.AssetExecutionContext, loads: DagsterDltResource):
            yield from loads.run(context=context)

        assets = [web] if granularity == "source" else web
        assert run(assets, partition_key=key).success

    for granularity in (first, "table" if first == "source" else "source", first):
        load(granularity)
        assert [count(tmp_path, table) for table in ("orders", "users")] == [2, 2]
