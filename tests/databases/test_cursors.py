"""Cursors and windows bound what ADBC reads exactly as what dlt's own backend reads."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import psycopg
import pytest
from dlt.sources.sql_database import sql_table
from same_as_dlt import Warehouse, run, ways

from loadsmith.model import RunOptions, Window

pytestmark = pytest.mark.postgres

START = datetime(2024, 1, 2, tzinfo=timezone.utc)
END = datetime(2024, 1, 4, tzinfo=timezone.utc)

#: SQL of a cursor's value at a moment `m`, by type of the column.
CURSORS = {
    "timestamptz": "m",
    "timestamp": "m AT TIME ZONE 'UTC'",
    "date": "(m AT TIME ZONE 'UTC')::date",
    "bigint": "extract(epoch FROM m)::bigint",
    "numeric(20, 0)": "extract(epoch FROM m)::bigint * 1000",
    "text": "to_char(m AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    "varchar(30)": "to_char(m AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
}


@pytest.fixture
def execute(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        # The bounds are times in UTC, whatever zone a session has.
        name = database.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'")
        yield connection.execute


def source_of(database: str, **params: Any) -> dict[str, Any]:
    return {
        "module": "sql_database.sql_table",
        "credentials": database,
        "schema": "public",
        "table": "t",
        **params,
    }


@pytest.mark.parametrize("kind", CURSORS)
def test_a_window_takes_its_begin_and_not_its_end(
    tmp_path: Path, database: str, execute: Any, kind: str
) -> None:
    execute(f"CREATE TABLE t (id int, at {kind})")
    execute(
        f"INSERT INTO t SELECT row_number() OVER (ORDER BY m), {CURSORS[kind]} FROM"
        " generate_series('2024-01-01 UTC'::timestamptz, '2024-01-05 UTC', '12 hours') AS m"
    )
    warehouse = Warehouse("duckdb", tmp_path)
    source = source_of(database, incremental=dlt.sources.incremental("at"))
    definition = warehouse.definition("raw", source, RunOptions())

    _, said = run(definition, window=Window(start=START, end=END))

    assert ways(said) == {"t": "adbc"}
    ids = sorted(row[1] for row in warehouse.tables("raw")["t"][1])
    assert ids == [3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date", "bigint", "text"])
@pytest.mark.parametrize("missing", ["raise", "include", "exclude"])
def test_a_cursor_goes_on_where_plain_dlt_goes_on(
    tmp_path: Path, database: str, execute: Any, kind: str, missing: Any
) -> None:
    execute(f"CREATE TABLE t (id int PRIMARY KEY, at {kind})")
    warehouse = Warehouse("duckdb", tmp_path)
    insert = (
        f"INSERT INTO t SELECT %(first)s + row_number() OVER (ORDER BY m), {CURSORS[kind]} FROM"
        " generate_series(%(begin)s::timestamptz, %(begin)s::timestamptz + interval '2 days',"
        " '12 hours') AS m"
    )
    for first, begin in ((0, "2024-01-01 UTC"), (10, "2024-01-03 UTC")):
        execute(insert, {"first": first, "begin": begin})
        if missing != "raise":
            execute("INSERT INTO t VALUES (%s, NULL)", (100 + first,))
        plain = sql_table(
            database,
            table="t",
            schema="public",
            incremental=dlt.sources.incremental("at", on_cursor_value_missing=missing),
        )
        warehouse.pipeline("plain").run(plain)
        cursor = dlt.sources.incremental("at", on_cursor_value_missing=missing)
        result, said = warehouse.load("ours", **source_of(database, incremental=cursor))

        assert ways(said) == {"t": "adbc"}
        assert warehouse.tables("ours") == warehouse.tables("plain")
    state = warehouse.pipeline("plain").state["sources"]
    [of_plain] = [each["resources"]["t"]["incremental"]["at"] for each in state.values()]
    [of_ours] = result.cursors
    if kind == "timestamptz":
        # dlt's backend keeps the zone of the session.
        of_plain["last_value"] = of_plain["last_value"].astimezone(timezone.utc)
    assert of_ours.last_value == str(of_plain["last_value"])


#: Types of cursors whose values ADBC does not give exactly, and values before and after.
BY_DLT = {
    "numeric": (["1", "2.1234567896"], ["2.12345678965", "2.1234567896"]),
    "float8": (["0.1", "'NaN'"], ["0.3", "0.5"]),
    "real": (["0.1", "1.1"], ["1.1", "1.2", "1.05"]),
}

#: Texts that are written into the query.
TEXTS = (["E'a\\\\B'", "'it''s'", "'50% :x'"], ["E'a\\\\C'", "'it''s z'", "'zz'"])


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("column", [*BY_DLT, "text", "varchar(20)"])
@pytest.mark.parametrize("key", ["", "PRIMARY KEY"])
def test_cursors_of_inexact_types_and_of_texts_lose_no_rows(
    tmp_path: Path, database: str, execute: Any, column: str, kind: str, key: str
) -> None:
    execute(f"CREATE TABLE t (id int {key}, at {column})")
    warehouse = Warehouse(kind, tmp_path, database)
    for load, values in enumerate(BY_DLT.get(column, TEXTS)):
        for number, value in enumerate(values):
            execute(f"INSERT INTO t VALUES ({load * 10 + number}, {value})")
        cursor = dlt.sources.incremental("at")
        plain = sql_table(database, table="t", schema="public", incremental=cursor)
        warehouse.pipeline("plain").run(plain)
        cursor = dlt.sources.incremental("at")
        _, said = warehouse.load("ours", **source_of(database, incremental=cursor))

        assert ways(said) == {"t": "dlt" if column in BY_DLT else "adbc"}
        assert repr(warehouse.tables("ours")) == repr(warehouse.tables("plain"))


@pytest.mark.parametrize("value", ["on", "off"])
def test_a_backslash_is_one_whatever_the_server_takes_it_for(
    tmp_path: Path, database: str, execute: Any, value: str
) -> None:
    name = database.rpartition("/")[2]
    execute(f"ALTER DATABASE {name} SET standard_conforming_strings TO {value}")
    execute("CREATE TABLE t (id int, at text COLLATE \"C\"); INSERT INTO t VALUES (1, E'a\\\\B')")
    warehouse = Warehouse("duckdb", tmp_path)
    for _ in range(2):
        cursor = dlt.sources.incremental("at")
        warehouse.load("raw", **source_of(database, incremental=cursor))
        execute("INSERT INTO t VALUES (2, E'a\\\\C')")

    assert [row[1] for row in warehouse.tables("raw")["t"][1]] == [1, 2]
