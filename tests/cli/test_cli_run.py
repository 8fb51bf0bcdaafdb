import json
from pathlib import Path

import dagster as dg
import duckdb
import pytest

SOURCE = Path("dlt_project/shop/source.py")
WORKFLOW = Path("odp_config/workflows/shop.yaml")


def rows_of(table):
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        return database.execute(f"SELECT count(*) FROM raw.{table}").fetchone()[0]


def test_rows_of_each_table_are_loaded_and_printed(shop, call):
    done = call("run", "shop/*")
    assert done.exit_code == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "shop/orders__items" in line)
    assert line.split()[1] == "6"
    assert line.split()[3] == "raw.orders__items"
    assert "3 assets, 10 rows" in done.stdout
    assert rows_of("orders__items") == 6


def test_tables_that_were_not_selected_came_along(shop, call):
    SOURCE.write_text(SOURCE.read_text().replace('"items":', '"notes": [{"text": "x"}], "items":'))
    done = call("run", "shop/orders__items")
    assert done.exit_code == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line.split("  ")[0] for line in lines if line.startswith("shop/")] == [
        "shop/orders (came along)",
        "shop/orders__items",
        "shop/orders__notes (came along)",
    ]


def test_the_result_is_data_with_json(shop, call):
    done = call("run", "shop/customers", "--json")
    report = json.loads(done.stdout)
    assert report["success"]
    assert [(line["asset"], line["rows"]) for line in report["lines"]] == [("shop/customers", 1)]


def test_a_failed_load_says_why_without_a_traceback(shop, call):
    SOURCE.write_text(
        SOURCE.read_text().replace("yield {", "raise ValueError('closed')\n            yield {")
    )
    done = call("run", "shop/orders")
    assert done.exit_code == 1
    assert "load 'shop', extract, resource 'orders', before its first page" in done.stderr
    assert "ValueError: closed. Nothing" in done.stderr
    assert "Traceback" not in done.output
    assert "loaded: 0 assets" in done.stdout


def test_a_misspelled_selection_gets_close_matches(shop, call):
    done = call("run", "shop/ordrs")
    assert done.exit_code == 1
    assert "Did you mean 'shop/orders'" in done.stderr


def test_a_partition_of_assets_without_partitions_is_refused(shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-01")
    assert done.exit_code == 1
    assert "none of the selected assets has partitions" in done.stderr


@pytest.fixture
def partitioned_shop(shop):
    text = WORKFLOW.read_text().replace(
        "asset_key: shop/orders, task_type: dlt, params: {",
        'asset_key: shop/orders, task_type: dlt, params: {source_params: {day: "{{context.'
        'partition_key}}"}, ',
    )
    WORKFLOW.write_text(
        f"{text}\npartitions:\n  - assets: [shop/orders]\n    params: {{start: '2024-01-01', "
        "end: '2024-01-04', schedule_type: DAILY}\n"
    )
    return shop


def test_a_partition_reaches_the_source(partitioned_shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-02")
    assert done.exit_code == 0, done.stderr
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        found = database.execute("SELECT DISTINCT day FROM raw.orders").fetchall()
    assert [str(day)[:10] for (day,) in found] == ["2024-01-02"]


def test_a_missing_partition_names_the_latest(partitioned_shop, call):
    done = call("run", "shop/orders")
    assert done.exit_code == 1
    assert "Add --partition KEY, such as --partition 2024-01-03, the latest." in done.stderr


def test_an_unknown_partition_says_which_there_are(partitioned_shop, call):
    done = call("run", "shop/orders", "--partition", "2024-01-09")
    assert done.exit_code == 1
    assert "They go from 2024-01-01 to 2024-01-03." in done.stderr


def test_the_run_is_in_the_instance_of_dagster_home(shop, tmp_path, monkeypatch, call):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert call("run", "shop/customers").exit_code == 0
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["shop", "customers"]))
        assert event is not None


def test_a_range_of_partitions_is_one_run(partitioned_shop, call):
    WORKFLOW.write_text(WORKFLOW.read_text().replace("context.partition_key", "context.run_id"))
    done = call("run", "shop/orders", "--partition", "2024-01-01...2024-01-02", "--json")
    assert done.exit_code == 0, done.stderr
    lines = json.loads(done.stdout)["lines"]
    assert {line["partition"] for line in lines} == {"2024-01-01", "2024-01-02"}
    assert rows_of("orders") == 3
