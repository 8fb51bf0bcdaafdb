"""T resources of ten rows each through the decorator, in one op."""

from pathlib import Path
from time import perf_counter

from bench import work
from bench.case import (
    DAGSTER,
    DAGSTER_DLT,
    DLT_FASTEST,
    LOADSMITH,
    Case,
    Measures,
    Promise,
    Variant,
)

SIZES = (50, 200, 800)


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    assert variant.size is not None
    if variant.tool == DAGSTER:
        return empty_run(variant.size)
    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    return work.load_with(variant, work.many_source(variant.size), pipeline, "parquet")


def empty_run(assets: int) -> Measures:
    """Time a run of Dagster that yields the same assets and does nothing else."""
    import dagster as dg

    # Dagster asks for the last event of each upstream asset, so that they belong to the floor.
    specs = [
        dg.AssetSpec(
            f"dlt_bench_table_{number:04}",
            deps=[f"bench_table_{number:04}"],
            kinds={"dlt", "duckdb"},
        )
        for number in range(assets)
    ]

    @dg.multi_asset(specs=specs)
    def nothing() -> object:
        for spec in specs:
            yield dg.MaterializeResult(asset_key=spec.key)

    started = perf_counter()
    assert dg.materialize([nothing]).success
    return {"seconds": perf_counter() - started}


CASE = Case(
    title="T resources of ten rows through the decorator",
    variants=[
        Variant(tool, size)
        for size in SIZES
        for tool in (LOADSMITH, DLT_FASTEST, DAGSTER, DAGSTER_DLT)
    ],
    run=run,
    promises=[
        Promise(
            f"plain dlt and an empty Dagster run, T={size}",
            Variant(LOADSMITH, size),
            [Variant(DLT_FASTEST, size), Variant(DAGSTER, size)],
            1.10,
        )
        for size in SIZES
    ],
)
