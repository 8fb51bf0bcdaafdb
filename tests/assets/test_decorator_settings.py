"""The decorator takes Dagster's settings in the words of files, and freshness beside the assets."""

import dagster as dg
import dlt
import pytest

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.define import RESOURCE_KEY, DagsterDltTranslator
from loadsmith.assets.freshness import build_freshness_definitions
from loadsmith.assets.run import DagsterDltResource
from loadsmith.errors import ConfigError


@dlt.source(name="shop")
def shop():
    orders = dlt.resource([{"id": 1, "items": [{"sku": "pen"}]}], name="orders")
    return orders, dlt.resource([{"id": 1}], name="users")


def make_assets(pipeline, **options):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline, **options)
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context)

    return loaded


def by_resource(assets):
    return {spec.metadata[RESOURCE_KEY]: spec for spec in assets.specs}


def test_settings_are_those_of_files_and_a_resource_may_have_its_own(pipeline):
    eager = dg.AutomationCondition.eager()
    specs = by_resource(
        make_assets(
            pipeline,
            group_name="web",
            settings={
                "owners": ["team:web"],
                "tags": {"tier": "gold"},
                "kinds": "api",
                "automation_condition": "on_schedule",
                "automation_condition_config": {"cron_schedule": "@daily"},
            },
            resource_settings={
                "orders": {
                    "automation_condition": eager,
                    "group_name": "sales",
                    "description": "What was sold.",
                    "deps": ["elsewhere/orders"],
                    "tags": {"size": "large"},
                }
            },
        )
    )
    orders, users = specs["orders"], specs["users"]
    assert (orders.group_name, users.group_name) == ("sales", "web")
    assert orders.automation_condition == eager
    assert users.automation_condition.get_label() == "on_schedule(@daily)"
    assert list(orders.owners) == list(users.owners) == ["team:web"]
    assert {"tier": "gold", "size": "large"}.items() <= orders.tags.items()
    assert users.kinds == {"dlt", "duckdb", "api"}
    assert orders.description == "What was sold."
    assert dg.AssetKey(["elsewhere", "orders"]) in {dep.asset_key for dep in orders.deps}


def test_a_translator_wins_over_settings(pipeline):
    class Own(DagsterDltTranslator):
        def get_group_name(self, resource):
            return "own"

    specs = by_resource(
        make_assets(pipeline, dagster_dlt_translator=Own(), settings={"group_name": "web"})
    )
    assert {spec.group_name for spec in specs.values()} == {"own"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"ownres": ["team:a"]}}, "settings: there is no field 'ownres'.*'owners'"),
        (
            {"resource_settings": {"order": {"owners": ["team:a"]}}},
            "no resource 'order'.*'orders'",
        ),
        (
            {"resource_settings": {"orders": {"automation_condition": "egaer"}}},
            "'orders'.*'egaer'.*'eager'",
        ),
        ({"settings": {"pool": "a"}}, "settings: there is no field 'pool'"),
        (
            {"settings": {"freshness_lower_bound_delta_seconds": 60}},
            "build_freshness_definitions",
        ),
        ({"settings": {"checks": ["row_cuont"]}}, "row_cuont.*row_count"),
    ],
)
def test_a_wrong_setting_names_its_place_and_a_close_match(pipeline, options, message):
    with pytest.raises(ConfigError, match=message):
        make_assets(pipeline, **options)


def test_an_unknown_option_is_refused_with_a_close_match(pipeline):
    with pytest.raises(ConfigError, match=r"'loaded': there is no option 'poool'.*'pool'"):
        make_assets(pipeline, poool="a")
    with pytest.raises(ConfigError, match=r"no option 'on_eror'.*'on_error'"):
        make_assets(pipeline, on_eror="keep")


def test_other_resources_are_taken_by_key_as_dagster_has_it(pipeline, instance):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline, required_resource_keys={"dlt", "letters"})
    def loaded(context: dg.AssetExecutionContext):
        assert context.resources.letters == "abc"
        yield from context.resources.dlt.run(context=context)

    resources = {
        "dlt": DagsterDltResource(),
        "letters": dg.ResourceDefinition.hardcoded_resource("abc"),
    }
    assert dg.materialize([loaded], instance=instance, resources=resources).success


def test_freshness_is_a_check_and_a_sensor_beside_the_assets(pipeline, instance):
    assets = make_assets(pipeline, nested_tables=True, settings={"checks": ["row_count"]})
    moved = assets.with_attributes(
        asset_key_replacements={key: key.with_prefix("lake") for key in assets.keys}
    )
    definitions = dg.Definitions.merge(
        dg.Definitions(assets=[assets], resources={"dlt": DagsterDltResource()}),
        build_freshness_definitions(assets, {"orders": 3600, "users": 60}),
    )
    checks = {
        (check.asset_key.to_user_string(), check.name)
        for check in definitions.resolve_asset_graph().asset_check_keys
    }
    assert checks == {
        (f"dlt_shop_{name}", check)
        for name in ("orders", "users")
        for check in ("row_count", "freshness_check")
    }
    (sensor,) = definitions.sensors
    assert sensor.name == "loaded_freshness"
    run = definitions.resolve_implicit_global_asset_job_def().execute_in_process
    assert run(instance=instance, asset_selection=list(assets.keys)).success
    evaluations = {
        (found.asset_key.to_user_string(), found.check_name): found.passed
        for found in run(instance=instance).get_asset_check_evaluations()
    }
    assert evaluations["dlt_shop_orders", "freshness_check"] is True
    [check] = build_freshness_definitions([moved], {"orders": 1.5}).asset_checks
    assert {key.asset_key for key in check.check_keys} <= moved.keys


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ({"order": 60}, "no resource of that name.*'orders'"),
        (0, "0 is no number of seconds"),
        ({"users": "soon"}, "resource 'users'.*'soon'"),
    ],
)
def test_wrong_freshness_is_an_error(pipeline, seconds, message):
    with pytest.raises(ConfigError, match=message):
        build_freshness_definitions(make_assets(pipeline), seconds)


def test_freshness_of_other_assets_is_refused():
    @dg.multi_asset(specs=[dg.AssetSpec("a")])
    def other():
        yield dg.MaterializeResult(asset_key="a")

    with pytest.raises(ConfigError, match="made by dlt_assets"):
        build_freshness_definitions(other, 60)
