"""Load a single resource, or plain data, into a table, for `DltPipeline`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loadsmith.model import LoadDefinition, LoadResult, RunRequest


@contextmanager
def run_resource(
    resource: Any,
    *,
    pipeline: Callable[[], Any],
    name: str,
    table_name: str | None,
    request: RunRequest,
) -> Iterator[tuple[LoadResult, Any]]:
    """Load one resource and yield the result and dlt's own load info.

    Args:
        resource: A dlt resource or source, called or not, or data that dlt accepts as a resource.
        pipeline: A function that makes the pipeline.
        name: Name of the load and, as in dlt, of the schema.
        table_name: The table; that of the resource if None.
        request: What the run is to do.

    Raises:
        RunError: The load failed.
    """
    import dlt

    from loadsmith.engine.run import run_load

    definition = LoadDefinition(
        name=name,
        source=lambda: _source_of(resource, name, table_name),
        pipeline=pipeline,
    )
    with run_load(definition, request) as result:
        trace = dlt.current.pipeline().last_trace
        yield result, trace.last_load_info if trace else None


def _source_of(resource: Any, name: str, table_name: str | None) -> Any:
    import dlt

    if isinstance(resource, dlt.sources.DltSource):
        return resource
    if not isinstance(resource, dlt.sources.DltResource):
        resource = dlt.resource(resource, name=table_name or name)

    def single() -> Any:
        return resource

    return dlt.source(single, name=name)()
