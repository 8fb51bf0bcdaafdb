"""A load of a project in, the rows of its tables in a scratch DuckDB after each run out."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadsmith.config.models import DltAsset
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunOptions,
    RunRequest,
)

_OF_THE_DESTINATION = ("credentials", "loader_file_format", "refresh", "staging", "table_format")
"""Options of a run that mean the real destination."""

_DATASET = "scratch"


@dataclass(frozen=True)
class TableCount:
    """A table after two runs of the same load.

    Attributes:
        write_disposition: That of its root table, as the run had it.
        first: Rows in the destination after the first run.
        second: Those after the second.
        reported: Rows that each run reported; None where it did not know.
    """

    name: str
    write_disposition: str
    first: int
    second: int
    reported: tuple[int | None, int | None] = (None, None)


def dlt_assets_of(files: ProjectFiles) -> dict[str, Located[DltAsset]]:
    """Return the loads of a project's files by asset key."""
    return {located.value.asset_key: located for located in files.dlt_assets}


def load_twice(
    asset: Located[DltAsset], files: ProjectFiles, *, limit: int, partition: str | None = None
) -> list[TableCount]:
    """Load a dlt asset twice into a DuckDB file that is thrown away, and count the rows.

    Neither the real destination nor the state of the pipeline is touched.

    Args:
        asset: The entry of the workflow file.
        files: The project.
        limit: Rows of each resource, about.
        partition: The partition to load; the last one where None and there are some.

    Raises:
        LoadsmithError: A run failed, or a secret or a variable is not there.
    """
    from loadsmith.cli.sampling import choose_partition
    from loadsmith.resolve import render_definition, resolve_asset

    definition = resolve_asset(asset, files)
    key, window = choose_partition(definition.partitions, partition, definition.name)
    with tempfile.TemporaryDirectory(prefix="loadsmith-testing-") as folder:
        scratch = _in_scratch(definition, Path(folder))
        variables = _variables(scratch, files, key, window)
        rendered = render_definition(scratch, variables)
        request = RunRequest(partition_key=key, window=window, source=_limited(rendered, limit))
        first = _run(rendered, replace(request, run_id="first"), Path(folder))
        second = _run(rendered, replace(request, run_id="second"), Path(folder))
    return [
        TableCount(
            name,
            second.dispositions[name],
            first.held.get(name, 0),
            rows,
            (first.reported.get(name, 0), second.reported.get(name, 0)),
        )
        for name, rows in sorted(second.held.items())
    ]


@dataclass(frozen=True)
class _Counts:
    """Rows that a run reported and left, and write dispositions, by table."""

    reported: Mapping[str, int | None]
    held: Mapping[str, int]
    dispositions: Mapping[str, str]


def _in_scratch(definition: LoadDefinition, folder: Path) -> LoadDefinition:
    params = {
        name: value
        for name, value in definition.options.params.items()
        if name not in _OF_THE_DESTINATION
    }
    return replace(
        definition,
        destination=DestinationReference(
            name="duckdb", params={"database": str(folder / "rows.duckdb")}
        ),
        pipeline=PipelineSettings(
            pipeline_name=_DATASET, dataset_name=_DATASET, pipelines_dir=str(folder / "pipelines")
        ),
        options=RunOptions(params=params, normalizer=definition.options.normalizer),
        # A file that is not up to date is what another test tells of.
        schema_file_path=None,
        snapshot_path=None,
    )


def _limited(definition: LoadDefinition, limit: int) -> Any:
    from loadsmith.engine.sources import make_source

    def make() -> Any:
        source = make_source(definition.source)
        for resource in source.resources.values():
            # dlt limits what feeds a transformer, never the transformer.
            if not resource.is_transformer:
                resource.add_limit(limit, count_rows=True)
        return source

    return make


def _run(definition: LoadDefinition, request: RunRequest, folder: Path) -> _Counts:
    """Run a load into the scratch database and count."""
    import dlt
    import duckdb

    from loadsmith.engine.run import run_load

    with run_load(definition, request) as result:
        reported = {table.name: table.rows_loaded for table in result.tables}
        schema = dlt.current.pipeline().default_schema
        dispositions = {
            str(table["name"]): _disposition(schema, str(table["name"]))
            for table in schema.data_tables(seen_data_only=True)
        }
    with duckdb.connect(str(folder / "rows.duckdb"), read_only=True) as connection:
        counts = {}
        for name in dispositions:
            table = connection.table(f'{_DATASET}."{name}"')
            counts[name] = len(table)
    return _Counts(reported, counts, dispositions)


def _disposition(schema: Any, name: str) -> str:
    table = schema.tables[name]
    while table.get("parent"):
        table = schema.tables[table["parent"]]
    return str(table.get("write_disposition", "append"))


def _variables(
    definition: LoadDefinition, files: ProjectFiles, key: str | None, window: Any
) -> Mapping[str, Any]:
    from loadsmith.config.templates import names_in
    from loadsmith.project.variables import environment_variables, now, resource_variables

    source = definition.source
    used = names_in([getattr(source, "params", {}), definition.options.params])
    found: dict[str, Any] = {
        "context.run_id": "testing",
        "utils.now": now(),
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
    return found
