import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from loadsmith.assets import _dagster


def test_assets_are_listed_with_table_and_destination(shop, call):
    done = call("list")
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if "shop/orders__items" in line)
    assert line.split() == ["shop/orders__items", "raw.orders__items", "duckdb", "shop"]
    assert "3 assets, 1 schedule" in done.stdout


def test_the_list_is_data_with_json(shop, call):
    found = json.loads(call("list", "--json").stdout)
    assert [asset["asset"] for asset in found["assets"]] == [
        "shop/customers",
        "shop/orders",
        "shop/orders__items",
    ]
    assert found["schedules"][0]["cron"] == "0 6 * * *"
    assert found["assets"][2]["resource"] == "orders"


def test_choices_of_a_load_are_listed_with_who_made_them(shop, call):
    found = json.loads(call("list", "--settings", "--json").stdout)
    chosen = {entry["setting"]: (entry["value"], entry["chosen by"]) for entry in found}
    assert chosen["loader_file_format"] == ("parquet", "loadsmith")
    assert chosen["data_writer.file_max_bytes"] == ("32,000,000 for extracted records", "loadsmith")
    assert chosen["normalizer"] == ("arrow", "loadsmith")


def test_what_the_user_chose_is_listed_as_such(shop, call, monkeypatch):
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_BYTES", "1000")
    found = json.loads(call("list", "--settings", "--json").stdout)
    chosen = {entry["setting"]: (entry["value"], entry["chosen by"]) for entry in found}
    assert chosen["data_writer.file_max_bytes"] == ("1000", "you")


def test_a_secret_is_not_listed(shop, call, monkeypatch):
    monkeypatch.setenv("SHOP_LICENSE", "licence-4711-x")
    Path("dlt_project/.dlt").mkdir(exist_ok=True)
    Path("dlt_project/.dlt/secrets.toml").write_text('[shop]\nnote = "from-a-file-99"\n')
    workflow = Path("odp_config/workflows/shop.yaml")
    workflow.write_text(
        workflow.read_text().replace(
            "task_type: dlt,",
            "task_type: dlt, description: 'https://x.example/from-a-file-99/licence-4711-x',",
        )
    )
    done = call("list", "--json")
    descriptions = {asset["description"] for asset in json.loads(done.stdout)["assets"]}
    assert "https://x.example/***/***" in descriptions
    assert "99" not in done.stdout
    assert "4711" not in done.stdout


def test_what_differs_in_dagster_is_listed(shop, call, monkeypatch):
    hook = _dagster.HOOKS[0]
    changed = replace(hook, uses=dict.fromkeys(hook.uses, "another"))
    monkeypatch.setattr(_dagster, "HOOKS", (changed, *_dagster.HOOKS[1:]))
    found = json.loads(call("list", "--settings", "--json").stdout)
    [entry] = [entry for entry in found if entry["chosen by"] == "dagster"]
    assert entry["setting"] == f"dagster {version('dagster')}"
    assert hook.lost in entry["value"]
