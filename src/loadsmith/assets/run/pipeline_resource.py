"""`DltPipeline`, a configurable resource that loads a dlt resource into a table."""

import logging
from typing import Any

import dagster as dg

from loadsmith.assets.run.metadata import schema_changes_markdown
from loadsmith.engine.adhoc import run_resource
from loadsmith.engine.results import notify_schema_changes
from loadsmith.model import LoadResult, RunArguments, RunRequest
from loadsmith.names import op_name

# The log of a load outside of a run, which has no context.
_LOG = logging.getLogger("loadsmith")


class DltPipeline(dg.ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Loads a dlt resource from inside a hand-written asset or op.

    To make an asset of each table of a source, use `dlt_assets`.
    """

    def create_pipeline(
        self,
        pipeline_name: str,
        dataset_name: str,
        destination: Any,
        dlt_resource: Any,
        table_name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Make a pipeline, load the resource, and return dlt's load info.

        An asset that calls this gets the rows and the schema changes as metadata. Changes are also
        sent to dlt's `runtime.slack_incoming_hook`, if it is set.

        Args:
            pipeline_name: Name of the pipeline.
            dataset_name: The dataset of the table.
            destination: A dlt destination or its name.
            dlt_resource: A dlt resource, or data that dlt accepts as a resource.
            table_name: The table; that of the resource if None.
            kwargs: More arguments of dlt's `pipeline.run`.

        Raises:
            RunError: The load failed.
        """
        import dlt

        context = _context()
        request = RunRequest(
            run_id=context.run.run_id if context else "local",
            params=RunArguments.of({**kwargs, "table_name": table_name}, "create_pipeline()"),
            log=context.log.info if context else _LOG.info,
            warn=context.log.warning if context else _LOG.warning,
        )

        def pipeline() -> Any:
            return dlt.pipeline(
                pipeline_name=pipeline_name, destination=destination, dataset_name=dataset_name
            )

        with run_resource(
            dlt_resource,
            pipeline=pipeline,
            name=op_name(pipeline_name),
            table_name=table_name,
            request=request,
        ) as (result, load_info):
            notify_schema_changes(pipeline_name, result.schema_changes, request.warn)
            if context is not None and len(context.selected_output_names) == 1:
                context.add_output_metadata(_metadata(result))
        return load_info


def _metadata(result: LoadResult) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "rows_loaded": result.rows_loaded,
        "tables": {table.name: table.rows_loaded for table in result.tables},
        "load_ids": list(result.load_ids),
    }
    if result.schema_changes:
        metadata["schema_changes"] = dg.MetadataValue.md(
            schema_changes_markdown(result.schema_changes)
        )
    return metadata


def _context() -> Any:
    """Return the context of the running asset or op; None if nothing runs."""
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
