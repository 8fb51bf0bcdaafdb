"""Every command works in the project that `loadsmith init --layout dg` makes."""

import contextlib
import json
import sqlite3
import sys
from pathlib import Path

import pytest
import yaml

from loadsmith.cli import cli

SOURCE = Path("walked/defs/shop/source.py")
DEFS = Path("walked/defs/shop/defs.yaml")
SCHEMA = Path("walked/defs/shop/shop.schema.yaml")

#: The commands and what each says of the project, in an order that makes sense.
COMMANDS = {
    "check": "No mistakes: 3 assets.",
    "check --deep": "No mistakes: 3 assets.",
    "check --connect": "'customers' answered",
    "list": "3 assets, 0 schedules",
    "list --settings": "loader_file_format",
    "discover shop/orders": "2 things to load.",
    "schema shop/orders": "walked/defs/shop/shop.schema.yaml: up to date",
    "schema * --check": "walked/defs/shop/shop.schema.yaml: up to date",
    "schema --all": "walked/defs/shop/shop.schema.yaml: up to date",
    "run * --dry-run": "Nothing was run.",
    "run shop/orders --limit 3": "A sample",
    "run *": "3 assets, 320 rows",
    "show shop/orders__items --limit 3": "3 rows; there are more",
    "info": "a project of dg",
    "state show": "No cursor is stored",
    "state reset shop/orders --yes": "nothing to forget",
    "state discard shop --yes": "Nothing was discarded.",
    "dbt-sources sources.yml": "sources.yml",
    "clean": "0 loaded packages",
    "add crm --source python": "loadsmith run 'crm/*'",
    "run crm/*": "3 assets, 320 rows",
    "json-schema component": '"loads"',
}
ELSEWHERE = {"init", "dev", "compare-dagster-dlt"}


@pytest.fixture
def walked(tmp_path, monkeypatch, call):
    """A project of dg, whose package the process forgets afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert call("init", "walked", "--layout", "dg", "--yes").exit_code == 0
    monkeypatch.chdir("walked")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "walked"]:
        del sys.modules[name]


def test_every_command_works(walked, call):
    assert {command.split()[0] for command in COMMANDS} | ELSEWHERE == set(cli.list_commands(None))
    for command, says in COMMANDS.items():
        done = call(*command.split())
        assert done.exit_code == 0, f"{command}: {done.output}"
        assert says in done.output, f"{command}: {done.output}"


def test_a_schema_file_that_is_missing_is_written_by_the_command_that_the_error_names(walked, call):
    SCHEMA.unlink()
    refused = call("list")
    assert refused.exit_code == 1
    assert "`loadsmith schema`" in refused.stderr
    assert call("schema", "shop/payments").exit_code == 0
    assert call("list").exit_code == 0
    done = call("schema", "shop/payments")
    assert done.exit_code == 1
    assert "no load with a `schema_file_path` brings such an asset" in done.stderr


def test_a_new_column_is_seen_and_written(walked, call):
    text = SOURCE.read_text()
    assert '"name"' in text
    SOURCE.write_text(text.replace('"name"', '"nickname": "x", "name"'))
    done = call("schema", "--all", "--check", "--json")
    assert done.exit_code == 1
    (change,) = json.loads(done.stdout)
    assert [(one["table"], one["column"]) for one in change["changes"]] == [
        ("customers", "nickname")
    ]
    assert call("schema", "shop/customers").exit_code == 0
    assert call("schema", "shop/*", "--check").exit_code == 0


def test_cursors_of_each_partition_are_shown_and_forgotten(walked, call):
    SOURCE.write_text(
        SOURCE.read_text().replace(
            "def orders(", 'def orders(number=dlt.sources.incremental("id"), '
        )
    )
    document = yaml.safe_load(DEFS.read_text())
    (load,) = document["attributes"]["loads"]
    load["partitions_def"] = {"type": "static", "keys": ["eu", "us"]}
    load["run_params"] = {"write_disposition": "append"}
    load["resources"] = ["orders"]
    DEFS.write_text(yaml.safe_dump(document))
    done = call("run", "shop/*", "--partition", "eu")
    assert done.exit_code == 0, done.output
    (cursor,) = json.loads(call("state", "show", "--json").stdout)
    assert (cursor["partition"], cursor["last_value"]) == ("eu", "100")
    assert "no such partition" in call("state", "show", "*", "--partition", "asia").stderr
    done = call("state", "reset", "shop", "--yes")
    assert "1 cursor forgotten" in done.stdout, done.output


def test_tables_that_only_the_source_knows_are_asked_for_anew(walked, call):
    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        database.execute("create table orders (id integer primary key)")
    folder = Path("walked/defs/warehouse")
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        yaml.safe_dump(
            {
                "type": "loadsmith.DltLoadCollectionComponent",
                "attributes": {
                    "loads": [
                        {
                            "source_module": "sql_database",
                            "source_params": {"credentials": f"sqlite:///{Path.cwd()}/shop.db"},
                            "destination": "duckdb",
                            "pipeline_params": {"pipeline_name": "w", "dataset_name": "w"},
                            "snapshot_path": "tables.json",
                        }
                    ]
                },
            }
        )
    )
    assert call("schema", "--all", "--check").exit_code == 1
    assert call("schema", "--all").exit_code == 0
    assert call("schema", "--all", "--check").exit_code == 0
    assert "w/orders" in call("list").stdout

    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        database.execute("create table refunds (id integer primary key)")
        database.execute("drop table orders")
    done = call("schema", "--all", "--check")
    assert done.exit_code == 1, done.output
    assert "w/refunds" not in call("list").stdout
    done = call("schema", "--all")
    assert done.exit_code == 0, done.output
    assert "refunds" in done.output
    listed = call("list").stdout
    assert "w/refunds" in listed
    assert "w/orders" not in listed
