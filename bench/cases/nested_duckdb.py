"""100,000 records with a nested list into DuckDB, with no setting."""

from pathlib import Path

from bench import work
from bench.case import (
    DAGSTER_DLT,
    DLT,
    DLT_FASTEST,
    LOADSMITH,
    LOADSMITH_ROWS,
    Case,
    Measures,
    Promise,
    Variant,
)

RECORDS = 100_000


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    return work.load_with(variant, work.nested_source(RECORDS), pipeline, "parquet")


CASE = Case(
    title="100,000 nested records (300,000 rows) into DuckDB",
    variants=[Variant(tool) for tool in (LOADSMITH, LOADSMITH_ROWS, DLT_FASTEST, DLT, DAGSTER_DLT)],
    run=run,
    promises=[
        Promise("dlt's fastest format", Variant(LOADSMITH), [Variant(DLT_FASTEST)], 1.10),
        Promise(
            "dlt's fastest format (normalizer: dlt)",
            Variant(LOADSMITH_ROWS),
            [Variant(DLT_FASTEST)],
            1.10,
        ),
        Promise("a quarter of dagster-dlt", Variant(LOADSMITH), [Variant(DAGSTER_DLT)], 0.25),
    ],
)
