"""The factory: a list of dlt resources becomes assets, with settings, checks and jobs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import ConfigurableDltResource, DagsterDltFactory, DagsterDltTranslator
from loadsmith.errors import ConfigError

Make = Callable[..., ConfigurableDltResource]


def rows() -> Iterator[list[dict[str, Any]]]:
    yield [{"id": 1, "tags": [{"name": "a"}]}, {"id": 2, "tags": []}]


def resource(name: str, **settings: Any) -> ConfigurableDltResource:
    return ConfigurableDltResource.config(
        dlt.resource(
            rows,
            name=name,
            table_name=name.rpartition(".")[2],
            primary_key="id",
            write_disposition="merge",
        ),
        **settings,
    )


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def destination(tmp_path: Path) -> Any:
    return dlt.destinations.duckdb(str(tmp_path / "factory.duckdb"))


def specs_of(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def run(definitions: dg.Definitions, *keys: str) -> dict[str, dict[str, Any]]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey.from_user_string(key) for key in keys] or None,
        )
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def test_the_name_gives_keys_group_and_the_external_asset_upstream() -> None:
    specs = specs_of(
        DagsterDltFactory.build_definitions([resource("crm.users", kinds={"api"}, tags={"a": "b"})])
    )
    assert set(specs) == {"crm/raw/users", "crm/src/users"}
    raw, source = specs["crm/raw/users"], specs["crm/src/users"]
    assert [dep.asset_key for dep in raw.deps] == [source.key]
    assert (raw.group_name, source.group_name) == ("crm", "crm")
    assert (raw.kinds, source.kinds) == ({"dlt", "duckdb", "api"}, {"api"})
    assert raw.tags["a"] == "b"


def test_the_upstream_asset_is_external() -> None:
    definitions = DagsterDltFactory.build_definitions([resource("crm.users")])
    graph = definitions.resolve_asset_graph()
    assert graph.external_asset_keys == {dg.AssetKey(["crm", "src", "users"])}


def test_a_run_loads_each_schema_into_its_dataset(destination: Any, tmp_path: Path) -> None:
    definitions = DagsterDltFactory.build_definitions(
        [resource("crm.users"), resource("crm.deals"), resource("erp.users")], destination
    )
    metadata = run(definitions)
    assert {key: found["rows_loaded"] for key, found in metadata.items()} == {
        "crm/raw/users": 2,
        "crm/raw/deals": 2,
        "erp/raw/users": 2,
    }
    assert metadata["erp/raw/users"]["dagster/table_name"] == "erp.users"
    with duckdb.connect(str(tmp_path / "factory.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from crm.users__tags").fetchone() == (1,)


def test_the_same_definitions_run_twice_and_in_part(destination: Any) -> None:
    definitions = DagsterDltFactory.build_definitions(
        [resource("crm.users"), resource("crm.deals")], destination
    )
    run(definitions)
    assert set(run(definitions, "crm/raw/deals")) == {"crm/raw/deals"}


def test_a_destination_can_be_named() -> None:
    definitions = DagsterDltFactory.build_definitions([resource("crm.users")], "duckdb")
    assert run(definitions)["crm/raw/users"]["rows_loaded"] == 2
    assert Path("crm_pipeline.duckdb").exists()


def test_dependencies_may_be_keys_of_dagsters_own() -> None:
    deps = ["elsewhere/users", dg.AssetKey(["elsewhere", "people"])]
    definitions = DagsterDltFactory.build_definitions(
        [resource("crm.users", meta={"dagster": {"deps": deps}})]
    )
    parents = (
        definitions.resolve_asset_graph().get(dg.AssetKey(["crm", "raw", "users"])).parent_keys
    )
    assert {key.to_user_string() for key in parents} >= {"elsewhere/users", "elsewhere/people"}


def test_a_misspelled_destination_is_said_before_a_run() -> None:
    with pytest.raises(ConfigError, match=r"dlt has none of that name. Did you mean 'duckdb'"):
        DagsterDltFactory.build_definitions([resource("crm.users")], destination="dukdb")


def test_settings_in_meta_become_dagsters_own() -> None:
    definitions = DagsterDltFactory.build_definitions(
        [
            resource(
                "crm.users",
                meta={
                    "team": "sales",
                    "dagster": {
                        "automation_condition": "on_schedule",
                        "automation_condition_config": {
                            "cron_schedule": "@daily",
                            "cron_timezone": "utc",
                        },
                        "freshness_lower_bound_delta_seconds": 108000,
                        "owners": ["team:sales"],
                        "group_name": "people",
                        "description": "Everybody",
                        "deps": ["elsewhere/users"],
                    },
                },
            ),
            resource("crm.deals", meta={"dagster": {"automation_condition": "eager"}}),
        ]
    )
    specs = specs_of(definitions)
    users = specs["crm/raw/users"]
    assert users.automation_condition is not None
    assert users.automation_condition.get_label() == "on_schedule(@daily)"
    assert list(users.owners) == ["team:sales"]
    assert (users.group_name, users.description) == ("people", "Everybody")
    assert {dep.asset_key.to_user_string() for dep in users.deps} == {
        "crm/src/users",
        "elsewhere/users",
    }
    assert users.metadata["team"] == "sales"
    assert "dagster" not in users.metadata
    assert specs["crm/raw/deals"].automation_condition is not None
    [check] = definitions.asset_checks or ()
    assert [key.asset_key for key in check.check_keys] == [users.key]
    assert definitions.sensors


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"automation_conditon": "eager"}, "'automation_conditon'.*Did you mean 'automation_cond"),
        ({"automation_condition": "egaer"}, "automation_condition.*'egaer'.*'eager'"),
        (
            {
                "automation_condition": "on_schedule",
                "automation_condition_config": {"cron_schedule": "daily"},
            },
            "automation_condition_config.cron_schedule.*'daily' is no cron schedule",
        ),
        (
            {
                "automation_condition": "on_schedule",
                "automation_condition_config": {"cron_shedule": "@daily"},
            },
            "'cron_shedule'.*'cron_schedule'",
        ),
        (
            {"freshness_lower_bound_delta_seconds": "soon"},
            "freshness_lower_bound_delta_seconds.*'soon'",
        ),
        ({"freshness_lower_bound_delta_seconds": -1}, "freshness_lower_bound_delta_seconds.*-1"),
        ({"owners": 3}, "owners"),
        ({"automation_condition": 3}, "automation_condition: 3 is wrong.*neither the name"),
        (
            {
                "automation_condition": dg.AutomationCondition.eager(),
                "automation_condition_config": {"cron_schedule": "@daily"},
            },
            "automation_condition_config.*named",
        ),
        ({"poool": "crm"}, "'poool'.*Did you mean 'pool'"),
        ({"retry_policy": {"max_retrys": 3}}, "retry_policy.max_retrys"),
        ({"partitions_def": {"type": "dialy", "start": "2024-01-01"}}, "partitions_def.*'daily'"),
    ],
)
def test_a_wrong_setting_names_resource_field_and_match(
    settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"resource 'crm.users'.*{expected}"):
        DagsterDltFactory.build_definitions([resource("crm.users", meta={"dagster": settings})])


@pytest.mark.parametrize("name", ["users", "a.b.c", ".users", "crm."])
def test_a_name_without_schema_and_table_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"schema\.table"):
        resource(name)


def test_a_resource_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'crm\.users': the list has it twice"):
        DagsterDltFactory.build_definitions([resource("crm.users"), resource("crm.users")])


def test_something_else_than_a_resource_is_refused() -> None:
    with pytest.raises(ConfigError, match="no dlt resource"):
        ConfigurableDltResource.config(rows)


def test_a_bare_resource_is_taken_and_its_table_is_that_of_the_name(destination: Any) -> None:
    bare = dlt.resource(rows, name="crm.users")
    definitions = DagsterDltFactory.build_definitions([bare], destination)
    assert run(definitions)["crm/raw/users"]["dagster/table_name"] == "crm.users"
    assert bare.table_name == "crm.users"


def test_a_translator_changes_what_it_overrides_and_no_more() -> None:
    class Grouped(DagsterDltTranslator):
        def get_group_name(self, resource: Any) -> str:
            return "all"

    class Keyed(DagsterDltTranslator):
        def get_asset_key(self, resource: Any) -> dg.AssetKey:
            return dg.AssetKey(["own", resource.name.rpartition(".")[2]])

    grouped = specs_of(
        DagsterDltFactory.build_definitions([resource("crm.users")], "duckdb", Grouped())
    )
    assert grouped["crm/raw/users"].group_name == "all"
    keyed = specs_of(
        DagsterDltFactory.build_definitions([resource("crm.users")], "duckdb", Keyed())
    )
    assert set(keyed) == {"own/users", "crm/src/users"}


def test_options_of_dagsters_multi_asset_pass_through() -> None:
    definitions = DagsterDltFactory.build_definitions(
        [resource("crm.users")], pool="crm", retry_policy=dg.RetryPolicy(max_retries=3)
    )
    [assets] = [
        found for found in definitions.assets or () if isinstance(found, dg.AssetsDefinition)
    ]
    assert assets.op.pool == "crm"
    assert assets.op.retry_policy == dg.RetryPolicy(max_retries=3)


@pytest.mark.parametrize(
    ("name", "match"), [("poool", "pool"), ("retry_polcy", "retry_policy"), ("on_eror", "on_error")]
)
def test_an_unknown_option_is_refused_with_a_close_match(name: str, match: str) -> None:
    with pytest.raises(ConfigError, match=f"no option '{name}'. Did you mean '{match}'"):
        DagsterDltFactory.build_definitions([resource("crm.users")], **{name: "a"})


def test_a_condition_may_be_a_live_one_and_so_may_all_else() -> None:
    condition = dg.AutomationCondition.eager() & ~dg.AutomationCondition.in_progress()
    upstream = dg.AssetSpec(["elsewhere", "users"])
    definitions = DagsterDltFactory.build_definitions(
        [
            resource(
                "crm.users",
                meta={
                    "dagster": {
                        "automation_condition": condition,
                        "kinds": ["rest"],
                        "tags": {"tier": "gold"},
                        "metadata": {"page": "users"},
                        "deps": [upstream],
                    }
                },
            )
        ]
    )
    users = specs_of(definitions)["crm/raw/users"]
    assert users.automation_condition == condition
    assert users.kinds == {"dlt", "duckdb", "rest"}
    assert users.tags["tier"] == "gold"
    assert users.metadata["page"] == "users"
    assert upstream.key in {dep.asset_key for dep in users.deps}


def ops_of(definitions: dg.Definitions) -> dict[str, dg.AssetsDefinition]:
    return {
        key.to_user_string(): found
        for found in definitions.assets or ()
        if isinstance(found, dg.AssetsDefinition)
        for key in found.keys
    }


def test_settings_of_an_op_give_a_resource_one_of_its_own(destination: Any) -> None:
    daily = dg.DailyPartitionsDefinition("2024-01-01")
    policy = dg.RetryPolicy(max_retries=4, delay=2, backoff=dg.Backoff.LINEAR)
    definitions = DagsterDltFactory.build_definitions(
        [
            resource("crm.users"),
            resource("crm.deals"),
            resource(
                "crm.calls",
                meta={
                    "dagster": {
                        "pool": "calls",
                        "op_tags": {"size": "large"},
                        "retry_policy": policy,
                    }
                },
            ),
            resource("crm.visits", meta={"dagster": {"partitions_def": daily}}),
        ],
        destination,
        pool="all",
        op_tags={"size": "small", "team": "crm"},
    )
    ops = ops_of(definitions)
    assert ops["crm/raw/users"] is ops["crm/raw/deals"]
    calls, users = ops["crm/raw/calls"].op, ops["crm/raw/users"].op
    assert (calls.pool, users.pool) == ("calls", "all")
    assert (calls.tags["size"], calls.tags["team"], users.tags["size"]) == ("large", "crm", "small")
    assert (calls.retry_policy, users.retry_policy) == (policy, None)
    assert ops["crm/raw/visits"].partitions_def == daily
    assert set(run(definitions, "crm/raw/users", "crm/raw/calls")) == {
        "crm/raw/users",
        "crm/raw/calls",
    }


def test_a_transformer_in_an_op_of_its_own_comes_from_the_asset_that_feeds_it() -> None:
    people = dlt.resource(rows, name="crm.people")
    letters = dlt.transformer(lambda page: page, data_from=people, name="crm.letters")
    definitions = DagsterDltFactory.build_definitions(
        [people, ConfigurableDltResource.config(letters, meta={"dagster": {"pool": "letters"}})]
    )
    deps = {dep.asset_key.to_user_string() for dep in specs_of(definitions)["crm/raw/letters"].deps}
    assert deps == {"crm/src/letters", "crm/raw/people"}


def test_a_spec_of_the_translators_own_begins_with_the_keys_of_the_door(destination: Any) -> None:
    class Owned(DagsterDltTranslator):
        def get_asset_spec(self, data: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(data)
            return spec.replace_attributes(owners=["team:crm"])

    class Prefixed(DagsterDltTranslator):
        def get_asset_spec(self, data: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(data)
            return spec.replace_attributes(
                key=spec.key.with_prefix("lake"), deps=[dg.AssetKey("somewhere")]
            )

    owned = DagsterDltFactory.build_definitions([resource("crm.users")], destination, Owned())
    specs = specs_of(owned)
    assert set(specs) == {"crm/raw/users", "crm/src/users"}
    assert list(specs["crm/raw/users"].owners) == ["team:crm"]
    assert run(owned)["crm/raw/users"]["rows_loaded"] == 2
    prefixed = DagsterDltFactory.build_definitions([resource("crm.users")], destination, Prefixed())
    assert set(specs_of(prefixed)) == {"lake/crm/raw/users", "somewhere"}


def test_what_the_others_loaded_is_kept_where_asked(destination: Any) -> None:
    def broken() -> Iterator[Any]:
        raise ValueError("no answer")
        yield

    definitions = DagsterDltFactory.build_definitions(
        [
            resource("crm.users"),
            ConfigurableDltResource.config(dlt.resource(broken, name="crm.orders")),
        ],
        destination,
        on_error="keep",
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        raise_on_error=False
    )
    loaded = [event.asset_key for event in result.get_asset_materialization_events()]
    assert not result.success
    assert loaded == [dg.AssetKey(["crm", "raw", "users"])]


def test_an_unknown_on_error_is_refused() -> None:
    with pytest.raises(ConfigError, match="take 'fail' or 'keep', not 'skip'"):
        DagsterDltFactory.build_definitions([resource("crm.users")], on_error="skip")


def test_a_long_list_is_split_into_several_ops() -> None:
    definitions = DagsterDltFactory.build_definitions(
        [resource(f"crm.t{number}") for number in range(230)]
    )
    ops = [found for found in definitions.assets or () if isinstance(found, dg.AssetsDefinition)]
    assert sorted(len(found.keys) for found in ops) == [30, 200]


def mongo(database: str) -> Any:
    @dlt.source(name="mongo")
    def source() -> Any:
        for name in ("comments", "movies", "secrets"):
            yield dlt.resource([{"_id": 1, "database": database}], name=name)

    return source()


def test_each_collection_is_an_asset_and_each_database_a_job(
    destination: Any, tmp_path: Path
) -> None:
    definitions = DagsterDltFactory.build_collection_definitions(
        {"mflix": ["comments", "movies"], "guides": ["comments"]}, mongo, destination
    )
    specs = specs_of(definitions)
    assert {key for key in specs if key.startswith("raw_")} == {
        "raw_mflix/comments",
        "raw_mflix/movies",
        "raw_guides/comments",
    }
    assert specs["raw_mflix/movies"].group_name == "mflix"
    job = definitions.resolve_job_def("mflix_assets")
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert job.execute_in_process(instance=instance).success
    with duckdb.connect(str(tmp_path / "factory.duckdb"), read_only=True) as connection:
        assert connection.execute("select _id, database from mflix.movies").fetchall() == [
            (1, "mflix")
        ]
        tables = {
            row[0]
            for row in connection.execute("select table_name from duckdb_tables()").fetchall()
        }
    assert "secrets" not in tables


def test_the_source_of_a_collection_is_not_asked_before_the_run() -> None:
    def fails(database: str) -> Any:
        raise RuntimeError("asked")

    definitions = DagsterDltFactory.build_collection_definitions({"mflix": ["comments"]}, fails)
    assert specs_of(definitions)


def test_a_database_needs_a_list_of_collections() -> None:
    with pytest.raises(ConfigError, match="mflix"):
        DagsterDltFactory.build_collection_definitions({"mflix": "comments"}, mongo)


@pytest.mark.parametrize("granularity", ["source", "component"])
def test_released_names_of_loads_stay(granularity: str):
    """They are the scope of the ledger and the cursors, and the ends of the names of ops."""
    definitions = DagsterDltFactory.build_definitions(
        [
            resource("crm.orders"),
            resource("crm.customers", meta={"dagster": {"pool": "api"}}),
            resource("crm.order-items", meta={"dagster": {"pool": "api"}}),
            resource("crm.notes", meta={"dagster": {"retry_policy": {"max_retries": 2}}}),
            resource("shop.one", meta={"dagster": {"pool": "x"}}),
            resource("shop.two", meta={"dagster": {"pool": "x"}}),
            resource("web.a", meta={"dagster": {"pool": "p"}}),
            resource("web.b", meta={"dagster": {"partitions_def": {"keys": ["x"]}}}),
        ],
        granularity=granularity,
    )
    names = {
        asset.op.name.removeprefix("dlt_assets_"): sorted(key.path[-1] for key in asset.keys)
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
    }
    assert (
        names
        == {
            "source": {
                "crm__orders": ["orders"],
                "crm__customers": ["customers", "order-items"],
                "crm__notes": ["notes"],
                "shop": ["one", "two"],
                "web__a": ["a"],
                "web__b": ["b"],
            },
            "component": {
                "crm__orders": ["orders"],
                "crm__customers__crm_customers": ["customers"],
                "crm__customers__crm_order_items": ["order-items"],
                "crm__notes": ["notes"],
                "shop__shop_one": ["one"],
                "shop__shop_two": ["two"],
                "web__a": ["a"],
                "web__b": ["b"],
            },
        }[granularity]
    )
