"""Code as users of dagster-dlt have it, with the import changed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg

from loadsmith import (
    DagsterDltFactory,
    DagsterDltResource,
    DltLoadCollectionComponent,
    DltLoadSpecModel,
    dlt_assets,
)


def decorated(source: Any, pipeline: Any, **options: Any) -> dg.Definitions:
    """Return what a decorated function defines."""

    @dlt_assets(dlt_source=source, dlt_pipeline=pipeline, **options)
    def load(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    return dg.Definitions(assets=[load], resources={"dlt": DagsterDltResource()})


def in_component(
    source: Any, pipeline: Any, kind: type[Any] = DltLoadCollectionComponent, **settings: Any
) -> dg.Definitions:
    """Return what a component defines that is made in Python."""
    component = kind(loads=[DltLoadSpecModel(source=source, pipeline=pipeline, **settings)])
    return component.build_defs(SimpleNamespace(project_root=Path.cwd()))


def in_factory(source: Any, pipeline: Any, **options: Any) -> dg.Definitions:
    """Return what the factory defines; the schema is that of the pipeline."""
    resources = [
        resource.with_name(f"{pipeline.dataset_name}.{resource.name}")
        for resource in source.selected_resources.values()
    ]
    return DagsterDltFactory.build_definitions(
        resources, destination=pipeline.destination, **options
    )


def run(defs: dg.Definitions, fails: bool = False, **options: Any) -> dg.ExecuteInProcessResult:
    """Materialize all assets of definitions."""
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False, **options)
    assert result.success is not fails, [
        event.event_specific_data.error_display_string
        for event in result.all_events
        if event.is_step_failure
    ]
    return result


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Return the metadata of what a run materialized, by key."""
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }
