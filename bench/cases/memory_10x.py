"""Peak memory of a load, and of one of ten times the rows."""

from pathlib import Path

from bench import work
from bench.case import DLT_FASTEST, LOADSMITH, LOADSMITH_ROWS, Case, Measures, Variant, growth

RECORDS = (30_000, 300_000)
TOOLS = (LOADSMITH, LOADSMITH_ROWS, DLT_FASTEST)


def run(variant: Variant, folder: Path) -> Measures:
    import dlt

    assert variant.size is not None
    pipeline = work.make_pipeline(folder, dlt.destinations.duckdb(str(folder / "bench.duckdb")))
    return work.load_with(variant, work.nested_source(variant.size), pipeline, "parquet")


CASE = Case(
    title="Peak memory with ten times the rows",
    variants=[Variant(tool, size) for tool in TOOLS for size in RECORDS],
    run=run,
    promises=growth(TOOLS[:2], RECORDS, "1.2 times the peak", 1.20, "peak_mb"),
)
