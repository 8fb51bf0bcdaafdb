"""`run --limit`, `--full-refresh` and `--dry-run`: none of them loses or doubles a row unsaid."""

import json
from pathlib import Path

import duckdb
import pytest

SOURCE = Path("dlt_project/shop/source.py")
WORKFLOW = Path("odp_config/workflows/shop.yaml")

INCREMENTAL = """
import os

import dlt


@dlt.source
def shop():
    last = int(os.environ["LAST_ORDER"])

    @dlt.resource
    def orders(number=dlt.sources.incremental("id", initial_value=0, range_start="open")):
        for number in range(1, last + 1):
            yield {"id": number, "items": [{"product": "a"}]}

    @dlt.resource(write_disposition="replace")
    def customers():
        for number in range(6):
            yield {"id": number, "name": "Ada"}

    @dlt.transformer(data_from=customers)
    def letters(customer):
        yield {"id": customer["id"], "letters": 3}

    return orders, customers, letters
"""


@pytest.fixture
def incremental(shop, monkeypatch):
    SOURCE.write_text(INCREMENTAL)
    text = WORKFLOW.read_text().replace("    schema_file_path: schemas/shop.schema.yaml\n", "")
    WORKFLOW.write_text(
        text.replace(
            "jobs:",
            "  - {asset_key: shop/letters, task_type: dlt, params: {source_module: shop.source}}\n"
            "jobs:",
        )
    )
    monkeypatch.setenv("LAST_ORDER", "5")
    return shop


def out(call, *arguments):
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def rows_of(table):
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        return database.execute(f"SELECT count(*) FROM raw.{table}").fetchone()[0]


def cursor(call):
    found = json.loads(out(call, "state", "show", "shop/orders", "--json"))
    return found[0]["last_value"] if found else None


def test_a_sample_touches_neither_the_destination_nor_a_cursor(incremental, call, monkeypatch):
    shown = out(call, "run", "shop/*", "--limit", "2")
    assert "No destination and no cursor was touched" in shown
    assert not Path("data").exists()
    out(call, "run", "shop/*")
    monkeypatch.setenv("LAST_ORDER", "9")
    sample = json.loads(out(call, "run", "shop/*", "--limit", "2", "--json"))
    rows = {table["table"]: table["rows"] for table in sample["tables"]}
    assert rows == {"orders": 2, "orders__items": 2, "customers": 2, "letters": 2}
    assert sample["sample"] is True
    (orders,) = (table for table in sample["tables"] if table["table"] == "orders")
    assert orders["first"] == [{"id": 1}, {"id": 2}]
    assert (rows_of("orders"), rows_of("customers"), cursor(call)) == (5, 6, "5")
    out(call, "run", "shop/*")
    assert (rows_of("orders"), cursor(call)) == (9, "9")


def test_a_full_refresh_loads_the_selected_assets_anew_and_no_others(
    incremental, call, monkeypatch
):
    out(call, "run", "shop/*")
    monkeypatch.setenv("LAST_ORDER", "7")
    done = json.loads(out(call, "run", "shop/customers", "--full-refresh", "--json"))
    assert [line["rows"] for line in done["lines"] if line["selected"]] == [6]
    assert (rows_of("orders"), cursor(call)) == (5, "5")
    out(call, "run", "shop/orders", "--full-refresh")
    assert (rows_of("orders"), rows_of("orders__items"), cursor(call)) == (7, 7, "7")
    out(call, "run", "shop/orders")
    assert rows_of("orders") == 7
    assert call("run", "shop/orders", "--full-refresh", "--limit", "2").exit_code == 2


def test_a_dry_run_says_what_would_happen_and_changes_nothing(incremental, call):
    early = out(call, "run", "shop/*", "--dry-run")
    assert "Nothing was run" in early
    assert not Path("data").exists()
    out(call, "run", "shop/*")
    before = Path("data/warehouse.duckdb").read_bytes()
    planned = json.loads(out(call, "run", "shop/*", "--dry-run", "--json"))
    assert planned["problems"] == []
    orders = next(one for one in planned["assets"] if one["asset"] == "shop/orders")
    assert (orders["does"], orders["start"]) == ("load", "id 5")
    anew = out(call, "run", "shop/orders", "--dry-run", "--full-refresh")
    assert "drop the table and its cursor" in anew
    assert "5" not in anew
    assert "scratch" in out(call, "run", "shop/orders", "--dry-run", "--limit", "3")
    assert Path("data/warehouse.duckdb").read_bytes() == before
    wrong = call("run", "shop/order", "--dry-run")
    assert "Did you mean 'shop/orders'" in wrong.stderr


def test_a_dry_run_names_what_is_pending_and_what_cannot_be_asked(incremental, call):
    out(call, "run", "shop/*")
    for state in list(Path("data/pipelines").rglob("state.json")):
        (state.parent / "load" / "normalized" / "1700000000.1").mkdir(parents=True)
    planned = json.loads(out(call, "run", "shop/orders", "--dry-run", "--json"))
    assert planned["assets"][0]["pending"] == ["1700000000.1"]
    WORKFLOW.write_text(
        WORKFLOW.read_text()
        .replace("destination: duckdb", "destination: postgres")
        .replace("destination_params: {database: data/warehouse.duckdb}",
                 "destination_params: {credentials: 'postgresql://a:b@127.0.0.1:1/none'}")
    )  # fmt: skip
    failed = call("run", "shop/orders", "--dry-run")
    assert failed.exit_code == 1
    assert "Nothing was run" in failed.stdout
    assert "127.0.0.1" in failed.stderr


@pytest.mark.parametrize(
    ("params", "part", "whole"),
    [
        ("{schedule_type: DAILY, start: '2024-01-01', end: '2024-01-03'}", "2024-01-01",
         "2024-01-01...2024-01-02"),
        ("{type: static, keys: [a, b]}", "a", None),
    ],
)  # fmt: skip
def test_a_full_refresh_of_some_partitions_is_refused(shop, call, params, part, whole):
    text = WORKFLOW.read_text()
    WORKFLOW.write_text(
        f"{text}partitions:\n  - assets: [shop/orders, shop/customers]\n    params: {params}\n"
    )
    refused = call("run", "shop/orders", "--full-refresh", "-p", part)
    assert refused.exit_code == 1, refused.stdout
    assert "--full-refresh: shop/orders has partitions" in refused.stderr
    dry = call("run", "shop/orders", "--full-refresh", "--dry-run", "-p", part)
    assert dry.stderr == refused.stderr
    assert not Path("data").exists()
    assert (f"--partition {whole}" in refused.stderr) is (whole is not None)
    if whole:
        out(call, "run", "shop/orders", "--full-refresh", "-p", whole)
        assert rows_of("orders") == 3
    sample = json.loads(out(call, "run", "shop/orders", "--limit", "1", "-p", part, "--json"))
    assert sample["tables"][0]["rows"] == 1
    assert call("run", "shop/orders", "--limit", "1", "-p", "nowhere").exit_code == 1
    assert call("run", "shop/orders", "--limit", "1", "-p", f"{part}...{part}").exit_code == 1
