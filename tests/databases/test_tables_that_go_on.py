"""A table that one way of reading began goes on by another, with the values of plain dlt."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from dlt.sources.sql_database import sql_database
from same_as_dlt import Warehouse, load_by_dlt, run, ways

from loadsmith.model import RunOptions

pytestmark = pytest.mark.postgres

APPEND = RunOptions(params={"write_disposition": "append"})

#: Values that drivers and Arrow change.
BEGIN = (
    "CREATE TABLE t (id int PRIMARY KEY, f float8, r real, n numeric, e numeric(20, 15), u uuid,"
    " h time, c char(5), d date);"
    "INSERT INTO t VALUES (1, 'NaN', 1.1, 1.5, 1.123456789012345,"
    " '00000000-0000-0000-0000-00000000000A', '10:00', 'ab', '2024-01-01')"
)
MORE = (
    "INSERT INTO t SELECT 2, 'Infinity', 1.1, 2.12345678949, 2.123456789012345,"
    " '00000000-0000-0000-0000-00000000000B', '11:00:00.123456', 'cd', 'infinity'"
)

#: Types that ADBC does not read, and a value of each.
ADDED = {
    "m": ("money", "12.5"),
    "jb": ("jsonb", "'{\"a\": [1]}'"),
    "jn": ("jsonb", "'null'"),
    "js": ("json", "'\"x\"'"),
    "ai": ("int[]", "'{1,2}'"),
    "b": ("bytea", r"'\x00ff'"),
    "b3": ("bit(3)", "B'101'"),
    "r4": ("int4range", "'[1,5)'"),
    "pt": ("point", "'(1,2)'"),
}


@pytest.fixture
def execute(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Warehouse:
    return Warehouse(request.param, tmp_path, database)


@pytest.fixture
def address(database: str) -> str:
    """An address by psycopg2, which reads an infinite date."""
    return database.replace("postgresql", "postgresql+psycopg2", 1)


def load_both(warehouse: Warehouse, address: str, **params: Any) -> list[str]:
    """Load by plain dlt and by loadsmith; return what loadsmith said."""
    plain = sql_database(address, schema="public", **params)
    warehouse.pipeline("plain").run(plain, write_disposition="append")
    _, said = warehouse.load("ours", APPEND, credentials=address, schema="public", **params)
    assert warehouse.tables("ours") == warehouse.tables("plain")
    return said


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_columns_that_adbc_does_not_read_are_added_to_a_table_that_it_began(
    address: str, execute: Any, warehouse: Warehouse
) -> None:
    execute(BEGIN)
    assert ways(load_both(warehouse, address)) == {"t": "adbc"}
    for name, (kind, value) in ADDED.items():
        execute(f"ALTER TABLE t ADD {name} {kind} DEFAULT {value}")
    execute(MORE)

    for _ in range(2):
        said = load_both(warehouse, address)
        assert ways(said) == {"t": "dlt"}
    assert any("its table has `_dlt_id`" in line for line in said)


def test_a_table_that_adbc_began_goes_on_with_arguments_that_need_dlt(
    address: str, execute: Any, warehouse: Warehouse
) -> None:
    execute(BEGIN)
    load_both(warehouse, address)
    execute(MORE)

    said = load_both(warehouse, address, engine_kwargs={"pool_size": 2})

    assert ways(said) == {"t": "dlt"}
    [told] = [line for line in said if "from now on" in line]
    assert "because `engine_kwargs` is given" in told


@pytest.mark.parametrize("column", ["v text", "v jsonb"])
@pytest.mark.parametrize("disposition", ["append", "replace", "merge"])
def test_a_dataset_that_plain_dlt_began_goes_on_under_another_name_of_the_pipeline(
    database: str, execute: Any, warehouse: Warehouse, column: str, disposition: str
) -> None:
    execute(f"CREATE TABLE t (id int PRIMARY KEY, {column}); INSERT INTO t VALUES (1, '{{}}')")
    options = {"write_disposition": disposition}
    source = sql_database(database, schema="public")
    warehouse.pipeline("raw", "another").run(source, **options)

    _, said = run(
        warehouse.definition(
            "raw", {"credentials": database, "schema": "public"}, RunOptions(params=options)
        )
    )

    assert ways(said) == {"t": "dlt"}
    assert len(warehouse.tables("raw")["t"][1]) == (2 if disposition == "append" else 1)


@pytest.mark.parametrize(
    ("strategy", "way"),
    [("scd2", "dlt"), ("upsert", "adbc"), ("delete-insert", "adbc"), ("insert-only", "adbc")],
)
def test_a_merge_gives_the_rows_of_plain_dlt(
    database: str, execute: Any, warehouse: Warehouse, strategy: str, way: str
) -> None:
    execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    disposition: Any = {"disposition": "merge", "strategy": strategy}
    for _ in range(2):
        plain = sql_database(database, schema="public")
        warehouse.pipeline("plain").run(plain, write_disposition=disposition)
        options = RunOptions(params={"write_disposition": disposition})
        _, said = warehouse.load("ours", options, credentials=database, schema="public")

        assert ways(said) == {"t": way}
        assert rows_of(warehouse, "ours") == rows_of(warehouse, "plain")
        execute("UPDATE t SET v = 'b'; INSERT INTO t VALUES (2, 'c') ON CONFLICT DO NOTHING")


def rows_of(warehouse: Warehouse, dataset: str) -> list[tuple[Any, ...]]:
    with warehouse.pipeline(dataset, f"look_{dataset}").sql_client() as client:
        return sorted(client.execute_sql("SELECT id, v FROM t"))


def test_a_table_of_an_earlier_version_goes_on_as_in_plain_dlt(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE t (id int PRIMARY KEY, v jsonb, n numeric(20, 15))")
    execute("INSERT INTO t VALUES (1, '{}', 1.5)")
    before = {"credentials": database, "schema": "public", "backend": "pyarrow"}
    warehouse.load("ours", APPEND, **before)
    load_by_dlt(warehouse, "plain", database, schema="public")
    execute("UPDATE t SET n = 1.123456789012345")
    load_by_dlt(warehouse, "plain", database, schema="public")

    _, said = warehouse.load("ours", APPEND, credentials=database, schema="public")

    assert ways(said) == {"t": "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


@pytest.mark.parametrize("mode", ["freeze", "discard_value", "evolve"])
def test_a_contract_about_columns_allows_the_id_of_rows(
    database: str, execute: Any, warehouse: Warehouse, mode: str
) -> None:
    execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    source = {"credentials": database, "schema": "public"}
    options = RunOptions(
        params={"write_disposition": "append", "schema_contract": {"columns": mode}}
    )
    for engine_kwargs in ({}, {"pool_size": 2}, {"pool_size": 2}):
        warehouse.load("ours", options, **source, engine_kwargs=engine_kwargs)

    assert warehouse.tables("ours")["t"][1] == [(1,), (1,), (1,)]
