"""What a run asks of a destination, counted: the numbers stay where they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from loadsmith.engine.results import fetch_row_counts
from loadsmith.engine.run import run_load
from loadsmith.engine.sources import select_resources
from loadsmith.engine.workspace.state import own_tables
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadResult,
    PipelineSettings,
    ResourceSelection,
    RunRequest,
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The database files that were opened while nothing else in this process had them open."""
    files: list[str] = []
    connections: list[duckdb.DuckDBPyConnection] = []
    connect = duckdb.connect

    def counted(database: Any = ":memory:", *args: Any, **kwargs: Any) -> Any:
        if database != ":memory:" and not any(map(is_open, connections)):
            files.append(str(database))
        connections.append(connect(database, *args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(duckdb, "connect", counted)
    return files


def is_open(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.cursor().close()
    except duckdb.ConnectionException:
        return False
    return True


def many(tables: int, value: object = 1) -> Any:
    @dlt.source(name="many")
    def source() -> Any:
        for number in range(tables):
            yield dlt.resource([{"id": 1, "value": value}], name=f"table_{number}")

    return source()


def load_of(folder: Path, tables: int, value: object = 1) -> LoadDefinition:
    return LoadDefinition(
        name="many",
        source=lambda: many(tables, value),
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "many.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="many", dataset_name="raw", pipelines_dir=str(folder / "pipelines")
        ),
    )


def run(definition: LoadDefinition) -> LoadResult:
    with run_load(definition, RunRequest(run_id="run")) as result:
        return result


def part_of(definition: LoadDefinition, number: int) -> LoadDefinition:
    return replace(
        definition,
        name=f"many_{number}",
        resources=ResourceSelection(include=(f"table_{number}",)),
        owns_pipeline_name=False,
    )


def stored_tables(folder: Path, part: int) -> set[str]:
    pipeline = dlt.attach(
        "many", pipelines_dir=str(folder / "pipelines/.loadsmith" / f"many_{part}")
    )
    try:
        return set(pipeline.default_schema.data_table_names())
    finally:
        pipeline.deactivate()


@pytest.mark.parametrize("tables", [1, 12])
def test_a_run_opens_a_database_as_often_whatever_it_loads(
    tmp_path: Path, opened: list[str], tables: int
) -> None:
    run(load_of(tmp_path, tables))
    first = len(opened)
    run(load_of(tmp_path, tables))

    # The claim with ledger and state, the load, and the acknowledgement.
    assert (first, len(opened) - first) == (3, 3)


def test_the_rows_of_all_tables_are_counted_in_one_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[str] = []
    execute = DuckDbSqlClient.execute_query

    def counted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        queries.append(str(query))
        return execute(self, query, *args, **kwargs)

    names = [f"table_{number}" for number in range(20)]
    with run_load(load_of(tmp_path, 20), RunRequest(run_id="run")):
        monkeypatch.setattr(DuckDbSqlClient, "execute_query", counted)
        counts = fetch_row_counts(names, pytest.fail)
        monkeypatch.undo()

    assert counts == dict.fromkeys(names, 1)
    assert len(queries) == 1


def test_a_table_that_is_not_there_costs_the_others_no_count(tmp_path: Path) -> None:
    warnings: list[str] = []
    with run_load(load_of(tmp_path, 2), RunRequest(run_id="run")):
        counts = fetch_row_counts(["table_0", "gone", "table_1"], warnings.append)

    assert counts == {"table_0": 1, "table_1": 1}
    assert len(warnings) == 1


def test_a_part_of_a_load_has_only_its_own_tables_in_its_schema(tmp_path: Path) -> None:
    definition = load_of(tmp_path, 3)
    for number in range(3):
        run(part_of(definition, number))

    assert [stored_tables(tmp_path, number) for number in range(3)] == [
        {"table_0"},
        {"table_1"},
        {"table_2"},
    ]


def test_a_part_of_a_load_copies_only_what_it_loads_and_what_feeds_that(tmp_path: Path) -> None:
    @dlt.source(name="family")
    def family() -> Any:
        parent = dlt.resource([{"id": 1}], name="parent", selected=False)
        for name in ("first", "second", "third"):
            yield dlt.transformer(lambda item: item, data_from=parent, name=name)
        yield parent

    definition = replace(
        load_of(tmp_path, 0),
        source=family,
        resources=ResourceSelection(include=("first", "third")),
        part_of=ResourceSelection(include=("first", "third")),
    )

    source, selected = select_resources(definition, RunRequest(run_id="run"))

    assert selected == ("first", "third")
    assert list(source.resources) == ["first", "third", "parent"]
    assert list(source.selected_resources) == ["first", "third"]
    # The one that feeds both is asked once, as in the whole source.
    assert source.resources["first"]._pipe.parent is source.resources["parent"]._pipe
    assert source.resources["third"]._pipe.parent is source.resources["parent"]._pipe


def test_a_part_knows_its_columns_where_another_part_stored_the_newest_schema(
    tmp_path: Path,
) -> None:
    texts = load_of(tmp_path, 2, "text")
    run(part_of(texts, 0))
    run(part_of(texts, 1))
    with duckdb.connect(str(tmp_path / "many.duckdb")) as connection:
        # As many other parts would have stored them.
        connection.execute(
            "INSERT INTO raw._dlt_version SELECT * EXCLUDE (n) REPLACE"
            " (version_hash || n AS version_hash, inserted_at + INTERVAL 1 second AS inserted_at)"
            " FROM raw._dlt_version,"
            " range(1200) AS numbers(n) WHERE inserted_at ="
            " (SELECT max(inserted_at) FROM raw._dlt_version)"
        )
    for folder in (tmp_path / "pipelines/.loadsmith").glob("many_*"):
        folder.rename(tmp_path / f"lost_{folder.name}")

    result = run(part_of(load_of(tmp_path, 2, 7), 0))

    [table] = result.tables
    assert {column.name: column.data_type for column in table.columns}["value"] == "text"
    assert not result.schema_changes


def test_the_newest_version_of_a_table_counts_and_nested_ones_go_with_their_parent() -> None:
    newest = {"b": {"resource": "b"}, "a": {"resource": "a", "columns": 2}}
    older = {
        "a": {"resource": "a", "columns": 1},
        "a__items": {"parent": "a"},
        "b__items": {"parent": "b"},
        "_dlt_loads": {},
    }

    found = own_tables([newest, older], lambda resource: resource == "a")

    assert found == {
        "a": {"resource": "a", "columns": 2},
        "a__items": {"parent": "a"},
        "_dlt_loads": {},
    }
