"""`check --connect`: an answer within seconds, and the name of the secret."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path("odp_config/workflows/shop.yaml")


def write(*assets):
    WORKFLOW.write_text(
        yaml.safe_dump({"assets": [{"task_type": "dlt", **asset} for asset in assets]})
    )


def asked(call, *options, fails=False):
    done = call("check", "--connect", "--json", *options)
    assert done.exit_code == int(fails), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is not fails
    return {(one["load"], one["side"]): one for one in found["connections"]}


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says a word."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_source_and_destination_answer_and_nothing_is_written(shop, call):
    found = asked(call)
    assert {side for _, side in found} == {"source", "destination"}
    assert all(one["ok"] for one in found.values())
    assert not Path("data").exists()
    table = call("check", "--connect")
    assert "'orders' answered" in table.stdout
    assert "connections" not in json.loads(call("check", "--json").stdout)


def test_wrong_and_missing_secrets_are_named_and_none_is_shown(shop, call, monkeypatch):
    Path("dlt_project/.dlt").mkdir()
    Path("dlt_project/.dlt/secrets.toml").write_text(
        "[destination.postgres.credentials]\n"
        'host = "127.0.0.1"\nport = 1\nusername = "shop"\ndatabase = "shop"\n'
        'password = "pass-4711-word"\n'
    )
    Path("dlt_project/shop/source.py").write_text(
        "import dlt\n\n\n@dlt.source\ndef shop(api_token: str = dlt.secrets.value):\n"
        "    @dlt.resource\n    def orders():\n        raise ValueError(f'401 for {api_token}')\n\n"
        "    return orders\n"
    )
    orders = {"source_module": "shop.source", "destination": "postgres"}
    write({"asset_key": "shop/orders", "params": orders})
    found = asked(call, fails=True)
    database = found["shop_orders", "destination"]
    assert not database["ok"]
    assert "127.0.0.1" in database["message"]
    assert "DESTINATION__POSTGRES__CREDENTIALS__PASSWORD" in database["secrets"]
    source = found["shop_orders", "source"]
    assert "'SHOP__API_TOKEN' not found" in source["message"]
    monkeypatch.setenv("SHOP__API_TOKEN", "tok-1234-secret")
    monkeypatch.setenv("SOURCES__SHOP__API_TOKEN", "tok-1234-secret")
    shown = call("check", "--connect")
    assert shown.exit_code == 1
    assert "ValueError: 401 for ***" in shown.stderr
    assert "API_TOKEN" in shown.stdout
    assert "1234" not in shown.output
    assert "4711" not in shown.output


def test_a_variable_of_the_files_is_named(shop, call, monkeypatch):
    params = {
        "source_module": "sql_database",
        "source_params": {"credentials": "{{env.SHOP_DB}}"},
        "destination": "duckdb",
        "destination_params": {"database": "data/warehouse.duckdb"},
    }
    write({"asset_key": "shop/orders", "params": params})
    assert "SHOP_DB" in asked(call, fails=True)["shop_orders", "source"]["message"]
    monkeypatch.setenv("SHOP_DB", "sqlite:///shop.db")
    found = asked(call)["shop_orders", "source"]
    assert found["message"].startswith("connected to ")
    assert found["secrets"] == ["SHOP_DB"]


def test_who_never_answers_is_waited_for_no_longer_than_told(shop, call, silent):
    silent_rest = {
        "source_module": "rest_api",
        "source_params": {
            "client": {"base_url": f"http://127.0.0.1:{silent}"},
            "resources": ["orders"],
        },
        "destination": "postgres",
        "destination_params": {"credentials": f"postgresql://a:b@127.0.0.1:{silent}/c"},
    }
    write({"asset_key": "shop/orders", "params": silent_rest})
    script = "from loadsmith.cli import main; main()"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, "check", "--connect", "--timeout", "0.5", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert time.monotonic() - began < 45
    assert done.returncode == 1, done.stderr
    answers = json.loads(done.stdout)["connections"]
    assert len(answers) == 2
    for one in answers:
        assert "no answer within 0.5 seconds" in one["message"]
        assert one["seconds"] == 0.5


def test_the_same_destination_is_asked_once(shop, call):
    params = {"source_module": "shop.source", "destination": "filesystem"}
    bucket = {"bucket_url": "lake"}
    write(
        *(
            {
                "asset_key": f"{name}/orders",
                "params": {**params, "destination_params": bucket},
            }
            for name in ("a", "b", "c")
        )
    )
    assert sorted(side for _, side in asked(call)) == ["destination", "source"]
