"""`loads: [{source, pipeline}]` leads to sources and pipelines in Python."""

import pytest

REFERENCED = """
type: loadsmith.DltLoadCollectionComponent

attributes:
  loads:
    - source: {source}
      pipeline: {pipeline}
"""


def _write(shop, source=".loads.shop_source", pipeline=".loads.shop_pipeline", more=""):
    shop.write("ingest/defs.yaml", REFERENCED.format(source=source, pipeline=pipeline) + more)


def test_a_load_is_one_asset_for_each_resource_called_by_dataset_and_table(shop):
    _write(shop)

    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}


def test_the_assets_load_rows_into_the_destination(shop):
    _write(shop)

    assert shop.materialize().success
    assert shop.rows("shop.duckdb", "select count(*) from shop_data.orders") == [(2,)]


def test_one_asset_of_a_load_can_be_materialized_alone(shop):
    _write(shop)

    result = shop.materialize("shop_data/customers")

    assert [
        event.asset_key.to_user_string() for event in result.get_asset_materialization_events()
    ] == ["shop_data/customers"]
    tables = shop.rows("shop.duckdb", "select table_name from information_schema.tables")
    assert ("customers",) in tables
    assert ("orders",) not in tables


@pytest.mark.parametrize("source", [".loads.shop", ".loads.make_shop", ".loads.shop_source"])
def test_a_source_may_be_live_or_not_called_or_a_function_that_makes_one(shop, source):
    _write(shop, source=source)

    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}
    assert shop.materialize("shop_data/customers").success


def test_a_pipeline_may_be_a_function_that_makes_one(shop):
    _write(shop, pipeline=".loads.make_pipeline")

    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}


def test_a_single_resource_is_a_source(shop):
    _write(shop, source=".loads.orders")

    assert shop.asset_keys() == {"shop_data/orders"}
    assert shop.materialize().success


def test_an_absolute_reference_leads_to_any_module(shop):
    _write(
        shop,
        source=f"{shop.package}.defs.ingest.loads.shop_source",
        pipeline=f"{shop.package}.defs.ingest.loads.shop_pipeline",
    )

    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}


def test_an_asset_appears_and_goes_with_its_resource(shop):
    _write(shop)
    loads = shop.defs / "ingest" / "loads.py"
    assert "shop_data/refunds" not in shop.asset_keys()

    before = loads.read_text()
    refunds = '@dlt.resource\ndef refunds():\n    yield {"id": 3}\n\n\n@dlt.source'
    loads.write_text(
        before.replace("@dlt.source", refunds).replace(
            "return orders, customers", "return orders, customers, refunds"
        )
    )
    assert "shop_data/refunds" in shop.asset_keys()

    loads.write_text(before.replace("return orders, customers", "return orders"))
    assert shop.asset_keys() == {"shop_data/orders"}


def test_two_loads_of_one_source_and_dataset_are_two_ops(shop):
    _write(
        shop,
        more="      resources: [orders]\n"
        "    - source: .loads.shop_source\n"
        "      pipeline: .loads.shop_pipeline\n"
        "      resources: [customers]\n",
    )

    ops = {asset.op.name for asset in shop.definitions().assets}
    assert len(ops) == 2
    assert shop.asset_keys() == {"shop_data/orders", "shop_data/customers"}
    assert shop.materialize().success


def test_two_loads_that_make_the_same_asset_are_a_mistake(shop):
    _write(
        shop,
        more="    - source: .loads.shop_source\n      pipeline: .loads.shop_pipeline\n",
    )

    text = shop.failure()
    assert "'shop_data/orders', too" in text
    assert "defs.yaml:8:" in text


def test_the_same_load_in_two_folders_makes_ops_of_different_names(shop):
    _write(shop)
    shop.write(
        "other/loads.py",
        (shop.defs / "ingest" / "loads.py")
        .read_text()
        .replace('dataset_name="shop_data"', 'dataset_name="my-ds"'),
    )
    shop.write(
        "other/defs.yaml",
        REFERENCED.format(source=".loads.shop_source", pipeline=".loads.shop_pipeline"),
    )

    assert {"my-ds/orders", "shop_data/orders"} <= shop.asset_keys()
    assert shop.materialize("my-ds/customers").success


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (".loads.shop_sauce", "Did you mean 'shop_source'"),
        (".laods.shop_source", "Candidates: .loads.customers"),
        (".loads.shop_pipeline", "not a source"),
        ("no_such_package.loads.x", "there is no module 'no_such_package.loads'"),
        (".loads", "Candidates: .loads.customers, "),
        ("loads", "'.loads.my_load_source'"),
    ],
)
def test_a_wrong_reference_lists_candidates_with_file_and_line(shop, source, said):
    _write(shop, source=source)

    text = shop.failure()
    assert said in text
    assert "defs.yaml:6 - attributes.loads.0.source" in text
    assert "Traceback" not in text


def test_a_module_that_fails_to_import_is_not_called_missing(shop):
    shop.write("ingest/loads.py", "import no_such_thing\n")
    _write(shop)

    text = shop.failure()
    assert "No module named 'no_such_thing'" in text


def test_a_source_function_that_needs_arguments_says_which(shop):
    shop.write(
        "ingest/loads.py",
        """
        import dlt

        @dlt.source
        def shop(region):
            return []

        pipeline = dlt.pipeline("shop", destination="duckdb", dataset_name="shop_data")
        """,
    )
    _write(shop, source=".loads.shop", pipeline=".loads.pipeline")

    assert "needs 'region'" in shop.failure()
