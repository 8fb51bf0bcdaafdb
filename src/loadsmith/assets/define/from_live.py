"""Build the definition and the specs of a load from live dlt objects."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import dagster as dg

from loadsmith.assets.define.specs import build_specs
from loadsmith.assets.define.split import OUTPUTS_PER_OP
from loadsmith.assets.define.translator import DagsterDltTranslator
from loadsmith.engine.snapshots import inspect_load, inspect_source, with_seen
from loadsmith.engine.sources import Live, live_resources, look_at_pipeline, recipe_of
from loadsmith.model import (
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSnapshot,
    TableSnapshot,
)
from loadsmith.names import op_name

# A live dlt object, or a function without arguments that makes it. The type is Any, so that Dagster
# can read annotations without an import of dlt.
DltSourceLike: TypeAlias = Any
DltPipelineLike: TypeAlias = Any


def live_definition(
    dlt_source: DltSourceLike, dlt_pipeline: DltPipelineLike, **settings: Any
) -> LoadDefinition:
    """Return the definition of a load of live objects, or of functions that make them."""
    given: dict[str, Any] = {
        "name": op_name(getattr(dlt_pipeline, "pipeline_name", None) or "load"),
        **settings,
        "source": recipe_of(dlt_source),
        "pipeline": recipe_of(dlt_pipeline),
    }
    return LoadDefinition(**given)


def build_live_specs(
    definition: LoadDefinition, translator: DagsterDltTranslator | None = None
) -> list[dg.AssetSpec]:
    """Build the specs of a load; see `look_at_live`."""
    return look_at_live(definition, translator)[0]


def look_at_live(
    definition: LoadDefinition, translator: DagsterDltTranslator | None = None
) -> tuple[list[dg.AssetSpec], LoadSnapshot]:
    """Look at a load whose source and pipeline are functions or live objects.

    The translator gets the live dlt resources. If a file knows the tables, a function that makes
    the source is not called, because it may need a secret that only the run has.

    Returns:
        The specs of its assets, and what is known of its resources.

    Raises:
        TranslationError: The translator returned something unusable.
    """
    assert callable(definition.pipeline)
    looked = look_at_pipeline(definition.pipeline)
    names: dict[str, Any] = dict(looked.names)
    has_file = definition.schema_file_path is not None or definition.snapshot_path is not None
    resources: dict[str, Any] = {}
    if has_file and not isinstance(definition.source, Live):
        snapshot = replace(inspect_load(definition), **names)
    else:
        source, resources = live_resources(definition.source, needs_secrets=False)
        snapshot = inspect_source(source, **names)
        if has_file:
            snapshot = _with_tables(snapshot, inspect_load(definition))
        else:
            snapshot = _with_seen_tables(snapshot, definition, looked.names, looked.pipelines_dir)
    pipeline = definition.pipeline.value if isinstance(definition.pipeline, Live) else None
    specs = build_specs(
        snapshot,
        translator or DagsterDltTranslator(),
        definition,
        live=resources,
        pipeline=pipeline,
    )
    return specs, snapshot


def with_seen_tables(snapshot: LoadSnapshot, definition: LoadDefinition) -> LoadSnapshot:
    """Return the snapshot of a live source with the columns and nested tables that runs saw.

    If nested tables are assets and the load has several ops, or would get several, they are left
    out: the ops must not change while a run goes on.
    """
    pipeline = definition.pipeline
    if isinstance(pipeline, PipelineSettings):
        names: Mapping[str, str | None] = {"pipeline_name": pipeline.pipeline_name}
        pipelines_dir = pipeline.pipelines_dir
    else:
        names, pipelines_dir, _ = look_at_pipeline(pipeline)
    seen = _with_seen_tables(snapshot, definition, names, pipelines_dir)
    tables = sum(len(resource.tables) or 1 for resource in seen.resources)
    is_one_op = definition.op.granularity == "source" and tables <= OUTPUTS_PER_OP
    return seen if is_one_op or not definition.nested_tables else snapshot


def _with_seen_tables(
    snapshot: LoadSnapshot,
    definition: LoadDefinition,
    names: Mapping[str, str | None],
    pipelines_dir: str | None,
) -> LoadSnapshot:
    seen = with_seen(
        snapshot,
        definition.source,
        pipeline_name=names["pipeline_name"],
        pipelines_dir=pipelines_dir,
    )
    return replace(seen, resources=tuple(map(_with_seen, seen.resources)))


def _with_seen(resource: ResourceSnapshot) -> ResourceSnapshot:
    """Return a live resource with the columns and the nested tables that a run saw."""
    roots = resource.root_tables
    if resource.seen is None or len(roots) != 1:
        return resource
    family: dict[str | None, TableSnapshot] = {}
    for table in resource.seen.tables:
        if table.name == roots[0].name or table.parent in family:
            family[table.name] = table
    if roots[0].name not in family:
        return resource
    return replace(resource, tables=tuple(family.values()))


def _with_tables(live: LoadSnapshot, known: LoadSnapshot) -> LoadSnapshot:
    """Return the snapshot of the live source with the tables that a file knows."""
    return replace(
        live,
        resources=tuple(
            replace(resource, tables=in_file.tables)
            if (in_file := known.resource(resource.name)) is not None and in_file.tables
            else resource
            for resource in live.resources
        ),
    )
