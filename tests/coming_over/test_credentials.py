"""Definitions need none of the secrets of a source, also where they are fields of credentials."""

import sqlite3

import dlt
import pytest
from dlt.sources.credentials import (
    AwsCredentials,
    ConnectionStringCredentials,
    GcpServiceAccountCredentials,
)
from dlt.sources.sql_database import sql_database, sql_table
from moved import decorated, in_component, metadata_of, run

from loadsmith.errors import SecretNotFound


def shop():
    return sql_database(table_names=["orders"], defer_table_reflect=True)


@dlt.source
def untyped(credentials=dlt.secrets.value):
    return sql_table(credentials, table="orders", defer_table_reflect=True)


@dlt.source
def typed(at: ConnectionStringCredentials = dlt.secrets.value):
    return sql_table(at, table="orders", defer_table_reflect=True)


@dlt.source
def clouds(aws: AwsCredentials = dlt.secrets.value, gcp: GcpServiceAccountCredentials = None):
    return dlt.resource([{"id": aws.aws_access_key_id}], name="orders")


def pipeline() -> dlt.Pipeline:
    return dlt.pipeline(
        "bought", destination=dlt.destinations.duckdb("bought.duckdb"), dataset_name="web"
    )


@pytest.mark.parametrize("source", [untyped, typed, clouds])
def test_assets_are_defined_without_credentials_of_several_fields(source, tmp_path) -> None:
    before = set(tmp_path.iterdir())
    (spec,) = (
        spec
        for spec in decorated(source, pipeline()).resolve_all_asset_specs()
        if "dlt" in spec.kinds
    )
    assert spec.key.path[-1].endswith("_orders")
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"dlt"}


@pytest.mark.parametrize("make", [decorated, in_component])
def test_the_run_has_the_credentials(make, monkeypatch, tmp_path) -> None:
    defs = make(shop, pipeline())
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES (7)")
    connection.close()
    monkeypatch.setenv("SOURCES__SQL_DATABASE__CREDENTIALS__DRIVERNAME", "sqlite")
    monkeypatch.setenv("SOURCES__SQL_DATABASE__CREDENTIALS__DATABASE", str(tmp_path / "shop.db"))
    (shown,) = metadata_of(run(defs)).values()
    assert shown["rows_loaded"] == 1


@pytest.mark.parametrize("names", [["orders"], None])
def test_a_source_that_connects_at_once_says_which_credentials_are_missing(names) -> None:
    with pytest.raises(SecretNotFound, match="CREDENTIALS__DRIVERNAME"):
        decorated(lambda: sql_database(table_names=names), pipeline())
