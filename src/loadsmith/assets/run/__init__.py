"""Run a load in Dagster's context, and report its result as events, metadata and check results."""

from loadsmith.assets.run.pipeline_resource import DltPipeline as DltPipeline
from loadsmith.assets.run.report import LoadEvent as LoadEvent
from loadsmith.assets.run.runner import (
    CurrentLoad as CurrentLoad,
    DagsterDltResource as DagsterDltResource,
    LoadEvents as LoadEvents,
    current_load as current_load,
    load_of as load_of,
    mark_load as mark_load,
    run_load_in_context as run_load_in_context,
)
