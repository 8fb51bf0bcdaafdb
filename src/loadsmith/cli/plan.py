"""`loadsmith run --dry-run`: what a run would do, without doing it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.output import EXIT_PROBLEM, make_console, show_json, show_table
from loadsmith.cli.projects import LoadedAsset, Project, looking_request
from loadsmith.cli.selection import RANGE_MARK
from loadsmith.errors import LoadsmithError

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True, kw_only=True)
class PlannedAsset:
    """What a run would do to an asset.

    Attributes:
        does: What would be done, in words.
        start: The cursor that the load would go on from; None for its beginning, or no cursor.
        pending: Load ids of packages of an earlier run, which are completed first.
    """

    asset: str
    does: str
    load: str | None = None
    resource: str | None = None
    table: str | None = None
    destination: str | None = None
    partition: str | None = None
    start: str | None = None
    pending: tuple[str, ...] = ()


def show_plan(
    ctx: click.Context,
    project: Project,
    keys: Sequence["dg.AssetKey"],
    *,
    partition: str | None,
    full_refresh: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what a run would do to each asset; cursors are read from the destinations."""
    cursors: dict[tuple[str, str], Any] = {}
    pending: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    names = [key.to_user_string() for key in keys]
    if limit is None:
        loads = {
            project.assets[name].load.name: project.assets[name].load
            for name in names
            if name in project.assets
        }
        for load in loads.values():
            try:
                with make_console(stderr=True).status(f"Looking at {load.name} ..."):
                    own, waiting = _look(project, load, partition, full_refresh)
            except LoadsmithError as error:
                problems.append(str(error))
                continue
            pending[load.name] = waiting
            cursors.update({(load.name, cursor.resource): cursor for cursor in own})
    graph = project.definitions.resolve_asset_graph()
    planned = []
    for key, name in zip(keys, names, strict=True):
        node = graph.get(key)
        own_partition = partition if node.partitions_def else None
        asset = project.assets.get(name)
        if asset is None:
            does = "left out, for no load brings it" if limit else "run its task"
            planned.append(PlannedAsset(asset=name, does=does, partition=own_partition))
            continue
        cursor = cursors.get((asset.load.name, asset.resource))
        planned.append(
            PlannedAsset(
                asset=name,
                does=_does(full_refresh, limit),
                load=asset.load.name,
                resource=asset.resource,
                table=asset.table,
                destination=node.metadata.get("dagster/table_name") or _place(asset, node),
                partition=own_partition,
                start=f"{cursor.cursor_path} {cursor.last_value}" if cursor else None,
                pending=pending.get(asset.load.name, ()),
            )
        )
    if as_json:
        show_json({"assets": [asdict(one) for one in planned], "problems": problems})
    else:
        columns = ["asset", "would", "in", "partition", "goes on from", "completes first"]
        rows = [
            [one.asset, one.does, one.destination, one.partition, one.start, ", ".join(one.pending)]
            for one in planned
        ]
        kept = [n for n in range(len(columns)) if n < 2 or any(row[n] for row in rows)]
        show_table([columns[n] for n in kept], [[row[n] for n in kept] for row in rows])
        click.echo("Nothing was run.")
        for problem in problems:
            click.echo(problem, err=True)
    if problems:
        ctx.exit(EXIT_PROBLEM)


def _look(
    project: Project, load: Any, partition: str | None, full_refresh: bool
) -> tuple[Sequence[Any], tuple[str, ...]]:
    from loadsmith.engine.workspace import fetch_cursors, list_pending

    key = partition if partition and RANGE_MARK not in partition else None
    definition, request = project.without_source(load, key), looking_request("plan", key)
    waiting = list_pending(definition, request)
    return () if full_refresh else fetch_cursors(definition, request), waiting


def _does(full_refresh: bool, limit: int | None) -> str:
    if limit is not None:
        return f"load about {limit} rows into a scratch database"
    return "drop the table and its cursor, and load all" if full_refresh else "load"


def _place(asset: LoadedAsset, node: Any) -> str | None:
    dataset = node.metadata.get("dataset_name")
    name = asset.table or asset.resource
    return f"{dataset}.{name}" if dataset else node.metadata.get("destination_name")
