"""What users override, with each signature that they have."""

import dagster as dg
import dlt
import pytest

from loadsmith.assets.define import (
    DagsterDltTranslator,
    DltResourceTranslatorData,
    build_specs,
    nested_key,
    root_table_key,
)
from loadsmith.errors import ConfigError, TranslationError
from loadsmith.model import (
    AssetAttributes,
    ColumnSnapshot,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    ResourceSnapshot,
    SourceReference,
    TableSnapshot,
)

ORDERS = ResourceSnapshot(
    name="orders",
    source_name="shop",
    description="Orders.",
    tables=(
        TableSnapshot(
            name="orders", resource="orders", columns=(ColumnSnapshot(name="id", data_type="text"),)
        ),
        TableSnapshot(name="orders__items", resource="orders", parent="orders"),
    ),
)
EVENTS = ResourceSnapshot(
    name="events",
    source_name="shop",
    tables=(
        TableSnapshot(name="buy", resource="events"),
        TableSnapshot(name="login", resource="events"),
    ),
)


def snapshot(*resources):
    return LoadSnapshot(
        source_name="shop",
        resources=resources,
        origin="schema file",
        dataset_name="ds",
        destination_name="duckdb",
    )


def definition(**settings):
    return LoadDefinition(
        name="shop",
        source=SourceReference(module="shop"),
        pipeline=PipelineSettings(pipeline_name="shop"),
        **settings,
    )


def specs_of(translator=None, *resources, **settings):
    found = build_specs(
        snapshot(*(resources or (ORDERS,))),
        translator or DagsterDltTranslator(),
        definition(**settings),
    )
    return {spec.key.to_user_string(): spec for spec in found}


def test_a_snapshot_gives_the_same_keys_as_a_live_resource():
    spec = specs_of()["dlt_shop_orders"]
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["shop_orders"]
    assert spec.description == "Orders."
    assert spec.kinds == {"dlt", "duckdb"}


def test_each_older_method_is_honoured():
    class Mine(DagsterDltTranslator):
        def get_asset_key(self, resource):
            return dg.AssetKey(["mine", resource.name])

        def get_deps_asset_keys(self, resource):
            return [dg.AssetKey("common")]

        def get_description(self, resource):
            return "d"

        def get_group_name(self, resource):
            return "g"

        def get_metadata(self, resource):
            return {"m": 1}

        def get_owners(self, resource):
            return ["team:data"]

        def get_tags(self, resource):
            return {"t": "1"}

        def get_kinds(self, resource, destination):
            return {destination.destination_name, "mine"}

        def get_automation_condition(self, resource):
            return dg.AutomationCondition.eager()

    spec = specs_of(Mine(), nested_tables=False)["mine/orders"]
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey("common")]
    assert (spec.description, spec.group_name, spec.metadata["m"]) == ("d", "g", 1)
    assert (spec.owners, spec.tags["t"]) == (["team:data"], "1")
    assert spec.kinds == {"duckdb", "mine"}
    assert spec.automation_condition == dg.AutomationCondition.eager()


def test_kinds_may_take_the_resource_alone():
    class Mine(DagsterDltTranslator):
        def get_kinds(self, resource):
            return {resource.name}

    assert specs_of(Mine(), nested_tables=False)["dlt_shop_orders"].kinds == {"orders"}


def test_an_auto_materialize_policy_is_honoured():
    class Policy:
        def to_automation_condition(self):
            return dg.AutomationCondition.on_missing()

    class Mine(DagsterDltTranslator):
        def get_auto_materialize_policy(self, resource):
            return Policy()

    spec = specs_of(Mine())["dlt_shop_orders"]
    assert spec.automation_condition == dg.AutomationCondition.on_missing()


def test_an_overridden_spec_may_start_from_the_default():
    class Mine(DagsterDltTranslator):
        def get_asset_spec(self, data: DltResourceTranslatorData):
            return (
                super()
                .get_asset_spec(data)
                .replace_attributes(key=f"{data.pipeline.dataset_name}_{data.resource.name}")
            )

    assert set(specs_of(Mine())) == {"ds_orders", "ds_orders__items"}


def test_a_translator_that_gives_no_spec_is_an_error():
    class Mine(DagsterDltTranslator):
        def get_asset_spec(self, data):
            return None

    with pytest.raises(TranslationError, match=r"Mine, resource 'orders'.*Return a dg.AssetSpec"):
        specs_of(Mine())


def test_the_same_key_twice_is_an_error_that_names_both_resources():
    class Mine(DagsterDltTranslator):
        def get_asset_key(self, resource):
            return dg.AssetKey("one")

    users = ResourceSnapshot(name="users", source_name="shop")
    with pytest.raises(TranslationError, match=r"'users'.*taken by resource 'orders'"):
        specs_of(Mine(), ORDERS, users)


def test_settings_of_a_resource_win_over_those_of_the_load():
    spec = specs_of(
        attributes=AssetAttributes(group_name="all", tags={"a": "1"}, deps=("x/y",)),
        resource_attributes={"orders": AssetAttributes(group_name="own", kinds=("api",))},
    )["dlt_shop_orders"]
    assert spec.group_name == "own"
    assert spec.tags["a"] == "1"
    assert spec.kinds == {"dlt", "duckdb", "api"}
    assert dg.AssetKey(["x", "y"]) in [dep.asset_key for dep in spec.deps]


def test_a_method_that_is_overridden_wins_over_the_settings():
    class Mine(DagsterDltTranslator):
        def get_group_name(self, resource):
            return "translated"

    spec = specs_of(Mine(), attributes=AssetAttributes(group_name="set"))["dlt_shop_orders"]
    assert spec.group_name == "translated"


def test_a_condition_by_name_is_built_and_a_misspelled_one_names_the_resource():
    spec = specs_of(attributes=AssetAttributes(automation_condition="eager"))["dlt_shop_orders"]
    assert spec.automation_condition == dg.AutomationCondition.eager()
    with pytest.raises(ConfigError, match=r"resource 'orders', automation_condition.*'eager'"):
        specs_of(attributes=AssetAttributes(automation_condition="eagre"))


def test_nested_tables_have_keys_of_their_own_unless_switched_off():
    assert set(specs_of()) == {"dlt_shop_orders", "dlt_shop_orders__items"}
    assert set(specs_of(nested_tables=False)) == {"dlt_shop_orders"}


def test_each_table_that_rows_choose_has_a_key():
    assert set(specs_of(None, EVENTS)) == {"dlt_shop_buy", "dlt_shop_login"}
    assert set(specs_of(None, EVENTS, nested_tables=False)) == {"dlt_shop_events"}


def test_only_selected_resources_have_assets():
    found = specs_of(None, ORDERS, EVENTS, resources=ResourceSelection(exclude=("ev*",)))
    assert set(found) == {"dlt_shop_orders", "dlt_shop_orders__items"}


def test_keys_of_tables_follow_that_of_their_root():
    key = dg.AssetKey(["raw", "orders"])
    assert nested_key(key, "orders", "orders__items").path == ["raw", "orders__items"]
    assert nested_key(key, "other", "lines").path == ["raw", "lines"]
    assert root_table_key(dg.AssetKey("dlt_a_events"), "events", "buy").path == ["dlt_a_buy"]


def test_live_transformers_name_their_root_upstream():
    @dlt.resource
    def users():
        yield 1

    @dlt.transformer(data_from=users)
    def details(user):
        yield user

    @dlt.source(name="shop")
    def source():
        return details

    resource = source().resources["details"]
    spec = DagsterDltTranslator().get_asset_spec(DltResourceTranslatorData(resource, None))
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["shop_users"]
    assert spec.kinds == {"dlt"}
