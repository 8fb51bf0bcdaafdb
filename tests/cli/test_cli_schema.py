import json
from pathlib import Path

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
