"""A column whose type changes between two loads takes the values that plain dlt gives it."""

from pathlib import Path
from typing import Any

import dlt
import psycopg
import pyarrow as pa
import pytest
from dlt.sources.sql_database import sql_database
from same_as_dlt import Warehouse, run

from loadsmith.errors import RunError
from loadsmith.model import RunOptions

pytestmark = pytest.mark.postgres

#: Types and values before and after, by column; those of eight bytes fit into each other.
CHANGES = {
    "i8_to_f8": ("bigint", "1", "float8", "2.5"),
    "f8_to_i8": ("float8", "1.5", "bigint", "2"),
    "i_to_n": ("int", "1", "numeric(10, 2)", "2.5"),
    "n_to_f8": ("numeric(10, 2)", "1.25", "float8", "1.3333"),
    "n_to_n": ("numeric(10, 2)", "1.25", "numeric(12, 4)", "1.2345"),
    "d_to_ts": ("date", "'2024-01-01'", "timestamp", "'2024-01-01 10:00'"),
    "ts_to_tz": ("timestamp", "'2024-01-01'", "timestamptz", "'2024-01-02 10:00+02'"),
    "tz_to_ts": ("timestamptz", "'2024-01-01 UTC'", "timestamp", "'2024-01-02 10:00'"),
    "t_to_i8": ("text", "'x'", "bigint", "4774451407313060418"),
    "t_to_f8": ("text", "'x'", "float8", "2261634.509803921"),
    "t_to_jb": ("text", "'x'", "jsonb", "'{\"a\": 1}'"),
    "vc_to_t": ("varchar(5)", "'a'", "text", "'abcdefgh'"),
    "r_to_f8": ("real", "1.1", "float8", "1.23456789012"),
}

APPEND = {"write_disposition": "append"}


def changed(database: str, changes: dict[str, tuple[str, str, str, str]]) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for name, (_, _, kind, value) in changes.items():
            connection.execute(f"ALTER TABLE t DROP {name}, ADD {name} {kind}")
            connection.execute(f"UPDATE t SET {name} = {value}")


def begun(database: str, changes: dict[str, tuple[str, str, str, str]], more: str) -> None:
    kinds = ", ".join(f"{name} {each[0]}" for name, each in changes.items())
    values = ", ".join(each[1] for each in changes.values())
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {kinds}{more})")
        names = ", ".join(["id", *changes])
        connection.execute(f"INSERT INTO t ({names}) VALUES (1, {values})")


@pytest.mark.parametrize("door", ["reference", "live"])
@pytest.mark.parametrize("more", ["", ", j jsonb"])
@pytest.mark.parametrize("kind", ["postgres", "duckdb"])
def test_a_changed_type_gives_what_plain_dlt_gives(
    tmp_path: Path, database: str, kind: str, more: str, door: str
) -> None:
    changes = dict(CHANGES)
    if kind == "duckdb":
        # Plain dlt fails with the text.
        del changes["t_to_jb"]
        if door == "live":
            # DuckDB takes the middle of two integers in parquet for the even one.
            changes["i8_to_f8"] = ("bigint", "1", "float8", "2.6")
    begun(database, changes, more)
    warehouse = Warehouse(kind, tmp_path, database)
    for load in range(3):
        warehouse.pipeline("plain").run(sql_database(database, schema="public"), **APPEND)
        definition = warehouse.definition(
            "ours", {"credentials": database, "schema": "public"}, RunOptions(params=APPEND)
        )
        live = {"source": sql_database(database, schema="public")} if door == "live" else {}
        run(definition, **live)

        assert warehouse.tables("ours") == warehouse.tables("plain")
        if load == 0:
            changed(database, changes)


@pytest.mark.parametrize(
    ("before", "value", "after", "other"),
    [
        ("bigint", "1", "timestamp", "'2024-01-02'"),
        ("time", "'10:00'", "bigint", "5"),
        ("float8", "1.5", "timestamp", "'2024-01-01'"),
    ],
)
def test_a_changed_type_that_plain_dlt_refuses_is_refused_by_name(
    tmp_path: Path, database: str, before: str, value: str, after: str, other: str
) -> None:
    change = {"v": (before, value, after, other)}
    begun(database, change, "")
    warehouse = Warehouse("postgres", tmp_path, database)
    source = {"credentials": database, "schema": "public"}
    warehouse.load("ours", RunOptions(params=APPEND), **source)
    changed(database, change)

    with pytest.raises(RunError) as raised:
        warehouse.load("ours", RunOptions(params=APPEND), **source)

    assert "table 't': the types of columns have changed" in str(raised.value)
    assert "'v' is " in str(raised.value)
    assert "credentials" not in str(raised.value)
    assert len(warehouse.tables("ours")["t"][1]) == 1


#: Arrow values for a column that was begun with others.
ARROWS = {
    "int32_to_int64": (pa.array([1]), pa.array([2], pa.int32())),
    "int64_to_int32": (pa.array([1], pa.int32()), pa.array([2])),
    "float32_to_float64": (pa.array([1.5]), pa.array([2.5, float("nan")], pa.float32())),
    "double_to_bigint": (pa.array([1]), pa.array([2.5])),
    "text_to_bigint": (pa.array([1]), pa.array(["7"])),
    "binary_to_text": (pa.array(["a"]), pa.array([b"\x00\xff"])),
}


@pytest.mark.parametrize("name", ARROWS)
def test_arrow_values_come_as_by_dlts_inserts(tmp_path: Path, database: str, name: str) -> None:
    warehouse = Warehouse("postgres", tmp_path, database)

    def source(values: pa.Array) -> Any:
        @dlt.resource(name="t")
        def table() -> Any:
            yield pa.table({"v": values})

        return dlt.source(lambda: table, name="s")()

    for values in ARROWS[name]:
        run(warehouse.definition("ours", {}, RunOptions(params=APPEND)), source=source(values))

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE ours.expected AS SELECT v FROM ours.t LIMIT 0")
        for values in ARROWS[name]:
            for value in values.to_pylist():
                given = f"'\\x{value.hex()}'" if isinstance(value, bytes) else f"{value!r}"
                given = "'NaN'" if given == "nan" else given
                connection.execute(f"INSERT INTO ours.expected VALUES ({given})")
    found = warehouse.tables("ours")
    assert found["t"][0] == found["expected"][0]
    assert repr(found["t"][1]) == repr(found["expected"][1])
