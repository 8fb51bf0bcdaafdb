"""The work that cases share: records, sources, and the same load by each tool.

Everything heavy is imported inside, so that importing a case costs nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.case import (
    DAGSTER_DLT,
    DLT,
    LOADSMITH,
    LOADSMITH_ROWS,
    Measures,
    Variant,
)

PAGE = 1000


def nested_pages(records: int) -> Iterator[list[dict[str, Any]]]:
    """Give pages of records, each with an object and a list of two more."""
    for start in range(0, records, PAGE):
        yield [
            {
                "id": number,
                "name": f"name {number}",
                "amount": number * 1.25,
                "active": number % 2 == 0,
                "created_at": f"2024-01-01T00:00:{number % 60:02}Z",
                "address": {"city": f"city {number % 100}", "zip": str(number % 9999)},
                "items": [
                    {"sku": f"sku {item}", "quantity": item, "price": item * 1.5}
                    for item in range(2)
                ],
            }
            for number in range(start, min(start + PAGE, records))
        ]


def nested_source(records: int) -> Any:
    """Return a source of one resource with a nested table: three rows for each record."""
    import dlt

    @dlt.source(name="bench")
    def bench() -> Any:
        return dlt.resource(nested_pages(records), name="orders")

    return bench()


def many_source(resources: int) -> Any:
    """Return a source of so many resources, ten rows each."""
    import dlt

    rows = [{"id": number, "name": f"name {number}", "value": number / 4} for number in range(10)]

    @dlt.source(name="bench")
    def bench() -> Any:
        for number in range(resources):
            yield dlt.resource(rows, name=f"table_{number:04}")

    return bench()


def make_pipeline(folder: Path, destination: Any) -> Any:
    """Return a pipeline with all of its files in the folder."""
    import dlt

    return dlt.pipeline(
        "bench",
        destination=destination,
        dataset_name="bench_data",
        pipelines_dir=str(folder / "pipelines"),
    )


def load_with_dlt(source: Any, pipeline: Any, file_format: str | None = None) -> Measures:
    """Load with dlt alone, as its documentation has it."""
    started = perf_counter()
    pipeline.run(source, loader_file_format=file_format)
    return {"seconds": perf_counter() - started, **_stages(pipeline)}


def load_with_dagster(tool: str, source: Any, pipeline: Any, **options: Any) -> Measures:
    """Load through the decorator of loadsmith or of dagster-dlt, in a process of Dagster's."""
    import dagster as dg

    integration: Any
    if tool == DAGSTER_DLT:
        import dagster_dlt as integration
    else:
        import loadsmith as integration

    @integration.dlt_assets(dlt_source=source, dlt_pipeline=pipeline, name="bench", **options)
    def assets(context: dg.AssetExecutionContext, dlt: integration.DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    started = perf_counter()
    result = dg.materialize([assets], resources={"dlt": integration.DagsterDltResource()})
    seconds = perf_counter() - started
    assert result.success
    return {"seconds": seconds, **_stages(pipeline)}


def _stages(pipeline: Any) -> dict[str, float]:
    trace = pipeline.last_trace
    return {
        step.step: (step.finished_at - step.started_at).total_seconds()
        for step in (trace.steps if trace else ())
        if step.step in ("extract", "normalize", "load") and step.finished_at
    }


def load_with(variant: Variant, source: Any, pipeline: Any, fastest: str | None) -> Measures:
    """Load with the tool of the variant; `fastest` is dlt's fastest file format."""
    if variant.tool == LOADSMITH_ROWS:
        return load_with_dagster(LOADSMITH, source, pipeline, normalizer="dlt")
    if variant.tool in (LOADSMITH, DAGSTER_DLT):
        return load_with_dagster(variant.tool, source, pipeline)
    return load_with_dlt(source, pipeline, None if variant.tool == DLT else fastest)
