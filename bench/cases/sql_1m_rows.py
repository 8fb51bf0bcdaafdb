"""A PostgreSQL table of 1,000,000 rows to DuckDB by `sql_database`.

Making the source, which imports SQLAlchemy, is a part of the run of a recipe, and is timed in all.
"""

from pathlib import Path
from time import perf_counter
from typing import Any

from bench import work
from bench.case import (
    DAGSTER,
    DAGSTER_DLT,
    DLT,
    DLT_FASTEST,
    LOADSMITH,
    POSTGRES,
    Case,
    Measures,
    Promise,
    Variant,
)
from bench.cases.resources_t import empty_run

ROWS = 1_000_000

#: One driver for all, the one that every environment has.
CREDENTIALS = POSTGRES.replace("postgresql://", "postgresql+psycopg2://")


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    if variant.tool == DAGSTER:
        return empty_run(1)
    _make_table()
    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    if variant.tool != LOADSMITH:
        backend = "connectorx" if variant.tool == DLT_FASTEST else "sqlalchemy"
        started = perf_counter()
        measures = work.load_with(variant, _source(backend), pipeline, "parquet")
        return {**measures, "seconds": perf_counter() - started}
    return _load_by_definition(folder)


def _load_by_definition(folder: Path) -> Measures:
    # A backend is chosen by whoever makes the source, so this load is a recipe, not a live source.
    import dagster as dg

    from loadsmith.assets.build import build_assets
    from loadsmith.assets.run import DagsterDltResource
    from loadsmith.model import (
        DestinationReference,
        LoadDefinition,
        PipelineSettings,
        SourceReference,
    )

    definition = LoadDefinition(
        name="bench",
        source=SourceReference(
            module="sql_database",
            params={"credentials": CREDENTIALS, "schema": "bench_source", "table_names": ["rows"]},
        ),
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "bench.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="bench",
            dataset_name="bench_data",
            pipelines_dir=str(folder / "pipelines"),
        ),
    )
    assets = build_assets(definition)
    started = perf_counter()
    result = dg.materialize([assets], resources={"dlt": DagsterDltResource()})
    assert result.success
    return {"seconds": perf_counter() - started}


def _source(backend: str) -> Any:
    from dlt.sources.sql_database import sql_database

    return sql_database(
        CREDENTIALS,
        schema="bench_source",
        table_names=["rows"],
        backend=backend,
    )


def _make_table() -> None:
    import psycopg2

    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('bench_source.rows')")
        if cursor.fetchone()[0] is None:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS bench_source")
            cursor.execute(
                "CREATE TABLE bench_source.rows AS SELECT n AS id, 'name ' || n AS name, "
                "n * 1.25::float8 AS amount, now() AS created_at, n % 2 = 0 AS active "
                f"FROM generate_series(1, {ROWS}) AS n"
            )
    connection.close()


CASE = Case(
    title="PostgreSQL table of 1,000,000 rows to DuckDB by `sql_database`",
    variants=[Variant(tool) for tool in (LOADSMITH, DLT_FASTEST, DAGSTER, DLT, DAGSTER_DLT)],
    run=run,
    promises=[
        Promise("dlt's fastest backend", Variant(LOADSMITH), [Variant(DLT_FASTEST)], 1.10),
        Promise(
            "dlt's fastest backend and an empty Dagster run",
            Variant(LOADSMITH),
            [Variant(DLT_FASTEST), Variant(DAGSTER)],
            1.10,
        ),
    ],
    needs_postgres=True,
)
