"""Sources that need a connection when they are called, such as those of mongodb and notion."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadsmith.cli import cli
from loadsmith.component.discovery import UnknownTables

SOURCE = """
    import os
    from pathlib import Path

    import dlt


    @dlt.source
    def mongodb(connection_url: str = dlt.secrets.value):
        Path("called").touch()
        if connection_url != "mongodb://up":
            raise ConnectionError(f"no server at {connection_url}")
        return [dlt.resource([{"id": 1}], name=name) for name in ("movies", "users")]


    def make():
        return mongodb()
"""
GREETINGS = """
    - source_module: .other
      destination: duckdb
      destination_params: {database: data.duckdb}
"""
OTHER = """
    import dlt

    @dlt.source
    def other():
        return dlt.resource([{"id": 1}], name="greetings")
"""


@pytest.fixture
def mongo(project, monkeypatch):
    """A project with a source that cannot be reached, and another one."""
    monkeypatch.setenv("SOURCES__MONGO__CONNECTION_URL", "mongodb://s3cr3t-user:down")
    project.write("ingest/mongo.py", SOURCE)
    project.write("ingest/other.py", OTHER)

    def write(source, resources=""):
        project.write(
            "ingest/defs.yaml",
            "type: loadsmith.DltLoadCollectionComponent\nattributes:\n  loads:\n"
            f"    - {source}\n      destination: duckdb\n      name: movies\n"
            "      destination_params: {database: data.duckdb}\n"
            f"      pipeline_params: {{dataset_name: raw}}\n{resources}{GREETINGS}",
        )
        return project

    return write


@pytest.mark.parametrize(
    "source", ["source_module: .mongo", "source: .mongo.make", "source: .mongo.mongodb"]
)
def test_named_resources_mean_that_the_source_is_called_in_the_run_alone(
    mongo, monkeypatch, source
):
    project = mongo(source, "      resources: [movies]\n")
    assert project.asset_keys() == {"raw/movies", "ingest_other_dataset/greetings"}
    assert not Path("called").exists()
    monkeypatch.setenv("SOURCES__MONGO__CONNECTION_URL", "mongodb://up")
    assert project.materialize("raw/movies").success
    assert Path("called").exists()
    assert project.rows("data.duckdb", "SELECT id FROM raw.movies") == [(1,)]


@pytest.mark.parametrize("source", ["source_module: .mongo", "source: .mongo.make"])
def test_a_call_that_fails_costs_that_load_alone_and_check_tells_why(mongo, source):
    project = mongo(source)
    with pytest.warns(UnknownTables, match=r"defs\.yaml:\d+:\d+: load 'movies': its source fails"):
        assert project.asset_keys() == {"ingest_other_dataset/greetings"}
    with pytest.warns(UnknownTables):
        done = CliRunner().invoke(cli, ["check"])
    assert done.exit_code == 1
    assert "load 'movies': its source fails when it is called (ConnectionError: no server" in (
        done.output
    )
    assert "Name its `resources`, and it is not called before the run." in done.output
    assert "s3cr3t" not in done.output


def test_a_secret_that_a_python_reference_lacks_is_no_error_of_the_location(mongo, monkeypatch):
    monkeypatch.delenv("SOURCES__MONGO__CONNECTION_URL")
    project = mongo("source: .mongo.make")
    with pytest.warns(UnknownTables, match="'SOURCES__MONGODB__CONNECTION_URL' not found"):
        assert project.asset_keys() == {"ingest_other_dataset/greetings"}
    project = mongo("source_module: .mongo", "      resources: [movies]\n")
    assert project.asset_keys() == {"raw/movies", "ingest_other_dataset/greetings"}
    failed = project.materialize("raw/movies", raise_on_error=False)
    (event,) = (event for event in failed.all_events if event.is_step_failure)
    shown = event.step_failure_data.error.to_string()
    assert "CONNECTION_URL' not found" in shown
    assert len(shown.splitlines()) < 60
