"""Load an asset of a project twice into a scratch DuckDB and count the rows after each run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from loadsmith.cli.sampling import DATASET, ScratchLoad, scratch_load
from loadsmith.config.models import DltAsset
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.resolve import resolve_asset


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
    """Load a dlt asset twice into a scratch DuckDB, and count the rows.

    Args:
        asset: The entry of the workflow file.
        files: The project.
        limit: Rows of each resource, about.
        partition: The partition to load; the last one where None and there are some.

    Raises:
        LoadsmithError: A run failed, or a secret or a variable is not there.
    """
    with scratch_load(
        resolve_asset(asset, files), files, rows=limit, partition=partition, run_id="testing"
    ) as scratch:
        first, second = (_run(scratch, run_id) for run_id in ("first", "second"))
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


def _run(scratch: ScratchLoad, run_id: str) -> _Counts:
    result, schema = scratch.run(run_id)
    reported = {table.name: table.rows_loaded for table in result.tables}
    dispositions = {
        str(table["name"]): _disposition(schema, str(table["name"]))
        for table in schema.data_tables(seen_data_only=True)
    }
    with duckdb.connect(str(scratch.database), read_only=True) as connection:
        held = {name: len(connection.table(f'{DATASET}."{name}"')) for name in dispositions}
    return _Counts(reported, held, dispositions)


def _disposition(schema: Any, name: str) -> str:
    table = schema.tables[name]
    while table.get("parent"):
        table = schema.tables[table["parent"]]
    return str(table.get("write_disposition", "append"))
