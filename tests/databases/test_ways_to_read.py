"""Which way a table is read, whatever loaded it before, and what becomes of panics."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import psycopg
import pytest
from dlt.sources.sql_database import sql_database, sql_table
from same_as_dlt import Warehouse, create_table, load_by_dlt, run, ways

from loadsmith.engine.run import run_load
from loadsmith.engine.settings import effective_settings
from loadsmith.errors import RunError
from loadsmith.model import ResourceSelection, RunOptions, RunRequest

pytestmark = pytest.mark.postgres


@pytest.fixture
def execute(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse("duckdb", tmp_path)


def append() -> RunOptions:
    return RunOptions(params={"write_disposition": "append"})


def test_a_pipeline_that_plain_dlt_began_goes_on_with_dlts_backend(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)")
    params = {"credentials": database, "schema": "public", "table_names": ["orders"]}
    pipeline = warehouse.pipeline("raw")
    pipeline.run(
        sql_database(database, schema="public", table_names=["orders"]),
        write_disposition="append",
        loader_file_format="parquet",
    )

    for _ in range(2):
        _, said = warehouse.load("raw", append(), **params)

        assert ways(said) == {"orders": "dlt"}
        assert any("its table has `_dlt_id`" in line for line in said)
    assert warehouse.tables("raw")["orders"][1] == [(1,), (1,), (1,)]


def test_a_table_that_an_earlier_version_began_by_connectorx_keeps_its_types(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute(
        "CREATE TABLE t (id int PRIMARY KEY, small smallint, r real, flags bit(3), at timestamptz)"
    )
    execute("INSERT INTO t VALUES (1, 2, 1.5, B'101', '2024-01-01 UTC')")
    execute("CREATE TABLE plain (id int PRIMARY KEY, small smallint, r real, h time)")
    execute("INSERT INTO plain VALUES (1, 2, 1.5, '10:11')")
    before = warehouse.definition(
        "raw",
        {
            "credentials": database,
            "schema": "public",
            "backend": "connectorx",
            "backend_kwargs": {"return_type": "arrow_stream"},
        },
        append(),
    )
    run(before)
    columns = {name: table[0] for name, table in warehouse.tables("raw").items()}

    _, said = warehouse.load("raw", append(), credentials=database, schema="public")

    found = warehouse.tables("raw")
    assert {name: table[0] for name, table in found.items()} == columns
    assert [len(table[1]) for table in found.values()] == [2, 2]
    assert len(set(found["t"][1])) == len(set(found["plain"][1])) == 1
    assert ways(said) == {"plain": "adbc"}
    [warning] = [line for line in said if "keep their types" in line]
    assert warning.startswith("table 't': dlt's backend should read it")
    assert "'flags' (BIT(3))" in warning


def test_a_column_that_adbc_does_not_read_can_be_added_to_a_table_that_it_began(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    params = {"credentials": database, "schema": "public"}
    _, said = warehouse.load("raw", append(), **params)
    assert ways(said) == {"t": "adbc"}

    execute("ALTER TABLE t ADD price money; INSERT INTO t VALUES (2, 12.5)")
    _, said = warehouse.load("raw", append(), **params)

    assert ways(said) == {"t": "dlt"}
    assert any("Its rows get a `_dlt_id` from now on" in line for line in said)
    assert warehouse.tables("raw")["t"][1] == [(1, None), (1, None), (2, "$12.50")]


def test_a_column_of_floats_appears_with_its_first_value(
    database: str, execute: Any, tmp_path: Path
) -> None:
    execute("CREATE TABLE t (id int PRIMARY KEY, r float8, n real)")
    execute("INSERT INTO t SELECT i, CASE WHEN i > 25 THEN i END FROM generate_series(1, 30) i")
    warehouse = Warehouse("duckdb", tmp_path)
    load_by_dlt(warehouse, "plain", database, schema="public", chunk_size=10)

    _, said = warehouse.load("ours", credentials=database, schema="public", chunk_size=10)

    assert ways(said) == {"t": "adbc"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


PANICS = "CREATE TABLE a (id int); CREATE TABLE b (id int, price money); CREATE TABLE z (id int)"
FILL = "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 12.5); INSERT INTO z VALUES (1)"


@pytest.mark.parametrize("door", ["reference", "live"])
def test_a_panic_of_connectorx_loses_its_own_table_alone(
    database: str, execute: Any, warehouse: Warehouse, door: str
) -> None:
    execute(PANICS)
    execute(FILL)
    definition = warehouse.definition(
        "raw",
        {"credentials": database, "schema": "public", "backend": "connectorx"},
        RunOptions(on_error="keep"),
    )
    live = sql_database(database, schema="public", backend="connectorx")

    result, _ = run(definition, **({"source": live} if door == "live" else {}))

    [failure] = result.failures
    assert failure.resource == "b"
    assert "load 'load', extract, resource 'b'" in failure.message
    assert "table 'b'" in failure.message
    assert "at one of its columns 'price' (MONEY)" in failure.message
    found = warehouse.tables("raw")
    assert {name: table[1] for name, table in found.items()} == {"a": [(1,)], "z": [(1,)]}


def test_a_panic_of_another_source_is_an_error_that_says_where(warehouse: Warehouse) -> None:
    class Panic(BaseException):
        """What a native extension raises."""

    @dlt.resource
    def numbers() -> Any:
        yield [{"id": 1}]
        raise Panic("not implemented")

    definition = warehouse.definition("raw", {})

    with (
        pytest.raises(RunError, match="load 'load', extract, resource 'numbers'") as raised,
        run_load(definition, RunRequest(source=dlt.source(lambda: numbers, name="s")())),
    ):
        pass

    assert "not implemented" in str(raised.value)


@pytest.mark.parametrize(
    ("params", "because"),
    [
        ({"reflection_level": "minimal"}, "`reflection_level` is minimal"),
        ({"engine_kwargs": {"pool_size": 2}}, "`engine_kwargs` is given"),
        ({"query_adapter_callback": lambda query, _table: query}, "`query_adapter_callback`"),
        ({"table_adapter_callback": lambda table: table}, "`table_adapter_callback`"),
        ({"backend": "sqlalchemy"}, None),
    ],
)
def test_what_a_user_does_to_the_query_is_done_by_dlt(
    database: str, execute: Any, warehouse: Warehouse, params: dict, because: str | None
) -> None:
    create_table(execute, "t", {"v": ("text", ["'a'"])})

    _, said = warehouse.load("ours", credentials=database, schema="public", **params)
    load_by_dlt(warehouse, "plain", database, schema="public", **params)

    assert warehouse.tables("ours") == warehouse.tables("plain")
    assert any(because in line for line in said) if because else ways(said) == {}


@pytest.mark.parametrize(
    "params",
    [
        {"reflection_level": "full_with_precision"},
        {"resolve_foreign_keys": True},
        {"include_views": True},
        {"defer_table_reflect": True, "table_names": ["t", "seen"]},
        {"module": "sql_database.sql_table", "table": "t", "included_columns": ["id", "s"]},
    ],
)
def test_what_dlt_reflects_comes_by_adbc_as_by_dlt(
    database: str, execute: Any, warehouse: Warehouse, params: dict
) -> None:
    columns = {"s": ("smallint", ["1"]), "vc": ("varchar(5)", ["'ab'"]), "userId": ("int", ["7"])}
    create_table(execute, "t", {f'"{name}"': column for name, column in columns.items()})
    execute("CREATE TABLE part (id int PRIMARY KEY, t_id int REFERENCES t (id))")
    execute("INSERT INTO part VALUES (1, 0)")
    execute("CREATE VIEW seen AS SELECT id, vc FROM t WHERE id < 1")
    plain = {name: value for name, value in params.items() if name != "module"}
    make = sql_table if "module" in params else sql_database
    pipeline = warehouse.pipeline("plain")
    pipeline.run(make(database, schema="public", **plain))

    _, said = warehouse.load("ours", credentials=database, schema="public", **params)

    assert set(ways(said).values()) == {"adbc"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


def test_names_that_dlt_changes_and_tables_of_dlt_are_read_by_dlt(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute('CREATE TABLE t (id int, "a__b" int, "A_B" int); INSERT INTO t VALUES (1, 2, 3)')
    execute("CREATE TABLE own (id int, _dlt_id text); INSERT INTO own VALUES (1, 'x')")
    load_by_dlt(warehouse, "plain", database, schema="public")

    _, said = warehouse.load("ours", credentials=database, schema="public")

    assert ways(said) == {"t": "dlt", "own": "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


def test_an_empty_table_and_the_replacing_of_one_are_those_of_dlt(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    execute("CREATE TABLE never (id int)")
    anew = RunOptions(params={"write_disposition": "replace"})
    for rows in ([(1,)], []):
        warehouse.load("ours", anew, credentials=database, schema="public")
        warehouse.pipeline("plain").run(
            sql_database(database, schema="public"), write_disposition="replace"
        )
        assert warehouse.tables("ours") == warehouse.tables("plain")
        assert warehouse.tables("ours")["t"][1] == rows
        execute("DELETE FROM t")


def test_a_limit_counts_in_the_pages_of_plain_dlt(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE t AS SELECT generate_series(1, 60000) AS id")

    warehouse.load("ours", RunOptions(limit=1), credentials=database, schema="public")

    assert len(warehouse.tables("ours")["t"][1]) == 50_000


BY_TYPES = (
    "adbc if all its types are compared, its cursor's among them, else sqlalchemy",
    "loadsmith",
)


def listed(warehouse: Warehouse, **source: Any) -> dict[str, tuple[str, str]]:
    found = effective_settings(warehouse.definition("raw", source))
    return {each.name: (each.value, each.origin) for each in found}


def test_the_settings_list_which_way_each_table_is_read(
    database: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    found = listed(warehouse, credentials=database, table_names=["a", "b"])
    assert found["sql_database.backend[a]"] == found["sql_database.backend[b]"] == BY_TYPES
    assert listed(warehouse, credentials=database)["sql_database.backend"] == BY_TYPES
    sqlite = f"sqlite:///{tmp_path}/x.db"
    assert listed(warehouse, credentials=sqlite)["sql_database.backend"] == (
        "sqlalchemy, because the fast way reads PostgreSQL alone",
        "loadsmith",
    )
    assert listed(warehouse, credentials=database, backend="pyarrow")["sql_database.backend"] == (
        "pyarrow",
        "you",
    )
    merge = {"disposition": "merge", "strategy": "scd2"}
    definition = replace(
        warehouse.definition("raw", {"credentials": database}),
        options=RunOptions(params={"write_disposition": merge}),
        resources=ResourceSelection(include=("t",)),
    )
    [setting] = [each for each in effective_settings(definition) if "backend" in each.name]
    assert (setting.name, setting.value) == (
        "sql_database.backend[t]",
        "sqlalchemy, because the merge strategy scd2 needs `_dlt_id`",
    )


@pytest.mark.parametrize(
    ("drivername", "way"),
    [
        ("postgresql", BY_TYPES[0]),
        ("mysql+pymysql", "sqlalchemy, because the fast way reads PostgreSQL alone"),
    ],
)
def test_the_settings_know_an_address_in_fields(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, drivername: str, way: str
) -> None:
    fields = {"drivername": drivername, "host": "h", "database": "d", "username": "u"}
    for name, value in {**fields, "password": "p"}.items():
        monkeypatch.setenv(f"SOURCES__SQL_DATABASE__CREDENTIALS__{name.upper()}", value)

    assert listed(warehouse)["sql_database.backend"] == (way, "loadsmith")


@pytest.mark.parametrize(
    "section",
    [
        "SOURCES__SQL_DATABASE__SQL_DATABASE__",
        "SOURCES__SQL_DATABASE__",
        "SOURCES__",
        "OF_RAW__SOURCES__SQL_DATABASE__",
    ],
)
def test_a_backend_is_found_wherever_dlt_finds_it(
    database: str,
    execute: Any,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
) -> None:
    execute("CREATE TABLE t (id int, f float8); INSERT INTO t VALUES (1, 'NaN')")
    monkeypatch.setenv(f"{section}BACKEND", "pyarrow")
    monkeypatch.setenv(f"{section}CHUNK_SIZE", "7")

    _, said = warehouse.load("raw", credentials=database, schema="public")

    assert ways(said) == {}
    assert str(warehouse.tables("raw")["t"][1]) == "[(nan, 1)]"
    found = listed(warehouse, credentials=database)
    assert found["sql_database.backend"] == ("pyarrow", "you")
    assert found["sql_database.chunk_size"] == ("7", "you")


def test_floats_that_the_session_rounds_and_a_table_without_columns_come_as_in_plain_dlt(
    database: str, execute: Any, warehouse: Warehouse
) -> None:
    execute("CREATE TABLE t (id int, f float8); INSERT INTO t VALUES (1, 0.30000000000000004)")
    execute("CREATE TABLE empty (); INSERT INTO empty DEFAULT VALUES")
    address = f"{database}?options=-cextra_float_digits%3D0"
    load_by_dlt(warehouse, "plain", address, schema="public")

    _, said = warehouse.load("ours", credentials=address, schema="public")

    assert ways(said) == {"t": "dlt", "empty": "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


@pytest.mark.parametrize(("value", "on_error"), [("'Infinity'", "fail"), ("1e40", "keep")])
def test_a_number_that_fits_into_no_column_is_an_error_that_says_where(
    database: str, execute: Any, warehouse: Warehouse, value: str, on_error: Any
) -> None:
    execute(f"CREATE TABLE t (id int, n numeric); INSERT INTO t VALUES (1, {value})")
    execute("CREATE TABLE other (id int); INSERT INTO other VALUES (1)")
    options = RunOptions(on_error=on_error)

    if on_error == "keep":
        result, _ = warehouse.load("ours", options, credentials=database, schema="public")
        [failure] = result.failures
        message = failure.message
        assert "Nothing of it was loaded; the others are." in message
        assert set(warehouse.tables("ours")) == {"other"}
    else:
        with pytest.raises(RunError) as raised:
            warehouse.load("ours", options, credentials=database, schema="public")
        message = str(raised.value)
    assert "table 't'" in message
    assert "one of its columns 'n': " in message
