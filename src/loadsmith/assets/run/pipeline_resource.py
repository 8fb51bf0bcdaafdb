"""`DltPipeline`: a configurable resource that loads one dlt resource into one table."""

import logging
from typing import Any

import dagster as dg

from loadsmith.assets.run.metadata import schema_changes_markdown
from loadsmith.engine.adhoc import run_resource
from loadsmith.engine.results import notify_schema_changes
from loadsmith.model import LoadResult, RunRequest
from loadsmith.names import op_name

# For a load outside of a run, where there is no context with a log.
_LOG = logging.getLogger("loadsmith")


class DltPipeline(dg.ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Loads a dlt resource from inside an asset or an op that one writes oneself.

    For a source whose tables are to be assets each, take `dlt_assets`.
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

        An asset that calls this gets the rows and the schema changes as metadata. Changes go to
        dlt's `runtime.slack_incoming_hook`, too, if one is set.

        Args:
            pipeline_name: Name of the pipeline.
            dataset_name: Dataset that the table is in.
            destination: Name of a dlt destination, or one.
            dlt_resource: A dlt resource, or data that dlt makes one of.
            table_name: The table; that of the resource where None.
            kwargs: More arguments of dlt's `pipeline.run`.

        Raises:
            RunError: The load failed.
        """
        import dlt

        context = _context()
        request = RunRequest(
            run_id=context.run.run_id if context else "local",
            params={**kwargs, **({"table_name": table_name} if table_name else {})},
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
    found: dict[str, Any] = {
        "rows_loaded": result.rows_loaded,
        "tables": {table.name: table.rows_loaded for table in result.tables},
        "load_ids": list(result.load_ids),
    }
    if result.schema_changes:
        found["schema_changes"] = dg.MetadataValue.md(
            schema_changes_markdown(result.schema_changes)
        )
    return found


def _context() -> Any:
    """Return the context of the asset or the op that runs, or None outside of one."""
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
