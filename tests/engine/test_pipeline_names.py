"""A pipeline has any name that dlt takes, in a working directory that nobody has used."""

import dlt
import pytest

from loadsmith.engine.run import run_load
from loadsmith.model import LoadDefinition, RunRequest

NAMES = ("my-pipeline", "1shop", "41240ec8-4172-4e3e-9fb4-4bc56e14b333", "Größe")


def rows_in(folder):
    pipeline = dlt.pipeline(
        "reader",
        destination=dlt.destinations.duckdb(str(folder / "names.duckdb")),
        dataset_name="raw",
        pipelines_dir=str(folder / "reader"),
    )
    with pipeline.sql_client() as client:
        return client.execute_sql("SELECT id FROM events ORDER BY id")


@pytest.mark.parametrize("keys", [(), ("eu-1",)])
@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_of_any_name_goes_on_from_its_cursor_on_another_machine(tmp_path, name, keys):
    for machine, last in (("one", 2), ("two", 4), ("one", 5)):

        def events(n=dlt.sources.incremental("id")):
            yield [{"id": number} for number in range(last)]  # noqa: B023 - used at once

        def source():
            return dlt.resource(events, name="events", write_disposition="append")

        definition = LoadDefinition(
            name="load",
            source=source,
            pipeline=lambda: dlt.pipeline(
                name,
                destination=dlt.destinations.duckdb(str(tmp_path / "names.duckdb")),
                dataset_name="raw",
                pipelines_dir=str(tmp_path / machine),  # noqa: B023 - used at once
            ),
        )
        request = RunRequest(partition_key=keys[0] if keys else None, partition_keys=keys)
        with run_load(definition, request) as result:
            assert result.pipeline_name == name
    assert rows_in(tmp_path) == [(number,) for number in range(5)]
