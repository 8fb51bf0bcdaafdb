"""100,000 records with a nested list into PostgreSQL, with no setting."""

from pathlib import Path

from bench import work
from bench.case import (
    DAGSTER_DLT,
    DLT,
    DLT_FASTEST,
    LOADSMITH,
    LOADSMITH_ROWS,
    POSTGRES,
    Case,
    Measures,
    Promise,
    Variant,
)

RECORDS = 100_000


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    pipeline = work.make_pipeline(folder, dlt.destinations.postgres(POSTGRES))
    with pipeline.sql_client() as client:
        client.execute_sql("DROP SCHEMA IF EXISTS bench_data CASCADE")
    return work.load_with(variant, work.nested_source(RECORDS), pipeline, "parquet")


CASE = Case(
    title="100,000 nested records (300,000 rows) into PostgreSQL",
    variants=[Variant(tool) for tool in (LOADSMITH, LOADSMITH_ROWS, DLT_FASTEST, DLT, DAGSTER_DLT)],
    run=run,
    promises=[Promise("dlt's fastest format", Variant(LOADSMITH), [Variant(DLT_FASTEST)], 1.10)],
    needs_postgres=True,
)
