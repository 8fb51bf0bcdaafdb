"""Peak memory of a load, and of one of ten times the rows."""

from pathlib import Path

from bench import work
from bench.case import LOADSMITH, LOADSMITH_ARROW, Case, Measures, Promise, Variant

RECORDS = (30_000, 300_000)


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    assert variant.size is not None
    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    return work.load_with(variant, work.nested_source(variant.size), pipeline, "parquet")


CASE = Case(
    title="Peak memory with ten times the rows",
    variants=[
        Variant(tool, size, most_samples=3)
        for tool in (LOADSMITH, LOADSMITH_ARROW)
        for size in RECORDS
    ],
    run=run,
    promises=[
        Promise(
            f"1.2 times the peak ({tool})",
            Variant(tool, RECORDS[1]),
            [Variant(tool, RECORDS[0])],
            1.20,
            measure="peak_mb",
        )
        for tool in (LOADSMITH, LOADSMITH_ARROW)
    ],
)
