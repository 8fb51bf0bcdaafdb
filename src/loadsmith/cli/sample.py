"""`loadsmith run --limit`: load a few rows into a scratch database that is thrown away."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.output import counted, make_console, show_json, show_table
from loadsmith.cli.projects import Project
from loadsmith.cli.sampling import DATASET, choose_of, scratch_load_of
from loadsmith.cli.selection import RANGE_MARK
from loadsmith.errors import SelectionError
from loadsmith.model import LoadDefinition, Window

if TYPE_CHECKING:
    import dagster as dg

#: Rows of a table that are shown.
_SHOWN_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class TableSample:
    """A table of a sample.

    Attributes:
        rows: Its rows; a resource that others feed, and a nested table, may have more than asked.
        first: A few of them.
    """

    load: str
    resource: str
    table: str
    rows: int
    first: list[dict[str, Any]] = field(default_factory=list)


def run_sample(
    project: Project,
    keys: Sequence["dg.AssetKey"],
    *,
    limit: int,
    partition: str | None,
    as_json: bool,
) -> None:
    """Load a few rows of the selected assets into a scratch database, and show them.

    Neither a destination nor a cursor is touched.

    Raises:
        SelectionError: None of the assets comes from a load, or the partition is not one.
        RunError: A source failed.
    """
    samples = [
        sample
        for wanted in _wanted(project, keys, partition)
        for sample in _samples_of(project, wanted, limit)
    ]
    if as_json:
        show_json({"sample": True, "limit": limit, "tables": [asdict(one) for one in samples]})
        return
    for sample in samples:
        if sample.first:
            rows = [list(row.values()) for row in sample.first]
            show_table(list(sample.first[0]), rows, title=sample.table)
    show_table(
        ["load", "resource", "table", "#rows"],
        [[one.load, one.resource, one.table, one.rows] for one in samples],
    )
    total = sum(sample.rows for sample in samples)
    click.echo(
        f"A sample: {counted(len(samples), 'table')}, {counted(total, 'row')}, in a scratch "
        "database that is gone. No destination and no cursor was touched."
    )


@dataclass(kw_only=True)
class _Wanted:
    """A load of which some resources are wanted, for one partition."""

    load: LoadDefinition
    partition: str | None
    window: Window | None
    resources: dict[str, None] = field(default_factory=dict)


def _wanted(
    project: Project, keys: Sequence["dg.AssetKey"], partition: str | None
) -> list[_Wanted]:
    if partition and RANGE_MARK in partition:
        raise SelectionError(
            f"--partition {partition}: a sample is of one partition. Name one, such as "
            f"--partition {partition.partition(RANGE_MARK)[0]}."
        )
    graph = project.definitions.resolve_asset_graph()
    found: dict[str, _Wanted] = {}
    for key in keys:
        name = key.to_user_string()
        asset = project.assets.get(name)
        if asset is None:
            click.echo(f"{name}: left out, for no load brings it.", err=True)
            continue
        if asset.load.name not in found:
            chosen, window = choose_of(graph.get(key).partitions_def, partition, name)
            found[asset.load.name] = _Wanted(load=asset.load, partition=chosen, window=window)
        found[asset.load.name].resources[asset.resource] = None
    if not found:
        raise SelectionError("--limit: none of the selected assets comes from a load of loadsmith.")
    return list(found.values())


def _samples_of(project: Project, wanted: _Wanted, limit: int) -> list[TableSample]:
    with (
        make_console(stderr=True).status(f"Looking at {wanted.load.name} ..."),
        scratch_load_of(
            wanted.load,
            project.resource_params(),
            rows=limit,
            key=wanted.partition,
            window=wanted.window,
            run_id="sample",
            resources=tuple(wanted.resources),
        ) as scratch,
    ):
        result, _ = scratch.run("sample")
        return [
            _sample_of(wanted.load.name, table, scratch.database)
            for table in result.tables
            if table.columns
        ]


def _sample_of(load: str, table: Any, database: Any) -> TableSample:
    import duckdb

    from loadsmith.engine.results import columns_of_dlt, plain_rows, without

    with duckdb.connect(str(database), read_only=True) as connection:
        relation = connection.table(f'{DATASET}."{table.name}"')
        rows = plain_rows(table.name, relation.columns, relation.limit(_SHOWN_ROWS).fetchall())
        count = len(relation)
    return TableSample(
        load=load,
        resource=table.resource,
        table=table.name,
        rows=count,
        first=without(rows, columns_of_dlt(rows)).records(),
    )
