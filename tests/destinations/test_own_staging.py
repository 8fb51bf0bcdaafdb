"""A staging dataset that the user has named keeps what else is in it."""

import uuid

import dlt
import psycopg2
import pytest

from loadsmith.engine.run import run_load
from loadsmith.model import LoadDefinition, RunRequest

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

pytestmark = pytest.mark.postgres


@pytest.fixture
def schema():
    name = f"scratch_{uuid.uuid4().hex[:8]}"
    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
        cursor.execute(f"CREATE TABLE {name}.mine AS SELECT 1 AS n")
        yield name, cursor
        cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        cursor.execute(f"DROP SCHEMA IF EXISTS {name}_data CASCADE")
    connection.close()


@pytest.mark.parametrize("by_setting", [False, True])
@pytest.mark.parametrize("disposition", ["merge", "replace"])
def test_a_schema_of_the_user_stays(tmp_path, monkeypatch, schema, by_setting, disposition):
    name, cursor = schema
    if by_setting:
        monkeypatch.setenv("DESTINATION__POSTGRES__STAGING_DATASET_NAME_LAYOUT", name)
        monkeypatch.setenv("DESTINATION__POSTGRES__REPLACE_STRATEGY", "insert-from-staging")
    params = {} if by_setting else {"staging_dataset_name_layout": name}
    definition = LoadDefinition(
        name="orders",
        source=lambda: dlt.resource(
            [{"id": 1, "items": [{"k": 1}]}, {"id": 2}],
            name="orders",
            primary_key="id",
            write_disposition=disposition,
        ),
        pipeline=lambda: dlt.pipeline(
            "orders",
            destination=dlt.destinations.postgres(POSTGRES, **params),
            dataset_name=f"{name}_data",
            pipelines_dir=str(tmp_path / "p"),
        ),
    )
    for _ in range(2):
        with run_load(definition, RunRequest()):
            pass
    cursor.execute(f"SELECT n FROM {name}.mine")
    assert cursor.fetchall() == [(1,)]
    cursor.execute(f"SELECT count(*) FROM {name}_data.orders")
    assert cursor.fetchall() == [(2,)]
