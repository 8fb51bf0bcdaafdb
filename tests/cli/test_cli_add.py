"""`loadsmith add` and `init --list`: one more load, ready to run, and nothing else changed."""

import json
import sys
from pathlib import Path

import duckdb
import pytest
import yaml


def snapshot():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def out(call, *arguments):
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.fixture
def started(tmp_path, monkeypatch, call):
    def start(layout, **options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        name = f"added_to_{layout}"
        asked = [text for key, value in options.items() for text in (f"--{key}", value)]
        out(call, "init", name, "--layout", layout, "--yes", *asked)
        monkeypatch.chdir(tmp_path / name)

    return start


def test_loads_of_every_source_run_beside_the_first(started, call):
    started("odp")
    before = snapshot()
    for name, source in {
        "crm": "python",
        "inbox": "filesystem",
        "legacy": "sql_database",
        "web": "rest_api",
    }.items():
        told = out(call, "add", name, "--source", source)
        assert f"odp_config/workflows/{name}.yaml" in told
        assert f"loadsmith run '{name}/*'" in told
    after = snapshot()
    changed = [str(path) for path in before if before[path] != after[path]]
    assert changed in ([], ["dlt_project/.dlt/secrets.toml.example"])
    assert "No mistakes" in out(call, "check", "--deep")
    rows = json.loads(out(call, "run", "crm/*,inbox/*,legacy/*", "--json"))["lines"]
    assert {line["asset"]: line["rows"] for line in rows} == {
        "crm/customers": 20,
        "crm/orders": 100,
        "crm/orders__items": 200,
        "inbox/customers": next(
            line["rows"] for line in rows if line["asset"] == "inbox/customers"
        ),
        "legacy/customers": 20,
        "legacy/orders": 100,
    }
    with duckdb.connect("data/warehouse.duckdb", read_only=True) as database:
        assert database.execute("SELECT count(*) FROM legacy.orders").fetchone() == (100,)


def test_a_load_is_added_to_a_dg_project(started, call):
    started("dg")
    before = snapshot()
    for name, source in {"crm": "python", "legacy": "sql_database"}.items():
        files = json.loads(out(call, "add", name, "--source", source, "--json"))["files"]
        assert any(file.endswith(f"defs/{name}/defs.yaml") for file in files)
    after = snapshot()
    assert all(before[path] == after[path] for path in before if path.suffix == ".yaml")
    assert "No mistakes" in out(call, "check", "--deep")
    planned = json.loads(out(call, "run", "crm/*,legacy/*", "--dry-run", "--json"))
    assert {one["asset"] for one in planned["assets"]} >= {"crm/orders", "legacy/orders"}
    assert "20" in out(call, "run", "crm/customers", "--limit", "20")


def test_it_goes_where_the_others_go_unless_another_destination_is_named(started, call):
    started("odp", destination="filesystem")
    out(call, "add", "crm", "--source", "python")
    out(call, "add", "erp", "--source", "python", "--destination", "postgres")
    params = {
        name: yaml.safe_load(Path(f"odp_config/workflows/{name}.yaml").read_text())["defaults"][
            "params"
        ]
        for name in ("crm", "erp")
    }
    assert params["crm"]["destination"] == "filesystem"
    assert params["crm"]["destination_params"] == {"bucket_url": "data/lake"}
    assert params["erp"]["destination"] == "postgres"
    assert "postgres" in Path("dlt_project/.dlt/secrets.toml.example").read_text()


def test_nothing_that_is_there_is_changed(started, call):
    started("odp")
    before = snapshot()
    taken = call("add", "shop", "--source", "python")
    assert taken.exit_code == 1
    assert "there is something already" in taken.stderr
    assert "Take 'my_crm'" in call("add", "My CRM", "--source", "python").stderr
    assert "installed" in call("add", "json", "--source", "python").stderr
    assert call("add", "crm", "--source", "pyton").exit_code == 2
    assert call("add", "crm").exit_code == 2
    assert snapshot() == before


def test_the_choices_are_listed(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("init", "add"):
        shown = out(call, command, "--list")
        for word in ("rest_api", "sql_database", "snowflake", "dg"):
            assert word in shown
    assert not list(tmp_path.iterdir())
