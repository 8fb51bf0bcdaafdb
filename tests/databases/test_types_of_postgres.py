"""Every type of PostgreSQL 15 becomes what plain dlt makes of it, in DuckDB and in PostgreSQL."""

import gzip
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from same_as_dlt import Warehouse, create_table, load_by_dlt, run, ways

from loadsmith.errors import RunError
from loadsmith.model import DestinationReference

pytestmark = pytest.mark.postgres

SETUP = """
CREATE EXTENSION hstore; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (value > 0); CREATE DOMAIN word AS text;
CREATE DOMAIN price AS numeric(5, 2); CREATE DOMAIN feeling AS mood;
CREATE TYPE pair AS (a int, b text);
"""

#: Types that ADBC reads.
BY_ADBC = {
    "i2": ("smallint", ["1", "-32768", "32767"]),
    "i4": ("integer", ["1", "-2147483648", "2147483647"]),
    "i8": ("bigint", ["1", "-9223372036854775808", "9223372036854775807"]),
    "r": ("real", ["1.1", "3.4028235e38", "1e-45", "'NaN'", "'Infinity'", "'-Infinity'"]),
    "f": ("float8", ["0.1", "1.7976931348623157e308", "5e-324", "'NaN'", "'Infinity'"]),
    "only_nan": ("float8", ["'NaN'"]),
    "no_float": ("real", []),
    "n10_2": ("numeric(10, 2)", ["1.5", "-99999999.99", "0"]),
    "n5": ("numeric(5)", ["12345", "-1"]),
    "n38_10": ("numeric(38, 10)", ["1234567890123456789012345678.0123456789", "-0.0000000001"]),
    "n": ("numeric", ["1.5", "12345678901234567890", "1.12345678950", "-1.1234567895", "1e28"]),
    "b": ("boolean", ["true", "false"]),
    "t": ("text", ["'a'", "''", r"E'ü 😀 \\ \' \n'", "repeat('x', 100000)", "'100%s :a'"]),
    "vc": ("varchar(5)", ["'ab'", "''"]),
    "c5": ("char(5)", ["'ab'"]),
    "one_char": ('"char"', ["'x'"]),
    "nm": ("name", ["'nm'"]),
    "ci": ("citext", ["'Ab'"]),
    "d": ("date", ["'2024-02-29'", "'0001-01-01'", "'9999-12-31'"]),
    "h": ("time", ["'10:11:12.123456'", "'00:00'", "'23:59:59.999999'"]),
    "h0": ("time(0)", ["'10:11:12'"]),
    "ts": ("timestamp", ["'2024-01-01 10:11:12.123456'", "'0001-01-01'", "'9999-12-31 23:59'"]),
    "ts0": ("timestamp(0)", ["'2024-01-01 10:11:12'"]),
    "tz": ("timestamptz", ["'2024-01-01 10:11:12.123456+02'", "'0001-01-02 UTC'"]),
    "u": ("uuid", ["'00000000-0000-0000-0000-00000000000A'"]),
    "e": ("mood", ["'sad'", "'ok'"]),
}

#: Types that dlt's own backend reads.
BY_DLT = {
    "raw": ("bytea", [r"'\x00ff'", r"'\x'"]),
    "htz": ("timetz", ["'10:11:12+02'"]),
    "j": ("json", ['\'{"b": 1.0, "a": [1, 2]}\'', "'null'", "'\"x\"'", "'1'", "'1e2'"]),
    "jb": ("jsonb", ['\'{"b": 1.0, "a": {}}\'', "'null'", "'\"x\"'", "'true'", "'[]'"]),
    "jp": ("jsonpath", ["'$.a'"]),
    "ai": ("int[]", ["'{1,NULL,2}'", "'{}'"]),
    "at": ("text[]", ["'{a,b}'"]),
    "aa": ("int[][]", ["'{{1,2},{3,4}}'"]),
    "an": ("numeric(5, 2)[]", ["'{1.5}'"]),
    "atz": ("timestamptz[]", ["'{2024-01-01 UTC}'"]),
    "ajb": ("jsonb[]", ["array['{}'::jsonb]"]),
    "au": ("uuid[]", ["'{00000000-0000-0000-0000-000000000001}'"]),
    "ab": ("bytea[]", [r"array['\x00'::bytea]"]),
    "ae": ("mood[]", ["'{sad}'"]),
    "ar": ("real[]", ["'{1.1}'"]),
    "r4": ("int4range", ["'[1,5)'", "'empty'", "'(,)'"]),
    "r8": ("int8range", ["'[1,5)'"]),
    "rn": ("numrange", ["'empty'", "'[1.5,2)'"]),
    "rtz": ("tstzrange", ["'[2024-01-01 UTC,2024-02-01 UTC)'"]),
    "rts": ("tsrange", ["'[2024-01-01,2024-02-01)'"]),
    "rd": ("daterange", ["'[2024-01-01,)'"]),
    "mr": ("int4multirange", ["'{[1,2),[5,7)}'", "'{}'"]),
    "dp": ("positive", ["1"]),
    "dw": ("word", ["'x'"]),
    "dn": ("price", ["1.5"]),
    "df": ("feeling", ["'sad'"]),
    "cp": ("pair", ["'(1,a)'"]),
    "acp": ("pair[]", ["array['(1,a)'::pair]"]),
    "m": ("money", ["12.5", "-1"]),
    "mac": ("macaddr", ["'08:00:2b:01:02:03'"]),
    "mac8": ("macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    "b3": ("bit(3)", ["B'101'"]),
    "vb": ("varbit", ["B'10'"]),
    "pt": ("point", ["'(1,2)'"]),
    "ln": ("line", ["'{1,2,3}'"]),
    "ls": ("lseg", ["'((1,2),(3,4))'"]),
    "bx": ("box", ["'((1,2),(3,4))'"]),
    "pa": ("path", ["'((1,2),(3,4))'"]),
    "pg": ("polygon", ["'((1,2),(3,4))'"]),
    "ce": ("circle", ["'<(1,2),3>'"]),
    "tsv": ("tsvector", ["'a b'"]),
    "tsq": ("tsquery", ["'a & b'"]),
    "x": ("xml", ["'<a/>'"]),
    "hs": ("hstore", ["'a=>1'"]),
    "lsn": ("pg_lsn", ["'0/16B3748'"]),
    "sn": ("pg_snapshot", ["'10:20:10,14'"]),
    "tsn": ("txid_snapshot", ["'10:20:10,14'"]),
    "o": ("oid", ["4294967295"]),
    "rc": ("regclass", ["'pg_class'"]),
    "rt": ("regtype", ["'int4'"]),
    "xi": ("xid", ["'1'"]),
    "x8": ("xid8", ["'1'"]),
    "ti": ("tid", ["'(0,1)'"]),
    "iv": ("int2vector", ["'1 2'"]),
    "n_scaled": ("numeric(20, 15)[]", ["'{1.123456789012345}'"]),
}

#: What plain dlt cannot load either: a type, its value, and what the error names.
REFUSED = {
    "date": ("'infinity'", "column 'v': a date is outside of the years 1 to 9999"),
    "timestamp": ("'0044-03-15 BC'", "column 'v': a time is outside of the years 1 to 9999"),
    "timestamptz": ("'294276-01-01'", "column 'v': a time is outside of the years 1 to 9999"),
    "time": ("'24:00'", "column 'v': a time of day is outside of 00:00 to 23:59:59.999999"),
    "numeric(10, 2)": ("'NaN'", "column 'v': The string 'nan' is not a valid decimal"),
    "interval": ("'1 day'", "is not JSON serializable"),
    "inet": ("'10.0.0.1/8'", "is not JSON serializable"),
    "cidr": ("'10.0.0.0/8'", "is not JSON serializable"),
}


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg2"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize(("columns", "way"), [(BY_ADBC, "adbc"), (BY_DLT, "dlt")])
@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_every_type_becomes_what_plain_dlt_makes_of_it(
    tmp_path: Path, database: str, kind: str, columns: dict, way: str, driver: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SETUP)
        create_table(connection.execute, "t", columns)
    warehouse = Warehouse(kind, tmp_path, database)
    address = database.replace("postgresql", driver, 1)

    load_by_dlt(warehouse, "plain", address, schema="public", table_names=["t"])
    _, said = warehouse.load("ours", credentials=address, schema="public", table_names=["t"])

    assert ways(said) == {"t": way}
    plain, ours = warehouse.tables("plain"), warehouse.tables("ours")
    assert ours == plain
    assert len(plain["t"][1]) == max(len(values) for _, values in columns.values()) + 1


@pytest.mark.parametrize(
    "decimal", ["numeric(50, 10)", "numeric(78, 0)", "numeric(3, -2)", "numeric(2, 4)"]
)
def test_decimals_that_parquet_does_not_hold_come_as_in_plain_dlt(
    tmp_path: Path, database: str, decimal: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        value = "0.0012" if decimal == "numeric(2, 4)" else "12300"
        create_table(connection.execute, "t", {"v": (decimal, [value])})
    warehouse = Warehouse("postgres", tmp_path, database)

    load_by_dlt(warehouse, "plain", database, schema="public", table_names=["t"])
    _, said = warehouse.load("ours", credentials=database, schema="public", table_names=["t"])

    assert ways(said) == {"t": "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


def test_infinite_times_come_as_psycopg2_gives_them_to_plain_dlt(
    tmp_path: Path, database: str
) -> None:
    infinite = {
        name: (name, ["'infinity'", "'-infinity'"]) for name in ("date", "timestamp", "timestamptz")
    }
    with psycopg.connect(database, autocommit=True) as connection:
        columns = {f"v_{name}": column for name, column in infinite.items()}
        create_table(connection.execute, "t", {**columns, "h": ("time", ["'24:00'"])})
    warehouse = Warehouse("duckdb", tmp_path)
    address = database.replace("postgresql", "postgresql+psycopg2", 1)

    load_by_dlt(warehouse, "plain", address, schema="public", table_names=["t"])
    _, said = warehouse.load("ours", credentials=address, schema="public", table_names=["t"])

    assert ways(said) == {"t": "adbc"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_plain_dlt_cannot_load_is_an_error_that_says_where(
    tmp_path: Path, database: str, kind: str
) -> None:
    value, told = REFUSED[kind]
    with psycopg.connect(database, autocommit=True) as connection:
        create_table(connection.execute, "t", {"v": (kind, [value])})
    warehouse = Warehouse("duckdb", tmp_path)
    # SQLAlchemy 2.0 takes psycopg2 where no driver is named, which reads some of these values.
    address = database.replace("postgresql", "postgresql+psycopg", 1)

    with pytest.raises(Exception, match=r"step=(extract|load)"):
        load_by_dlt(warehouse, "plain", address, schema="public", table_names=["t"])
    with pytest.raises(RunError) as raised:
        warehouse.load("ours", credentials=address, schema="public", table_names=["t"])

    assert raised.value.resources == ("t",)
    assert "load 'load', extract, resource 't'" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_of_a_database_in_another_encoding_come_as_in_plain_dlt(
    tmp_path: Path, database: str, encoding: str
) -> None:
    name = f"{database.rpartition('/')[2]}_{encoding.lower()}"
    address = f"{database.rpartition('/')[0]}/{name}"
    text = "'\u00e9'" if encoding == "LATIN1" else "'e'"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"
        )
        try:
            with psycopg.connect(address, autocommit=True, client_encoding="utf8") as other:
                create_table(other.execute, "t", {"v": ("text", [text])})
            warehouse = Warehouse("duckdb", tmp_path)
            psycopg2 = address.replace("postgresql", "postgresql+psycopg2", 1)
            load_by_dlt(warehouse, "plain", psycopg2, schema="public", table_names=["t"])
            _, said = warehouse.load("ours", credentials=psycopg2, schema="public")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    assert ways(said) == {"t": "adbc" if encoding == "LATIN1" else "dlt"}
    assert warehouse.tables("ours") == warehouse.tables("plain")


def test_files_keep_all_digits_of_decimals(tmp_path: Path, database: str) -> None:
    digits = "1.12345678951234"
    with psycopg.connect(database, autocommit=True) as connection:
        create_table(connection.execute, "t", {"v": ("numeric", [digits])})
    definition = replace(
        Warehouse("duckdb", tmp_path).definition("raw", {"credentials": database}),
        destination=DestinationReference(
            name="filesystem", params={"bucket_url": str(tmp_path / "files")}
        ),
    )

    for _ in range(2):
        run(definition)

    files = list(tmp_path.glob("files/raw/t/*.jsonl*"))
    assert len(files) == 2
    for file in files:
        assert digits.encode() in gzip.decompress(file.read_bytes())
