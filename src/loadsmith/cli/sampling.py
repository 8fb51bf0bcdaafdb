"""Load a few rows of each resource into a scratch DuckDB that is thrown away.

Neither the real destination nor the state of the pipeline is touched.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.config.project_files import ProjectFiles
from loadsmith.errors import ResolveError, SelectionError, did_you_mean
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadResult,
    PartitionSettings,
    PipelineSettings,
    RunArguments,
    RunRequest,
    Window,
)
from loadsmith.resolve import render_definition, run_variables, used_variables

if TYPE_CHECKING:
    from dlt import Schema

DATASET = "scratch"
"""The dataset of every scratch database."""

_ELSEWHERE = ("credentials", "loader_file_format", "refresh", "staging", "table_format")
"""Options of a run that mean the real destination and would be wrong, or harmful, in a scratch."""


@dataclass(frozen=True, kw_only=True)
class ScratchLoad:
    """A load into a scratch database.

    Attributes:
        database: The DuckDB file; its tables are in the dataset `DATASET`.
        run: Runs the load with a run id; returns what it did and dlt's schema after it.

    `run` raises `RunError` where the source fails.
    """

    database: Path
    run: Callable[[str], "tuple[LoadResult, Schema]"]


@contextmanager
def scratch_load(
    definition: LoadDefinition,
    files: ProjectFiles,
    *,
    rows: int,
    partition: str | None,
    run_id: str,
) -> Iterator[ScratchLoad]:
    """Prepare a load of about `rows` rows of each resource; its files are removed after the block.

    Args:
        definition: The load.
        files: The project that it is part of.
        rows: Rows of each resource, about.
        partition: The partition to load; the last one where None and there are some.
        run_id: Value of `{{context.run_id}}`.

    Raises:
        ResolveError: The source or a variable is not there.
        SelectionError: The partition is not one.
    """
    key, window = choose_partition(definition.partitions, partition, definition.name)
    params = {entry.value.resource_kind: entry.value.params for entry in files.resources}
    with scratch_load_of(
        definition, params, rows=rows, key=key, window=window, run_id=run_id
    ) as scratch:
        yield scratch


@contextmanager
def scratch_load_of(
    definition: LoadDefinition,
    resource_params: Mapping[str, Mapping[str, Any]],
    *,
    rows: int,
    key: str | None,
    window: Window | None,
    run_id: str,
    resources: tuple[str, ...] | None = None,
) -> Iterator[ScratchLoad]:
    """Prepare a load of a few rows of a known partition; its files are removed after the block.

    Args:
        definition: The load.
        resource_params: Parameters of the project's resources, by kind.
        rows: Rows of each resource, about.
        key: The partition, where there are some.
        window: Its window, where it is one of time.
        run_id: Value of `{{context.run_id}}`.
        resources: The resources to load; None for all.

    Raises:
        ResolveError: The source or a variable is not there.
    """
    with tempfile.TemporaryDirectory(
        prefix="loadsmith-scratch-", ignore_cleanup_errors=True
    ) as folder:
        database = Path(folder) / "rows.duckdb"
        scratch = _in_scratch(definition, database)
        names = used_variables(scratch)
        variables = run_variables(
            names,
            run_id=run_id,
            partition_key=key,
            window=window,
            resources=resource_params,
        )
        _refuse_unknown(names - set(variables), definition.place or definition.name)
        rendered = render_definition(scratch, variables)
        request = RunRequest(
            partition_key=key,
            window=window,
            source=_limited_source(rendered, rows),
            resources=resources,
        )
        yield ScratchLoad(
            database=database,
            run=lambda run_id: _run(rendered, replace(request, run_id=run_id)),
        )


def _run(definition: LoadDefinition, request: RunRequest) -> "tuple[LoadResult, Schema]":
    import dlt

    from loadsmith.engine.run import run_load

    with run_load(definition, request) as result:
        return result, dlt.current.pipeline().default_schema


def _limited_source(definition: LoadDefinition, rows: int) -> Callable[[], Any]:
    def make() -> Any:
        from loadsmith.engine.sources import make_source

        source = make_source(definition.source)
        for resource in source.resources.values():
            # dlt limits what feeds a transformer, never the transformer.
            if not resource.is_transformer:
                resource.add_limit(rows, count_rows=True)
        return source

    return make


def _in_scratch(definition: LoadDefinition, database: Path) -> LoadDefinition:
    """Return the load with a DuckDB file as its destination."""
    params = {
        name: value for name, value in definition.options.params.items() if name not in _ELSEWHERE
    }
    return replace(
        definition,
        destination=DestinationReference(name="duckdb", params={"database": str(database)}),
        pipeline=PipelineSettings(
            pipeline_name=DATASET,
            dataset_name=DATASET,
            pipelines_dir=str(database.parent / "pipelines"),
        ),
        options=replace(
            definition.options,
            params=RunArguments.of(params),
            limit=None,
            on_error="fail",
            on_empty="truncate",
        ),
        # The run must not need the schema file: it may be the first one, or outdated.
        schema_file_path=None,
        snapshot_path=None,
    )


def choose_partition(
    settings: PartitionSettings | None, wanted: str | None, name: str
) -> tuple[str | None, Window | None]:
    """Return the partition to look at, by default the last one, and its window.

    Raises:
        SelectionError: There is no such partition, or none at all.
    """
    from loadsmith.assets.define import build_partitions_def

    partitions_def = None if settings is None else build_partitions_def(settings)
    return choose_of(partitions_def, wanted, name)


def choose_of(
    partitions_def: Any, wanted: str | None, name: str
) -> tuple[str | None, Window | None]:
    """Return one of Dagster's partitions, by default the last one, and its window.

    Raises:
        SelectionError: There is no such partition, or none at all.
    """
    if partitions_def is None:
        if wanted:
            raise SelectionError(f"--partition {wanted}: {name} has no partitions. Leave it out.")
        return None, None
    import dagster as dg

    from loadsmith.assets.define import window_of_keys

    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
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


def _refuse_unknown(names: frozenset[str], place: str) -> None:
    """Refuse variables that have no value without a run under Dagster.

    Raises:
        ResolveError: There is one.
    """
    for name in sorted(names):
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
