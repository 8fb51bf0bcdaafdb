"""A table that is replaced by no rows is empty, and the next run loads it again."""

import uuid

import dlt
import pytest

from loadsmith.engine.run import run_load
from loadsmith.model import LoadDefinition, RunRequest

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def pipeline(request, tmp_path):
    destination = (
        dlt.destinations.postgres(POSTGRES)
        if request.param == "postgres"
        else dlt.destinations.duckdb(str(tmp_path / "empty.duckdb"))
    )
    name = f"empty_{uuid.uuid4().hex[:8]}"
    made = dlt.pipeline(
        name, destination=destination, dataset_name=name, pipelines_dir=str(tmp_path / "p")
    )
    yield made
    with made.sql_client() as client:
        client.drop_dataset()


def arrow(rows):
    import pyarrow as pa

    return pa.table({"id": pa.array([row["id"] for row in rows], pa.int64())})


@pytest.mark.parametrize("shape", ["records", "nested", "arrow", "schema of no rows"])
def test_a_table_is_replaced_by_no_rows_and_by_rows_again(pipeline, shape):
    def rows(ids):
        found = [{"id": number, "at": "2024-01-01T00:00:00Z"} for number in ids]
        if shape == "arrow":
            yield arrow(found)
        elif shape == "schema of no rows" and not ids:
            yield dlt.mark.materialize_table_schema()
        elif shape == "nested":
            yield [{**row, "items": [{"n": 1}]} for row in found]
        else:
            yield found

    counts = []
    for ids in ([1, 2], [], [], [3]):
        definition = LoadDefinition(
            name="orders",
            source=lambda: dlt.resource(
                rows(ids),  # noqa: B023 - used at once
                name="orders",
                write_disposition="replace",
                columns={"id": {"data_type": "bigint"}},
            ),
            pipeline=lambda: pipeline,
        )
        with run_load(definition, RunRequest()):
            pass
        with pipeline.sql_client() as client:
            counts.append([row[0] for row in client.execute_sql("SELECT id FROM orders")])
    assert counts == [[1, 2], [], [], [3]]
