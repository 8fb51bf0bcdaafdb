"""A source whose tables only it knows is asked once, and not whenever Dagster looks."""

import asyncio
import json

import pytest

from loadsmith.component.discovery import UnknownTables, describe_changes
from loadsmith.model import ColumnSnapshot, LoadSnapshot, ResourceSnapshot, TableSnapshot

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

DEFS = """
type: loadsmith.DltLoadCollectionComponent

attributes:
  loads:
    - source_module: sql_database
      source_params:
        credentials: "{{{{ env.SHOP_DATABASE }}}}"
        schema: {schema}
      destination: duckdb
      destination_params: {{database: shop.duckdb}}
      pipeline_params: {{pipeline_name: shop, dataset_name: shop_data}}
"""

WITH_FILE = DEFS + "      snapshot_path: t.json\n"


def _refresh(project):
    component = project.tree().load_component("ingest")
    asyncio.run(component.refresh_state(project.root))


@pytest.mark.postgres
def test_tables_of_a_database_are_assets_after_one_refresh(project, database, monkeypatch):
    project.write("ingest/defs.yaml", WITH_FILE.format(schema=database))
    with pytest.warns(UnknownTables, match="dg utils refresh-defs-state"):
        assert project.asset_keys() == set()

    monkeypatch.setenv("SHOP_DATABASE", POSTGRES)
    _refresh(project)
    monkeypatch.delenv("SHOP_DATABASE")

    # Neither the secret nor the database is there while Dagster looks.
    assert project.asset_keys() == {"shop_data/orders", "shop_data/orders_archive"}


@pytest.mark.postgres
def test_rows_of_postgres_arrive_in_duckdb_with_their_types(project, database, monkeypatch):
    project.write("ingest/defs.yaml", WITH_FILE.format(schema=database))
    monkeypatch.setenv("SHOP_DATABASE", POSTGRES)
    _refresh(project)

    assert project.materialize("shop_data/orders").success
    rows = project.rows(
        "shop.duckdb", "select id, amount::varchar from shop_data.orders order by 1"
    )
    assert rows == [(1, "10.50"), (2, "20.25")] or [(i, float(a)) for i, a in rows] == [
        (1, 10.5),
        (2, 20.25),
    ]
    assert project.rows("shop.duckdb", "select typeof(amount) from shop_data.orders limit 1")[0][
        0
    ].startswith("DECIMAL")


@pytest.mark.postgres
def test_the_snapshot_is_plain_json_without_the_secret_and_the_same_each_time(
    project, database, monkeypatch
):
    project.write("ingest/defs.yaml", WITH_FILE.format(schema=database))
    monkeypatch.setenv("SHOP_DATABASE", POSTGRES)
    file = project.defs / "ingest" / "t.json"

    _refresh(project)
    first = file.read_text()
    _refresh(project)

    assert file.read_text() == first
    assert POSTGRES not in first
    assert [resource["name"] for resource in json.loads(first)["resources"]] == [
        "orders",
        "orders_archive",
    ]
    assert not (project.defs / ".local_defs_state").exists()


@pytest.mark.postgres
def test_without_a_file_the_snapshot_is_in_the_state_of_dagster(project, database, monkeypatch):
    project.write("ingest/defs.yaml", DEFS.format(schema=database))
    monkeypatch.setenv("SHOP_DATABASE", POSTGRES)
    _refresh(project)
    monkeypatch.delenv("SHOP_DATABASE")

    assert project.asset_keys() == {"shop_data/orders", "shop_data/orders_archive"}
    (state,) = (project.defs / ".local_defs_state").glob("*/state")
    assert "DltLoadCollectionComponent__ingest__" in str(state)


@pytest.mark.postgres
def test_a_refresh_shows_what_changed(project, database, monkeypatch, capsys):
    import psycopg2

    project.write("ingest/defs.yaml", WITH_FILE.format(schema=database))
    monkeypatch.setenv("SHOP_DATABASE", POSTGRES)
    _refresh(project)
    assert "2 table(s): orders, orders_archive" in capsys.readouterr().out
    with (
        psycopg2.connect(POSTGRES.replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"alter table {database}.orders add column note text")
        cursor.execute(f"drop table {database}.orders_archive")

    _refresh(project)

    said = capsys.readouterr().out
    assert "new column orders.note (text)" in said
    assert "table 'orders_archive' is gone" in said


def test_tables_that_are_written_out_need_nobody_to_be_asked(project):
    project.write(
        "ingest/defs.yaml", DEFS.format(schema="nobody") + "      resources: [orders, customers]\n"
    )

    assert project.asset_keys() == {"shop_data/orders", "shop_data/customers"}


def test_a_component_that_asks_nobody_writes_nothing_when_it_is_looked_at(project):
    project.write("ingest/defs.yaml", DEFS.format(schema="nobody") + "      resources: [orders]\n")
    before = sorted(path for path in project.defs.rglob("*") if "__pycache__" not in path.parts)

    project.asset_keys()

    after = sorted(path for path in project.defs.rglob("*") if "__pycache__" not in path.parts)
    assert after == before


def test_changes_are_told_table_by_table():
    def snapshot(*tables):
        return LoadSnapshot(
            source_name="s",
            origin="live",
            resources=tuple(
                ResourceSnapshot(name=table.name, source_name="s", tables=(table,))
                for table in tables
            ),
        )

    def table(name, **columns):
        return TableSnapshot(
            name=name,
            resource=name,
            columns=tuple(
                ColumnSnapshot(name=key, data_type=value) for key, value in columns.items()
            ),
        )

    before = snapshot(table("a", id="bigint", x="text"), table("b"))
    after = snapshot(table("a", id="text", y="bool"), table("c"))

    assert list(describe_changes(before, after)) == [
        "a.id is text, was bigint",
        "column a.x is gone",
        "new column a.y (bool)",
        "table 'b' is gone",
        "new table 'c'",
    ]
    assert list(describe_changes(before, before)) == ["no change, 2 table(s)"]
