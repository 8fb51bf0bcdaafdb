"""The tenth, the hundredth and the thousandth run of one load, and what all of them have left."""

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench.case import LOADSMITH, Case, Measures, Variant, growth

RUNS = (10, 100, 1000)
ROWS = 20

#: The last runs, whose median is the figure.
LAST = 5


def run(variant: Variant, folder: Path) -> Measures:
    import dlt
    import duckdb

    from loadsmith.assets.define import live_definition
    from loadsmith.engine.run import run_load
    from loadsmith.model import RunRequest

    assert variant.size is not None
    database = folder / "bench.duckdb"
    home = folder / "pipelines"

    def make_source(first: int) -> Any:
        @dlt.source(name="bench")
        def bench() -> Any:
            @dlt.resource(write_disposition="append")
            def orders(number: Any = dlt.sources.incremental("id", initial_value=-1)) -> Any:
                yield [{"id": first + n, "items": [{"sku": n}]} for n in range(ROWS)]

            return orders

        return bench

    def make_pipeline() -> Any:
        return dlt.pipeline(
            "bench",
            destination=dlt.destinations.duckdb(str(database)),
            dataset_name="ds",
            pipelines_dir=str(home),
        )

    seconds = []
    for number in range(variant.size):
        definition = live_definition(make_source(number * ROWS), make_pipeline)
        request = RunRequest(run_id=f"run {number}", outcome_of=lambda _run: "succeeded")
        started = perf_counter()
        with run_load(definition, request):
            pass
        seconds.append(perf_counter() - started)
    files = [path for path in home.rglob("*") if path.is_file()]
    with duckdb.connect(str(database)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'ds' AND table_name LIKE '_dlt_loadsmith%'"
        ).fetchall()
        counts = [
            connection.execute(f'SELECT count(*) FROM ds."{name}"').fetchone()[0]
            for (name,) in tables
        ]
    return {
        "seconds": median(seconds[-LAST:]),
        "files": len(files),
        "kilobytes": sum(path.stat().st_size for path in files) / 1000,
        "ledger_rows": sum(counts),
    }


CASE = Case(
    title="The tenth, hundredth and thousandth run of a load",
    variants=[Variant(LOADSMITH, runs) for runs in RUNS],
    run=run,
    promises=[
        *growth([LOADSMITH], (10, 1000), "1.5 times the seconds", 1.5, "seconds"),
        *growth([LOADSMITH], (10, 1000), "the same files", 1.0, "files"),
        *growth([LOADSMITH], (10, 1000), "1.1 times the bytes", 1.1, "kilobytes"),
        *growth([LOADSMITH], (10, 1000), "the same rows in the ledger", 1.0, "ledger_rows"),
    ],
    more={"files": "files", "kilobytes": "kB of files", "ledger_rows": "rows of the ledger"},
)
