"""The text of an `initial_value` in YAML has the type of the cursor that it is for."""

import sqlite3
from datetime import date, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from loadsmith.engine.run import run_load
from loadsmith.engine.sources import make_source
from loadsmith.engine.sources.initial_values import TimeText
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    SourceReference,
)

SOURCE = """
import dlt
from datetime import datetime, timezone

TIMES = [datetime(2024, month, 1, tzinfo=timezone.utc) for month in (1, 2, 3)]

@dlt.source
def times(initial_value):
    @dlt.resource
    def rows(at=dlt.sources.incremental("at", initial_value=initial_value)):
        yield [{"id": number, "at": moment} for number, moment in enumerate(TIMES)]
    return rows

@dlt.source
def texts(initial_value):
    @dlt.resource
    def rows(at=dlt.sources.incremental("at", initial_value=initial_value)):
        yield [{"id": number, "at": moment.isoformat()} for number, moment in enumerate(TIMES)]
    return rows

@dlt.resource
def annotated(at: dlt.sources.incremental[datetime] = dlt.sources.incremental("at")):
    yield [{"id": number, "at": moment} for number, moment in enumerate(TIMES)]
"""


@pytest.fixture
def reference(tmp_path):
    (tmp_path / "own.py").write_text(SOURCE)

    def make(name, **params):
        return SourceReference(module=f"own.{name}", search_path=str(tmp_path), params=params)

    return make


@pytest.mark.parametrize("text", ["2024-01-15", "2024-02-01", "2024-01-31T23:30:00Z"])
def test_a_text_is_compared_as_the_rows_are(reference, text):
    for given in (
        reference("times", initial_value=text),
        reference("texts", initial_value=text),
        reference("annotated", at={"cursor_path": "at", "initial_value": text}),
    ):
        assert [row["id"] for row in make_source(given)] == [1, 2]


def test_the_cursor_goes_on_in_the_next_run(reference, tmp_path):
    definition = LoadDefinition(
        name="own",
        source=reference("times", initial_value="2024-01-15"),
        destination=DestinationReference(name="duckdb", params={"database": f"{tmp_path}/d"}),
        pipeline=PipelineSettings(
            pipeline_name="own", dataset_name="raw", pipelines_dir=str(tmp_path)
        ),
    )
    for expected in (2, 0):
        with run_load(definition, RunRequest(run_id=str(expected))) as result:
            assert sum(table.rows_loaded or 0 for table in result.tables) == expected


@pytest.mark.parametrize("backend", ["sqlalchemy", "pyarrow"])
def test_a_table_of_a_database_is_read_from_there_on(tmp_path, backend):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE t (id INT, at TIMESTAMP)")
        database.execute("INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-03-01 00:00')")
    database.close()
    source = make_source(
        SourceReference(
            module="sql_database.sql_table",
            params={
                "credentials": f"sqlite:///{tmp_path}/a.db",
                "table": "t",
                "backend": backend,
                "incremental": {"cursor_path": "at", "initial_value": "2024-02-01"},
            },
        )
    )
    items = [
        item.to_pylist() if isinstance(item, pa.Table) else [item] for item in source.resources["t"]
    ]
    assert [row["id"] for rows in items for row in rows] == [2]


def test_a_text_is_a_time_among_times_and_a_text_among_texts():
    text = TimeText("2024-02-01T10:00:00+02:00")
    moment = datetime(2024, 2, 1, 8, tzinfo=timezone.utc)
    assert text == moment
    assert text == moment.replace(tzinfo=None)
    assert moment - timedelta(1) < text < moment + timedelta(1)
    assert date(2024, 1, 31) < text <= date(2024, 2, 1)
    assert "2024-01" < text < "2025"
    assert {text: 1}["2024-02-01T10:00:00+02:00"] == 1
