import json
from pathlib import Path

import duckdb
import pytest

SOURCE = Path("dlt_project/shop/source.py")
WORKFLOW = Path("odp_config/workflows/shop.yaml")

INCREMENTAL = """
import dlt


@dlt.source
def shop():
    @dlt.resource(write_disposition="merge", primary_key="id")
    def orders(at=dlt.sources.incremental("at", initial_value="2024-01-01")):
        yield [{"id": 1, "at": "2024-01-02"}, {"id": 2, "at": "2024-01-03"}]

    @dlt.resource(write_disposition="merge", primary_key="id")
    def customers(number=dlt.sources.incremental("id", initial_value=0)):
        yield [{"id": 1, "name": "Ada"}]

    return orders, customers
"""


@pytest.fixture
def incremental_shop(shop):
    SOURCE.write_text(INCREMENTAL)
    WORKFLOW.write_text(
        WORKFLOW.read_text().replace("    schema_file_path: schemas/shop.schema.yaml\n", "")
    )
    return shop


def rows_of(table):
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        return database.execute(f"SELECT count(*) FROM raw.{table}").fetchone()[0]


def cursors(call, *arguments):
    done = call("state", "show", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return {one["resource"]: one for one in json.loads(done.stdout)}


def loaded(call, *arguments):
    done = call("run", "shop/*", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return {line["asset"]: line["rows"] for line in json.loads(done.stdout)["lines"]}


def test_cursors_are_shown_with_the_package_that_took_them_there(incremental_shop, call):
    assert call("state", "show").stdout.startswith("No cursor is stored")
    assert not Path("data").exists()
    loaded(call)
    first = cursors(call)
    assert loaded(call) == {"shop/orders": 0, "shop/customers": 0}
    assert cursors(call) == first
    orders = first["orders"]
    assert orders["cursor_path"] == "at"
    assert (orders["initial_value"], orders["last_value"]) == ("2024-01-01", "2024-01-03")
    assert orders["kept_in"] == "destination"
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        (package,) = database.execute("SELECT DISTINCT _dlt_load_id FROM raw.orders").fetchone()
    assert orders["load_id"] == package
    assert orders["moved_at"].startswith("20")
    shown = call("state", "show", "shop/orders").stdout
    assert "2024-01-03" in shown
    assert "customers" not in shown


def test_a_cursor_is_read_from_the_destination_on_another_machine(incremental_shop, call):
    loaded(call)
    Path("data/pipelines").rename("data/elsewhere")
    assert cursors(call)["orders"]["last_value"] == "2024-01-03"
    assert not Path("data/pipelines").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_a_forgotten_cursor_starts_from_its_initial_value_and_rows_stay(
    incremental_shop, call, moved
):
    loaded(call)
    done = call("state", "reset", "shop/orders", "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    assert [(one["resource"], one["last_value"]) for one in json.loads(done.stdout)] == [
        ("orders", "2024-01-03")
    ]
    assert set(cursors(call)) == {"customers"}
    assert rows_of("orders") == 2
    if moved:
        Path("data/pipelines").rename("data/elsewhere")
    assert loaded(call) == {"shop/orders": 2, "shop/customers": 0}
    assert rows_of("orders") == 2
    assert set(cursors(call)) == {"orders", "customers"}
    # The second time is as good as the first.
    assert call("state", "reset", "shop", "--resource", "orders", "--yes").exit_code == 0
    assert loaded(call) == {"shop/orders": 2, "shop/customers": 0}


def test_nothing_is_forgotten_without_an_answer(incremental_shop, call):
    loaded(call)
    asked = call("state", "reset", "shop/orders", given="n\n")
    assert asked.exit_code == 1
    assert "what a resource appends is loaded again" in asked.output
    assert set(cursors(call)) == {"orders", "customers"}
    assert call("state", "reset", "shop/orders", given="y\n").exit_code == 0
    assert set(cursors(call)) == {"customers"}
    assert "No cursor is stored" in call("state", "reset", "shop/orders").stdout
    assert call("state", "reset", "shop/orders", "--json").exit_code == 2


def test_each_static_partition_has_a_cursor_of_its_own(incremental_shop, call):
    text = WORKFLOW.read_text()
    params = "params: {keys: [eu, us]}"
    WORKFLOW.write_text(
        f"{text}\npartitions:\n  - assets: [shop/orders, shop/customers]\n    {params}\n"
    )
    loaded(call, "--partition", "eu")
    done = call("state", "show", "shop/orders", "--json")
    assert [one["partition"] for one in json.loads(done.stdout)] == ["eu"]
    assert call("state", "reset", "shop/orders", "-p", "eu", "--yes").exit_code == 0
    assert json.loads(call("state", "show", "shop/orders", "--json").stdout) == []
    assert loaded(call, "--partition", "eu")["shop/orders"] == 2


def test_parts_of_a_load_that_have_ops_of_their_own_keep_their_cursors_apart(
    incremental_shop, call
):
    WORKFLOW.write_text(
        WORKFLOW.read_text().replace(
            "    destination: duckdb", "    granularity: table\n    destination: duckdb"
        )
    )
    loaded(call)
    assert cursors(call)["orders"]["last_value"] == "2024-01-03"
    assert call("state", "reset", "shop/orders", "--yes").exit_code == 0
    assert set(cursors(call)) == {"customers"}
    assert loaded(call) == {"shop/orders": 2, "shop/customers": 0}


def test_files_keep_cursors_too(incremental_shop, call):
    text = WORKFLOW.read_text().replace("destination: duckdb", "destination: filesystem")
    WORKFLOW.write_text(text.replace("database: data/warehouse.duckdb", "bucket_url: data/files"))
    loaded(call)
    assert cursors(call)["orders"]["last_value"] == "2024-01-03"
    assert call("state", "reset", "shop/orders", "--yes").exit_code == 0
    assert set(cursors(call)) == {"customers"}
    assert loaded(call) == {"shop/orders": 2, "shop/customers": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "shop/ordrs"], "Did you mean 'shop/orders'"),
        (["reset", "shop", "-r", "order", "--yes"], "has no such resource. Did you mean 'orders'"),
        (["show", "shop/orders", "-p", "x"], "--partition x: shop has no partitions. Leave it out"),
    ],
)
def test_a_name_that_there_is_not_gets_a_close_match(incremental_shop, call, arguments, said):
    done = call("state", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr


def test_a_cursor_is_shown_without_the_secret_in_it(incremental_shop, call, monkeypatch):
    monkeypatch.setenv("SHOP_API_KEY", "2024-01-03?sig=abc")
    SOURCE.write_text(INCREMENTAL.replace('"2024-01-03"', '"2024-01-03?sig=abc"'))
    loaded(call)
    assert cursors(call)["orders"]["last_value"] == "***"
    assert "sig=abc" not in call("state", "show").output


def test_a_package_that_is_not_loaded_is_discarded_by_hand(incremental_shop, call):
    bad = '{"id": 3, "at": "2024-01-09", "rate": Decimal("0." + "0" * 30 + "1")}'
    poisoned = INCREMENTAL.replace("}]", f"}}] + ([{bad}] if Path('bad').exists() else [])", 1)
    SOURCE.write_text(f"from decimal import Decimal\nfrom pathlib import Path\n{poisoned}")
    loaded(call)
    before = cursors(call)
    assert call("state", "discard", "shop/orders", "--yes").stdout == "Nothing was discarded.\n"
    Path("bad").touch()
    assert call("run", "shop/*").exit_code != 0
    done = call("state", "discard", "shop/orders", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "with orders (" in done.stdout
    assert "Rows that the source no longer gives are lost" in done.stdout
    assert done.stdout.endswith("Discarded.\n")
    Path("bad").unlink()
    loaded(call)
    assert cursors(call) == before
    assert rows_of("orders") == 2
