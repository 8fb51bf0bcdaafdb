import json
from pathlib import Path

import pytest

FILE = Path("dlt_project/schemas/shop.schema.yaml")
WORKFLOW = Path("odp_config/workflows/shop.yaml")


def test_a_first_schema_file_is_written(shop, call):
    FILE.unlink()
    done = call("schema", "shop/orders")
    assert done.exit_code == 0
    assert "dlt_project/schemas/shop.schema.yaml: written" in done.stdout
    assert "orders__items:" in FILE.read_text()
    assert not Path("data/warehouse.duckdb").exists()


def test_changes_are_shown_and_written_once(shop, call):
    done = call("schema", "--all", "--json")
    changes = json.loads(done.stdout)[0]["changes"]
    assert {(change["table"], change["column"]) for change in changes} >= {("orders", "day")}
    assert call("schema", "--all", "--check").exit_code == 0


def test_checking_writes_nothing_and_fails_where_the_file_would_change(shop, call):
    before = FILE.read_text()
    done = call("schema", "shop/orders", "--check")
    assert done.exit_code == 1
    assert "would change" in done.stdout
    assert FILE.read_text() == before


def test_the_last_partition_is_looked_at_unless_told_otherwise(shop, call):
    text = WORKFLOW.read_text().replace(
        "asset_key: shop/orders, task_type: dlt, params: {",
        'asset_key: shop/orders, task_type: dlt, params: {source_params: {day: "{{context.'
        'partition_key}}"}, ',
    )
    WORKFLOW.write_text(
        f"{text}\npartitions:\n  - assets: [shop/orders]\n    params: {{start: '2024-01-01', "
        "end: '2024-01-04', schedule_type: DAILY}\n"
    )
    assert call("schema", "shop/orders").exit_code == 0
    done = call("schema", "shop/orders", "--partition", "2024-02-01")
    assert done.exit_code == 1
    assert done.stderr.startswith("--partition 2024-02-01: shop_orders has no such partition.")


def test_a_misspelled_asset_gets_close_matches(shop, call):
    done = call("schema", "shop/ordrs")
    assert done.exit_code == 1
    assert "Did you mean 'shop/orders'" in done.stderr


def test_an_asset_without_schema_file_path_says_what_to_add(shop, call):
    WORKFLOW.write_text(
        WORKFLOW.read_text().replace("    schema_file_path: schemas/shop.schema.yaml\n", "")
    )
    done = call("schema", "shop/orders")
    assert done.exit_code == 1
    assert "there is no `schema_file_path` to write to" in done.stderr


def test_neither_an_asset_nor_all_is_wrong_usage(shop, call):
    assert call("schema").exit_code == 2


def test_what_is_pruned_are_tables_of_the_assets_that_were_asked_for(shop, call):
    file = shop / "dlt_project/schemas/shop.schema.yaml"
    text = file.read_text()
    gone = "  orders__gone:\n    parent: orders\n    columns:\n      n: {data_type: text}\n"
    kept = "  customers__kept:\n    parent: customers\n    columns:\n      n: {data_type: text}\n"
    file.write_text(text.replace("settings: {}", f"{gone}{kept}settings: {{}}"))
    assert call("schema", "shop/orders").exit_code == 0
    assert "orders__gone" in file.read_text()
    assert call("schema", "shop/orders", "--prune").exit_code == 0
    assert "orders__gone" not in file.read_text()
    assert "customers:" in file.read_text()
    assert "customers__kept" in file.read_text()
    assert call("schema", "shop/customers", "--prune").exit_code == 0
    assert "customers__kept" not in file.read_text()
    assert "orders:" in file.read_text()


TWO_LOADS = """
assets:
  - asset_key: shop/orders
    task_type: dlt
    params:
      source_module: shop.source
      schema_file_path: schemas/shop.schema.yaml
      destination: duckdb
      destination_params: {database: data/warehouse.duckdb}
  - asset_key: broken/things
    task_type: dlt
    params:
      source_module: shop.broken
      schema_file_path: schemas/broken.schema.yaml
      destination: duckdb
  - asset_key: late/refunds
    task_type: dlt
    params:
      source_module: shop.late
      schema_file_path: schemas/late.schema.yaml
      destination: duckdb
      destination_params: {database: data/warehouse.duckdb}
jobs:
  - job_id: all
    asset_selection: [shop/orders, broken/things]
"""


@pytest.fixture
def three_loads(shop):
    """A project with a load that works, one that fails, and one without rows."""
    WORKFLOW.write_text(TWO_LOADS)
    Path("dlt_project/shop/broken.py").write_text(
        "import dlt\n@dlt.source\ndef broken():\n    @dlt.resource\n    def things():\n"
        "        yield 1 / 0\n    return things\n"
    )
    Path("dlt_project/shop/late.py").write_text(
        "import dlt\n@dlt.source\ndef late():\n    @dlt.resource\n    def refunds():\n"
        "        yield from ()\n    return refunds\n"
    )


def test_all_sources_are_looked_at_though_one_fails(three_loads, call):
    done = call("schema", "--all")
    assert done.exit_code == 1
    assert "schemas/shop.schema.yaml: updated" in done.stdout
    assert "load 'broken_things', extract, resource 'things'" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "late_refunds: no row of refunds came in the sample" in done.stderr
    assert "shop_orders: no row" not in done.stderr


def test_loads_run_though_the_schema_file_of_another_one_is_missing(three_loads, call):
    assert call("run", "shop/orders").exit_code == 0
    done = call("run", "*")
    assert done.exit_code == 1
    assert "shop/orders" in done.stdout
    for line, name in ((14, "broken"), (20, "late")):
        assert f"Not loaded: {WORKFLOW}:{line}:25: Schema file not found at" in done.stderr
        assert f"schemas/{name}.schema.yaml" in done.stderr
    alone = call("run", "broken/things")
    assert alone.exit_code == 1
    assert alone.stderr.startswith(f"{WORKFLOW}:14:25: Schema file not found at")


def test_the_deep_check_goes_on_where_a_schema_file_is_missing(three_loads, call):
    Path("dlt_project/shop/late.py").write_text("import not_installed_anywhere")
    done = call("check", "--deep")
    assert done.exit_code == 1
    assert f"{WORKFLOW}:14:25: Schema file not found" in done.stderr
    assert f"{WORKFLOW}:19:22: source 'shop.late': its module imports" in done.stderr
    assert "pip install not-installed-anywhere" in done.stderr
