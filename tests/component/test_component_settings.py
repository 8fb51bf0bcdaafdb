"""Everything that can be set on a load, in YAML and in Python."""

import dagster as dg
import pytest
from pydantic import TypeAdapter

from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel
from loadsmith.errors import ConfigError

HEAD = """
type: loadsmith.DltLoadCollectionComponent

attributes:
  loads:
    - source: .loads.shop
      pipeline: .loads.shop_pipeline
"""


def _with(shop, text):
    shop.write("ingest/defs.yaml", HEAD + text)
    return shop.definitions()


def _spec(definitions, key):
    (spec,) = [s for s in definitions.resolve_all_asset_specs() if s.key.to_user_string() == key]
    return spec


def _assets(definitions):
    (assets,) = [found for found in definitions.assets if isinstance(found, dg.AssetsDefinition)]
    return assets


def test_settings_of_the_assets_and_of_the_op(shop):
    definitions = _with(
        shop,
        """
      group_name: shop
      owners: ["team:sales"]
      tags: {tier: gold}
      kinds: [python]
      metadata: {source: shop}
      pool: shop_pool
      op_tags: {"dagster-k8s/config": {}}
      retry_policy: {max_retries: 3, delay: 5, backoff: exponential}
      automation_condition: eager
      checks: [row_count, primary_key]
      resource_settings:
        customers: {group_name: crm, description: People.}
""",
    )

    orders, customers = (
        _spec(definitions, "shop_data/orders"),
        _spec(definitions, "shop_data/customers"),
    )
    assert (orders.group_name, customers.group_name) == ("shop", "crm")
    assert customers.description == "People."
    assert list(orders.owners) == ["team:sales"]
    assert orders.tags["tier"] == "gold"
    assert orders.kinds >= {"dlt", "duckdb", "python"}
    assert orders.metadata["source"] == "shop"
    assert orders.automation_condition is not None
    op = _assets(definitions).op
    assert op.pool == "shop_pool"
    assert op.tags["dagster-k8s/config"] == "{}" or op.tags["dagster-k8s/config"] == {}
    assert op.retry_policy.max_retries == 3
    assert {key.name for key in _assets(definitions).check_keys} >= {"row_count"}


def test_a_translation_is_a_template_of_the_resource(shop):
    definitions = _with(
        shop,
        """
      translation:
        key: "raw/{{ data.resource.name }}"
        group_name: "{{ resource.source_name }}"
        description: "Goes into {{ pipeline.dataset_name }}; was {{ spec.key.to_user_string() }}."
        tags: {kind: raw}
""",
    )

    spec = _spec(definitions, "raw/orders")
    assert spec.group_name == "shop"
    assert spec.description == "Goes into shop_data; was shop_data/orders."
    assert spec.tags["kind"] == "raw"


def test_a_key_prefix_is_put_in_front_and_loads_the_right_resource(shop):
    shop.write("ingest/defs.yaml", HEAD + "      translation: {key_prefix: lake}\n")

    result = shop.materialize("lake/shop_data/customers")

    (event,) = result.get_asset_materialization_events()
    assert event.asset_key.to_user_string() == "lake/shop_data/customers"
    assert shop.rows("shop.duckdb", "select name from shop_data.customers") == [("Ada",)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{type: hourly, start: '2024-01-01-00:00'}", dg.HourlyPartitionsDefinition),
        ("{type: daily, start_date: '2024-01-01'}", dg.DailyPartitionsDefinition),
        ("{type: weekly, start: '2024-01-01', day_offset: 1}", dg.WeeklyPartitionsDefinition),
        ("{schedule_type: MONTHLY, start: 2024-01-01}", dg.MonthlyPartitionsDefinition),
        (
            "{type: cron, start: '2024-01-01', cron_schedule: '0 6 * * *', fmt: '%Y-%m-%d'}",
            dg.TimeWindowPartitionsDefinition,
        ),
        (
            "{type: time_window, start_date: '2024-01-01', cron_schedule: '@daily', fmt: '%Y%m%d'}",
            dg.TimeWindowPartitionsDefinition,
        ),
        ("{type: static, partition_keys: [eu, us]}", dg.StaticPartitionsDefinition),
        ("{type: static, keys: [eu, us]}", dg.StaticPartitionsDefinition),
        ("{type: dynamic, name: tenants}", dg.DynamicPartitionsDefinition),
        (
            "{dimensions: {day: {type: daily, start: '2024-01-01'}, region: {keys: [eu, us]}}}",
            dg.MultiPartitionsDefinition,
        ),
        (
            "\"{{ dg.DailyPartitionsDefinition(start_date='2024-01-01') }}\"",
            dg.DailyPartitionsDefinition,
        ),
    ],
)
def test_partitions_of_every_kind(shop, text, kind):
    definitions = _with(shop, f"      partitions_def: {text}\n")

    assert isinstance(_assets(definitions).partitions_def, kind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{type: single_run}", dg.BackfillPolicy.single_run()),
        ("{type: multi_run, max_partitions_per_run: 7}", dg.BackfillPolicy.multi_run(7)),
    ],
)
def test_backfill_policies(shop, text, expected):
    definitions = _with(
        shop,
        "      partitions_def: {type: daily, start: '2024-01-01'}\n"
        f"      backfill_policy: {text}\n",
    )

    assert _assets(definitions).backfill_policy == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("      gruop_name: shop\n", "gruop_name"),
        ("      partitions_def: {type: fortnightly}\n", "fortnightly"),
        ("      checks: [row_cuont]\n", "row_count"),
        ("      destination: duckdb\n", "destination"),
    ],
)
def test_a_wrong_setting_is_shown_with_file_and_line(shop, text, said):
    shop.write("ingest/defs.yaml", HEAD + text)

    shown = shop.failure()
    assert said in shown
    assert "defs.yaml:" in shown


def test_every_field_has_a_description_in_the_json_schema():
    schema = TypeAdapter(DltLoadCollectionComponent.model()).json_schema()
    own = ("LoadEntry", "LoadSettings", "PartitionsEntry", "BackfillPolicyEntry", "RunParams")
    models = [schema, *(schema["$defs"][name] for name in own)]

    assert [
        name
        for model in models
        for name, field in model["properties"].items()
        if not field.get("description")
    ] == []
    assert schema["required"] == ["loads"]


def test_a_misspelled_key_is_named_by_the_json_schema_itself():
    from jsonschema import Draft202012Validator

    schema = DltLoadCollectionComponent.model().model_json_schema()
    errors = list(
        Draft202012Validator(schema).iter_errors(
            {"loads": [{"sorce": ".loads.x", "pipeline": ".loads.y"}]}
        )
    )

    assert [(list(error.absolute_path), "sorce" in error.message) for error in errors] == [
        (["loads", 0], True)
    ]


def test_the_component_from_python_with_live_objects(shop):
    shop.write(
        "ingest/component.py",
        """
        import dagster as dg
        from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel

        from . import loads


        @dg.component_instance
        def load(context):
            return DltLoadCollectionComponent(
                loads=[
                    DltLoadSpecModel(
                        source=loads.shop_source,
                        pipeline=loads.shop_pipeline,
                        group_name="python",
                        translation=lambda spec, data: spec.replace_attributes(
                            description=data.resource.name
                        ),
                    )
                ]
            )
        """,
    )

    spec = _spec(shop.definitions(), "shop_data/orders")
    assert (spec.group_name, spec.description) == ("python", "orders")
    assert shop.materialize("shop_data/orders").success


def test_references_from_python_start_in_the_folder_of_the_component(shop):
    shop.write(
        "ingest/component.py",
        """
        import dagster as dg
        from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel


        @dg.component_instance
        def load(context):
            return DltLoadCollectionComponent(
                loads=[DltLoadSpecModel(".loads.shop_pipeline", ".loads.shop_source")]
            )
        """,
    )

    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}


def test_get_asset_spec_and_execute_are_for_overriding(shop):
    shop.write(
        "own.py",
        """
        from dataclasses import dataclass

        from loadsmith import DltLoadCollectionComponent


        @dataclass
        class Own(DltLoadCollectionComponent):
            suffix: str = "raw"

            def get_asset_spec(self, data):
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(
                    key=[*spec.key.path, self.suffix],
                    description="from " + data.resource.source_name,
                )

            def execute(self, context, dlt_pipeline_resource):
                context.log.info("before the load")
                for event in super().execute(context, dlt_pipeline_resource):
                    yield event._replace(metadata={**event.metadata, "own": self.suffix})
        """,
    )
    shop.write(
        "ingest/defs.yaml",
        HEAD.replace(
            "loadsmith.DltLoadCollectionComponent", f"{shop.package}.defs.own.Own"
        ).replace("attributes:\n", "attributes:\n  suffix: bronze\n"),
    )

    # The key of a load in Python is that of dagster-dlt; `translation` changes it.
    result = shop.materialize("shop_data/orders")

    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["own"].value == "bronze"
    assert _spec(shop.definitions(), "shop_data/orders").description == "from shop"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gruop_name": "x"}, "Did you mean 'group_name'"),
        ({"source_module": "rest_api", "limit": 0}, "limit"),
    ],
)
def test_a_wrong_setting_in_python_is_an_error_of_loadsmith(settings, said):
    with pytest.raises(ConfigError, match=said):
        DltLoadSpecModel(**settings)


def test_nested_tables_are_assets_where_that_is_asked_for(shop):
    import dlt

    pipeline = dlt.pipeline("made", destination="duckdb", dataset_name="made_data")
    pipeline.extract([{"id": 1, "items": [{"n": 1}]}], table_name="orders")
    pipeline.normalize()
    shop.write("ingest/made.schema.yaml", pipeline.default_schema.to_pretty_yaml())

    text = "      schema_file_path: made.schema.yaml\n"
    shop.write("ingest/defs.yaml", HEAD + text)
    assert "shop_data/orders__items" not in shop.asset_keys()

    shop.write("ingest/defs.yaml", HEAD + text + "      nested_tables: true\n")
    assert "shop_data/orders__items" in shop.asset_keys()
