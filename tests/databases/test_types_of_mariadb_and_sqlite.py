"""Every type of MariaDB, and mixed values of SQLite, become what plain dlt makes of them."""

import sqlite3
from pathlib import Path

import pytest
from same_as_dlt import Warehouse, create_table, load_by_dlt, ways

from loadsmith.errors import RunError

TYPES_OF_MARIADB = {
    "ti": ("tinyint", ["1", "-128"]),
    "bo": ("boolean", ["true"]),
    "si": ("smallint", ["-32768"]),
    "mi": ("mediumint", ["8388607"]),
    "i": ("int", ["2147483647"]),
    "iu": ("int unsigned", ["4294967295"]),
    "bi": ("bigint", ["-9223372036854775808"]),
    "bu": ("bigint unsigned", ["9223372036854775807"]),
    "de": ("decimal(10, 2)", ["1.5", "-99999999.99"]),
    "dl": ("decimal(38, 10)", ["1234567890123456789012345678.0123456789"]),
    "fl": ("float", ["1.1", "0"]),
    "db": ("double", ["0.1", "123456789.123"]),
    "bt": ("bit(3)", ["b'101'"]),
    "da": ("date", ["'2024-02-29'", "'9999-12-31'"]),
    "dt": ("datetime(6)", ["'2024-01-01 10:11:12.123456'", "'9999-12-31 23:59:59'"]),
    "ts": ("timestamp NULL", ["'2024-01-01 10:11:12'"]),
    "ye": ("year", ["2024"]),
    "ch": ("char(5)", ["'ab'"]),
    "vc": ("varchar(20)", ["'a'", "''"]),
    "bn": ("binary(3)", ["'ab'"]),
    "vb": ("varbinary(5)", ["x'00ff'"]),
    "tb": ("tinyblob", ["x'00ff'"]),
    "bl": ("longblob", ["x'ff'"]),
    "tt": ("tinytext", ["'a'"]),
    "lt": ("longtext", ["repeat('x', 100000)"]),
    "en": ("enum('a', 'b')", ["'a'"]),
    "js": ("json", ["'{\"a\": 1}'", "'null'"]),
    "uu": ("uuid", ["'00000000-0000-0000-0000-000000000001'"]),
    "i6": ("inet6", ["'::1'"]),
    "i4": ("inet4", ["'10.0.0.1'"]),
    "pt": ("point", ["point(1, 2)"]),
}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.filterwarnings("ignore:Did not recognize type")
@pytest.mark.postgres
def test_every_type_of_mariadb_becomes_what_plain_dlt_makes_of_it(
    tmp_path: Path, mariadb: tuple, database: str, kind: str
) -> None:
    address, cursor = mariadb
    create_table(cursor.execute, "t", TYPES_OF_MARIADB)
    warehouse = Warehouse(kind, tmp_path, database)

    load_by_dlt(warehouse, "plain", address, table_names=["t"])
    _, said = warehouse.load("ours", credentials=address, table_names=["t"])

    assert ways(said) == {"t": "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")
    assert len(warehouse.tables("ours")["t"][1]) == 3


def test_a_set_of_mariadb_which_plain_dlt_cannot_load_is_an_error_that_says_where(
    tmp_path: Path, mariadb: tuple
) -> None:
    address, cursor = mariadb
    create_table(cursor.execute, "t", {"v": ("set('a', 'b')", ["'a,b'"])})
    warehouse = Warehouse("duckdb", tmp_path)

    with pytest.raises(Exception, match="Type is not JSON serializable: set"):
        load_by_dlt(warehouse, "plain", address, table_names=["t"])
    with pytest.raises(RunError, match=r"resource 't', .* is not JSON serializable"):
        warehouse.load("ours", credentials=address, table_names=["t"])


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.postgres
def test_mixed_values_of_sqlite_become_what_plain_dlt_makes_of_them(
    tmp_path: Path, sqlite_file: Path, database: str, kind: str
) -> None:
    with sqlite3.connect(sqlite_file) as source:
        source.execute(
            "CREATE TABLE mixed (id INTEGER PRIMARY KEY, qty INTEGER, amount REAL, price NUMERIC,"
            " name TEXT, raw BLOB, at DATETIME, day DATE, anything, flag BOOLEAN)"
        )
        source.executemany(
            "INSERT INTO mixed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (1, 5, 1.5, 1.5, "a", b"\x00\xff", "2024-01-01 10:11:12", "2024-01-01", 1, 1),
                (2, "n/a", "x", 0.1 + 0.2, 7, b"\x01", None, None, "two", 0),
                (3, "", None, 1 / 3, None, None, None, None, 2.5, None),
                (
                    4,
                    2**62,
                    1e300,
                    12345678901,
                    "ü",
                    b"\x02",
                    "2024-01-01 00:00:00.5",
                    None,
                    b"\x03",
                    1,
                ),
                (5, None, None, None, None, None, None, None, None, None),
            ],
        )
    source.close()
    warehouse = Warehouse(kind, tmp_path, database)

    load_by_dlt(warehouse, "plain", f"sqlite:///{sqlite_file}", table_names=["mixed"])
    _, said = warehouse.load("ours", credentials=f"sqlite:///{sqlite_file}", table_names=["mixed"])

    assert ways(said) == {"mixed": "dlt"}
    plain = warehouse.tables("plain")
    assert warehouse.tables("ours") == plain
    assert "qty__v_text" in {column[0] for column in plain["mixed"][0]}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("source", ["sqlite", "mariadb"])
@pytest.mark.postgres
def test_nul_characters_are_taken_out_of_texts_as_in_plain_dlt(
    tmp_path: Path, sqlite_file: Path, mariadb: tuple, database: str, kind: str, source: str
) -> None:
    address, cursor = mariadb
    if source == "mariadb":
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
        cursor.execute(r"INSERT INTO t VALUES (1, 'a\0b'), (2, 'c')")
    else:
        address = f"sqlite:///{sqlite_file}"
        with sqlite3.connect(sqlite_file) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
            connection.execute("INSERT INTO t VALUES (1, ?), (2, 'c')", ("a\0b",))
        connection.close()
    warehouse = Warehouse(kind, tmp_path, database)

    for _ in range(2):
        load_by_dlt(warehouse, "plain", address, table_names=["t"])
        warehouse.load("ours", credentials=address, table_names=["t"])

        assert warehouse.tables("ours") == warehouse.tables("plain")
    assert warehouse.tables("ours")["t"][1][0] == (1, "ab")


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("column", ["bigint unsigned", "bit(64)"])
@pytest.mark.postgres
def test_an_integer_of_more_than_64_bits_is_an_error_that_says_where(
    tmp_path: Path, mariadb: tuple, database: str, kind: str, column: str
) -> None:
    address, cursor = mariadb
    cursor.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {column})")
    cursor.execute("INSERT INTO t VALUES (1, 1), (2, 18446744073709551615)")
    warehouse = Warehouse(kind, tmp_path, database)

    with pytest.raises(Exception, match="step=load"):
        load_by_dlt(warehouse, "plain", address, table_names=["t"])
    with pytest.raises(RunError, match=r"table 't': .* column 'v': 18446744073709551615"):
        warehouse.load("ours", credentials=address, table_names=["t"])
