"""Time what replacing a partition costs in a table of many rows: the deletion of one package.

    python -m bench.reload_cost --rows 10000000

The statements are those of a reload: nested rows go first, with the root rows that they hang from.
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import duckdb

from bench.kills import POSTGRES

#: Packages that the rows came in with, such as the days of a year.
PACKAGES = 365

RUNS = 3

FILL = """
CREATE TABLE {s}.events AS
SELECT n AS id, 'load' || (n % {packages}) AS _dlt_load_id, 'id' || n AS _dlt_id, n * 1.5 AS amount
FROM {series};
CREATE TABLE {s}.events__items AS
SELECT n AS sku, 'id' || n AS _dlt_parent_id, 'item' || n AS _dlt_id FROM {series}
"""

DELETE = """
DELETE FROM {s}.events__items WHERE _dlt_parent_id IN
(SELECT _dlt_id FROM {s}.events WHERE _dlt_load_id = '{load_id}');
DELETE FROM {s}.events WHERE _dlt_load_id = '{load_id}'
"""


def seconds_of(execute: Callable[[str], object], schema: str) -> list[float]:
    """Delete some packages; return the seconds of each."""
    found = []
    for number in range(RUNS):
        started = time.perf_counter()
        for statement in DELETE.format(s=schema, load_id=f"load{number}").split(";"):
            execute(statement)
        found.append(time.perf_counter() - started)
    return found


def in_duckdb(rows: int) -> list[float]:
    """Return the seconds of each deletion in a DuckDB file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(str(Path(folder) / "cost.duckdb")) as connection,
    ):
        series = f"range({rows}) AS t(n)"
        connection.execute(FILL.format(s="main", series=series, packages=PACKAGES))
        return seconds_of(connection.execute, "main")


def in_postgres(rows: int) -> list[float]:
    """Return the seconds of each deletion in PostgreSQL."""
    import psycopg2

    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    cursor = connection.cursor()
    schema = f"cost_{uuid.uuid4().hex[:8]}"
    cursor.execute(f"CREATE SCHEMA {schema}")
    try:
        series = f"generate_series(0, {rows - 1}) AS t(n)"
        cursor.execute(FILL.format(s=schema, series=series, packages=PACKAGES))
        cursor.execute(f"ANALYZE {schema}.events")
        cursor.execute(f"ANALYZE {schema}.events__items")
        return seconds_of(cursor.execute, schema)
    finally:
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.close()


def main() -> int:
    """Fill the tables, delete, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="of each of the two tables")
    rows = parser.parse_args().rows
    for name, measure in (("DuckDB", in_duckdb), ("PostgreSQL", in_postgres)):
        seconds = statistics.median(measure(rows))
        print(f"{name}: {seconds:.2f} s for one of {PACKAGES} packages of {rows:,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
