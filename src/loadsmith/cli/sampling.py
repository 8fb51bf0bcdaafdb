"""A load's definition in, the schema of a few of its rows out; everything else is thrown away."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loadsmith.config.project_files import ProjectFiles
from loadsmith.config.templates import names_in
from loadsmith.errors import ResolveError, SelectionError, did_you_mean
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PartitionSettings,
    PipelineSettings,
    RunOptions,
    RunRequest,
    Window,
)

_ELSEWHERE = ("credentials", "loader_file_format", "refresh", "staging", "table_format")
"""Options of a run that mean the real destination and would be wrong, or harmful, in a scratch."""


@contextmanager
def sample_schema(
    definition: LoadDefinition, files: ProjectFiles, *, rows: int, partition: str | None
) -> Iterator[Any]:
    """Load about `rows` rows of each resource into a scratch DuckDB and yield dlt's schema.

    The real destination is not touched, nor the state of the pipeline.

    Raises:
        RunError: The source failed.
        ResolveError: The source or a variable is not there.
        SelectionError: The partition is not one.
    """
    folder = tempfile.mkdtemp(prefix="loadsmith-schema-")
    try:
        yield _run(definition, files, rows=rows, partition=partition, folder=Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    definition: LoadDefinition,
    files: ProjectFiles,
    *,
    rows: int,
    partition: str | None,
    folder: Path,
) -> Any:
    import dlt

    from loadsmith.engine.run import run_load
    from loadsmith.engine.sources import make_source
    from loadsmith.resolve import render_definition

    key, window = choose_partition(definition.partitions, partition, definition.name)
    scratch = _in_scratch(definition, folder)
    rendered = render_definition(scratch, _variables(scratch, files, key, window))

    def make_limited_source() -> Any:
        source = make_source(rendered.source)
        for resource in source.resources.values():
            # dlt limits what feeds a transformer, never the transformer.
            if not resource.is_transformer:
                resource.add_limit(rows, count_rows=True)
        return source

    request = RunRequest(
        run_id="schema", partition_key=key, window=window, source=make_limited_source
    )
    with run_load(rendered, request):
        return dlt.current.pipeline().default_schema


def _in_scratch(definition: LoadDefinition, folder: Path) -> LoadDefinition:
    """Return the load with a DuckDB file in `folder` as its destination."""
    params = {
        name: value for name, value in definition.options.params.items() if name not in _ELSEWHERE
    }
    return replace(
        definition,
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "sample.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name="scratch",
            dataset_name="scratch",
            pipelines_dir=str(folder / "pipelines"),
        ),
        options=RunOptions(params=params, normalizer=definition.options.normalizer),
        # The file is what comes of this run, so the run must not need it.
        schema_file_path=None,
        snapshot_path=None,
    )


def choose_partition(
    settings: PartitionSettings | None, wanted: str | None, name: str
) -> tuple[str | None, Window | None]:
    """Return the partition to look at, the last one unless told otherwise, and its window.

    Raises:
        SelectionError: There is no such partition, or none at all.
    """
    if settings is None:
        if wanted:
            raise SelectionError(f"--partition {wanted}: {name} has no partitions. Leave it out.")
        return None, None
    from loadsmith.assets.define import build_partitions_def, window_of_keys

    partitions_def = build_partitions_def(settings)
    if settings.kind == "dynamic":
        if wanted is None:
            raise SelectionError(f"{name}: its partitions are dynamic. Add --partition KEY.")
        return wanted, None
    known = partitions_def.get_partition_keys()
    if wanted is None and not known:
        raise SelectionError(f"{name}: it has no partition yet. Wait for the first one to end.")
    key = known[-1] if wanted is None else wanted
    if key not in known:
        raise SelectionError(
            f"--partition {key}: {name} has no such partition.{did_you_mean(key, known[-500:])}"
        )
    return key, window_of_keys(partitions_def, [key])


def _variables(
    definition: LoadDefinition, files: ProjectFiles, key: str | None, window: Window | None
) -> Mapping[str, Any]:
    from loadsmith.project.variables import environment_variables, resource_variables

    source = definition.source
    used = names_in([getattr(source, "params", {}), definition.options.params])
    found: dict[str, Any] = {
        "context.run_id": "schema",
        "utils.now": datetime.now(timezone.utc).isoformat(),
        **environment_variables(used),
        **resource_variables(
            used, {entry.value.resource_kind: entry.value.params for entry in files.resources}
        ),
    }
    if key is not None:
        found["context.partition_key"] = key
    if window is not None:
        found["context.partition_window_start"] = window.start.isoformat()
        found["context.partition_window_end"] = window.end.isoformat()
    _refuse_unknown(used, found, definition)
    return found


def _refuse_unknown(used: set[str], found: Mapping[str, Any], definition: LoadDefinition) -> None:
    for name in sorted(used - set(found)):
        place = definition.place or definition.name
        if name.startswith("env."):
            raise ResolveError(f"{place}: {name[4:]} is not set. Set it in the environment.")
        if name.startswith("context.partition"):
            raise ResolveError(
                f"{place}: '{{{{{name}}}}}' needs partitions, and the asset has none. Add it to "
                "`partitions` of a workflow file."
            )
        raise ResolveError(
            f"{place}: '{{{{{name}}}}}' is known only in a run under Dagster, which knows what its "
            "parents did. Run the asset once with `export_schema_path` in `pipeline_params`."
        )
