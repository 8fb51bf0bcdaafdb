"""A load of which a job fails is no good load, whatever dlt's settings say."""

import uuid

import dlt
import pytest

from loadsmith.engine.run import run_load
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, RunRequest

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    "variable",
    [
        "LOAD__RAISE_ON_FAILED_JOBS",
        "RAISE_ON_FAILED_JOBS",
        "{PIPELINE}__LOAD__RAISE_ON_FAILED_JOBS",
        "file",
    ],
)
def test_a_job_that_fails_fails_the_load_and_moves_no_cursor(
    tmp_path, monkeypatch, request, variable
):
    name = f"failed_{uuid.uuid4().hex[:8]}"
    if variable == "file":
        (tmp_path / ".dlt").mkdir()
        (tmp_path / ".dlt" / "config.toml").write_text("[load]\nraise_on_failed_jobs = false\n")
        monkeypatch.chdir(tmp_path)
        dlt.current.run_context().reload()

        def read_none_of_it() -> None:
            monkeypatch.undo()
            dlt.current.run_context().reload()

        request.addfinalizer(read_none_of_it)
    else:
        monkeypatch.setenv(variable.format(PIPELINE=name.upper()), "false")
    warned = []

    def load(text, format_):
        definition = LoadDefinition(
            name="orders",
            source=lambda: dlt.resource(
                lambda cursor=dlt.sources.incremental("id", initial_value=0): iter(
                    [{"id": number, "text": text} for number in range(1, 4)]
                ),
                name="orders",
                columns={"text": {"data_type": "text", "precision": 3}},
            ),
            pipeline=lambda: dlt.pipeline(
                name,
                destination=dlt.destinations.postgres(POSTGRES),
                dataset_name=name,
                pipelines_dir=str(tmp_path / "p"),
            ),
        )
        request = RunRequest(
            run_id=uuid.uuid4().hex,
            warn=warned.append,
            params={"loader_file_format": format_},
            outcome_of=lambda _run: "failed",
        )
        with run_load(definition, request) as result:
            return result.rows_loaded

    try:
        with pytest.raises(RunError):
            load("too long", "insert_values")
        assert [line for line in warned if "raise_on_failed_jobs" in line]
        with pytest.raises(RunError):
            load("too long", "insert_values")
    finally:
        pipeline = dlt.pipeline(
            "reader", destination=dlt.destinations.postgres(POSTGRES), dataset_name=name
        )
        with pipeline.sql_client() as client:
            marked = client.execute_sql("SELECT load_id FROM _dlt_loads")
            client.drop_dataset()
    assert marked == []
