"""A load into DuckDB keeps to a limit, which its user sets and which gives way."""

import json
import os
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from loadsmith.engine.destinations import duckdb as _duckdb
from loadsmith.engine.normalizing import ROW_GROUP
from loadsmith.engine.run import run_load
from loadsmith.engine.settings import effective_settings
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
)

TEXT = 4_000_000


@pytest.fixture(autouse=True)
def _nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_duckdb, "_unlimited", set())
    monkeypatch.setattr(_duckdb, "_room", {})


def source(size: int, write_disposition: Any = "append") -> Any:
    """A source of ten rows with a text of so many bytes each."""

    @dlt.source(name="texts")
    def texts() -> Any:
        rows = [{"id": number, "text": f"{number}" * size} for number in range(10)]
        return dlt.resource(
            rows, name="rows", primary_key="id", write_disposition=write_disposition
        )

    return texts()


def load_of(folder: Path, size: int = 1, **options: Any) -> LoadDefinition:
    return LoadDefinition(
        name="texts",
        source=lambda: source(size, **options),
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "texts.db")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="texts", dataset_name="raw", pipelines_dir=str(folder / "pipelines")
        ),
    )


def seen_by_queries(monkeypatch: pytest.MonkeyPatch, setting: str) -> set[str]:
    """What DuckDB says of a setting whenever a query is sent to it."""
    found: set[str] = set()
    execute = DuckDbSqlClient.execute_query

    def seen(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        with self.native_connection.cursor() as session:
            [(value,)] = session.execute("SELECT current_setting(?)", [setting]).fetchall()
        found.add(value)
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(DuckDbSqlClient, "execute_query", seen)
    return found


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    return seen_by_queries(monkeypatch, "memory_limit")


def run(definition: LoadDefinition) -> None:
    with run_load(definition, RunRequest(run_id="run")):
        pass


def rows_of(folder: Path) -> list[Any]:
    with duckdb.connect(str(folder / "texts.db")) as connection:
        return connection.sql('SELECT id, length("text") FROM raw.rows ORDER BY id').fetchall()


def told_by_duckdb(limit: str) -> str:
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = ?", [limit])
        [(told,)] = connection.sql("SELECT current_setting('memory_limit')").fetchall()
    return str(told)


@pytest.mark.parametrize("write_disposition", ["append", "replace"])
def test_every_query_of_a_load_has_the_limit(
    tmp_path: Path, limits: set[str], write_disposition: str
) -> None:
    run(load_of(tmp_path, write_disposition=write_disposition))

    assert limits == {told_by_duckdb(f"{_duckdb.default_limit()}B")}


def test_the_users_own_limit_wins(
    tmp_path: Path, limits: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps({"memory_limit": "3GB"})
    )
    run(load_of(tmp_path))

    assert limits == {told_by_duckdb("3GB")}
    settings = {setting.name: setting for setting in effective_settings(load_of(tmp_path))}
    assert (settings["duckdb.memory_limit"].value, settings["duckdb.memory_limit"].origin) == (
        "3GB",
        "you",
    )


def test_the_users_own_settings_stay_beside_our_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "allocator_bulk_deallocation_flush_threshold"
    monkeypatch.setenv(
        "DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps({name: "64MB"})
    )
    found = seen_by_queries(monkeypatch, name)
    run(load_of(tmp_path))

    assert found == {told_by_duckdb("64MB")}


def test_the_limit_can_be_seen(tmp_path: Path) -> None:
    settings = {setting.name: setting for setting in effective_settings(load_of(tmp_path))}

    assert settings["duckdb.memory_limit"].origin == "loadsmith"
    assert settings["duckdb.memory_limit"].value == f"{_duckdb.default_limit():,}"


@pytest.mark.parametrize("write_disposition", ["append", "merge"])
def test_what_needs_more_than_the_limit_gets_it_and_is_there_once(
    tmp_path: Path, limits: set[str], write_disposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb, "default_limit", lambda: 20_000_000)
    run(load_of(tmp_path, TEXT, write_disposition=write_disposition))

    assert rows_of(tmp_path) == [(number, TEXT) for number in range(10)]
    assert len(limits) > 1


def test_a_merge_has_more_from_its_start(tmp_path: Path, limits: set[str]) -> None:
    run(load_of(tmp_path, write_disposition="merge"))

    assert limits - {told_by_duckdb(f"{_duckdb.default_limit()}B")}


@pytest.mark.parametrize(("rows", "groups"), [(ROW_GROUP, 2), (5_000, 0)])
def test_row_groups_as_large_as_those_of_duckdb_get_room_for_a_thread_each(
    tmp_path: Path, limits: set[str], monkeypatch: pytest.MonkeyPatch, rows: int, groups: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    page = pa.table({f"column_{number}": range(rows) for number in range(9)})
    load = LoadDefinition(
        name="pages",
        source=lambda: dlt.resource([page, page], name="rows"),
        destination=DestinationReference(
            name="duckdb", params={"database": str(tmp_path / "texts.db")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="pages", dataset_name="raw", pipelines_dir=str(tmp_path / "pipelines")
        ),
    )
    run(load)

    columns = 10
    room = columns * groups * _duckdb._BYTES_PER_COLUMN
    # What the run asks before it extracts needs no more than the default.
    expected = {_duckdb.default_limit(), room or _duckdb.default_limit()}
    assert limits == {told_by_duckdb(f"{limit}B") for limit in expected}
