"""`loadsmith state`: show the cursors of loads, or forget them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.completion import complete_key
from loadsmith.cli.output import ProjectCommand, counted, make_console, show_json, show_table
from loadsmith.cli.projects import Project, looking_request, open_project
from loadsmith.errors import SelectionError, did_you_mean
from loadsmith.model import LoadDefinition, RunRequest

if TYPE_CHECKING:
    from loadsmith.engine.workspace import StoredCursor

_HELP = """\
Show the cursors of incremental loads, or forget one so that it starts again.

\b
Examples:
  loadsmith state show shop/orders
  loadsmith state reset shop/orders --yes
"""

_SHOW_HELP = """\
Show where the cursors of a load are: path, values, and the package that took each there.

LOAD is the name of a load, an asset key, or a pattern of them; all loads where it is left out.
They are read from the destination's state, or from the working directory where the destination
keeps none. PATH is the folder of the project's files, or of a project of Dagster's dg.
Nothing is changed.

\b
Examples:
  loadsmith state show
  loadsmith state show shop/orders --json
"""

_RESET_HELP = """\
Forget the cursors of a load, so that its next run starts from their initial values.

LOAD is the name of a load, an asset key, or a pattern of them. Rows stay where they are: a resource
that appends loads again what it had loaded, unless its rows are removed first. A run of the load
that is under way is waited for. PATH is the folder of the project's files.

\b
Examples:
  loadsmith state reset shop/orders
  loadsmith state reset shop --resource orders --yes
"""

_DISCARD_HELP = """\
Drop what an earlier run has extracted and could not load, and say what is lost.

LOAD is the name of a load, an asset key, or a pattern of them; all resources of the load are meant.
Its cursors go back to where the package began, so that the next run extracts it again. A run of the
load that is under way is waited for. PATH is the folder of the project's files.

\b
Examples:
  loadsmith state discard shop/orders
  loadsmith state discard shop --yes
"""

_PARTITION_HELP = "Partition whose cursor is meant, where each keeps its own; else all of them."


@dataclass(frozen=True, kw_only=True)
class ChosenLoad:
    """A selected load, or the selected part of a load that runs as a separate op.

    Attributes:
        resources: The selected resources.
        partitions: The selected partitions that keep a cursor each; only None if none do.
    """

    definition: LoadDefinition
    resources: tuple[str, ...]
    partitions: tuple[str | None, ...]

    def requests(self) -> Iterator[RunRequest]:
        """Yield a request for each partition."""
        for partition in self.partitions:
            yield looking_request("state", partition)


@click.group(
    "state", help=_HELP, short_help="Show the cursors of incremental loads, or forget one."
)
def state_command() -> None:
    """Run one of the commands."""


@state_command.command(
    "show", cls=ProjectCommand, help=_SHOW_HELP, short_help="Show where the cursors of a load are."
)
@click.argument("load", required=False, shell_complete=complete_key)
@click.argument("path", required=False)
@click.option("-p", "--partition", metavar="KEY", help=_PARTITION_HELP)
@click.option("--json", "as_json", is_flag=True, help="Write the cursors as JSON.")
def show_state_command(
    load: str | None, path: str | None, partition: str | None, as_json: bool
) -> None:
    """Show cursors."""
    chosen = choose_cursors(open_project(path), load or "*", partition)
    cursors = _fetch(chosen)
    if as_json:
        show_json([asdict(cursor) for cursor in cursors])
    else:
        show_cursors(cursors)


@state_command.command(
    "reset",
    cls=ProjectCommand,
    help=_RESET_HELP,
    short_help="Forget cursors; the next run starts from their initial values.",
)
@click.argument("load", shell_complete=complete_key)
@click.argument("path", required=False)
@click.option("-r", "--resource", metavar="NAME", help="The only resource that is meant.")
@click.option("-p", "--partition", metavar="KEY", help=_PARTITION_HELP)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Write what was forgotten as JSON.")
def reset_state_command(
    load: str,
    path: str | None,
    resource: str | None,
    partition: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget cursors."""
    if as_json and not yes:
        raise click.UsageError("--json leaves no room for a question. Add --yes.")
    chosen = choose_cursors(open_project(path), load, partition, resource)
    if not yes:
        cursors = _fetch(chosen)
        show_cursors(cursors)
        if not cursors:
            return
        click.confirm(
            "Forget them? Rows stay; what a resource appends is loaded again. Reset",
            abort=True,
        )
    from loadsmith.engine.workspace import reset_cursors

    gone = [
        cursor
        for part in chosen
        for request in part.requests()
        for cursor in reset_cursors(part.definition, request, part.resources)
    ]
    if as_json:
        show_json([asdict(cursor) for cursor in gone])
    elif gone:
        click.echo(f"{counted(len(gone), 'cursor')} forgotten.")
    else:
        click.echo("No cursor is stored, so there is nothing to forget.")


@state_command.command(
    "discard",
    cls=ProjectCommand,
    help=_DISCARD_HELP,
    short_help="Drop what an earlier run has extracted and not loaded.",
)
@click.argument("load")
@click.argument("path", required=False)
@click.option("-p", "--partition", metavar="KEY", help=_PARTITION_HELP)
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard_command(load: str, path: str | None, partition: str | None, yes: bool) -> None:
    """Drop packages."""
    from loadsmith.engine.workspace import discard_pending

    def agree(contents: str) -> bool:
        click.echo(
            f"{contents}. The cursors go back to where that began: the next run extracts it"
            " again. Rows that the source no longer gives are lost."
        )
        return yes or click.confirm("Discard")

    chosen = choose_cursors(open_project(path), load, partition)
    gone = [
        contents
        for part in chosen
        for request in part.requests()
        if (contents := discard_pending(part.definition, request, agree)) is not None
    ]
    if gone:
        click.echo("Discarded.")
    else:
        click.echo("Nothing was discarded.")


def show_cursors(cursors: Sequence["StoredCursor"]) -> None:
    """Write cursors as a table."""
    if not cursors:
        click.echo(
            "No cursor is stored: no load has an incremental resource that ran without a window."
        )
        return
    columns = ["load", "resource", "cursor", "initial", "last value", "package", "moved at"]
    rows = [
        [
            cursor.load,
            cursor.resource,
            cursor.cursor_path,
            cursor.initial_value,
            cursor.last_value,
            cursor.load_id,
            cursor.moved_at,
        ]
        for cursor in cursors
    ]
    if any(cursor.partition for cursor in cursors):
        columns.insert(2, "partition")
        for row, cursor in zip(rows, cursors, strict=True):
            row.insert(2, cursor.partition)
    if any(cursor.kept_in != "destination" for cursor in cursors):
        columns.append("kept in")
        for row, cursor in zip(rows, cursors, strict=True):
            row.append(cursor.kept_in)
    show_table(columns, rows)


def choose_cursors(
    project: Project, pattern: str, partition: str | None, resource: str | None = None
) -> list[ChosenLoad]:
    """Return the selected loads, each as an op runs it.

    Raises:
        SelectionError: There is no such load, resource or partition.
    """
    known: set[str] = set()
    resources: set[str] = set()
    chosen: list[ChosenLoad] = []
    graph = project.definitions.resolve_asset_graph()
    for part, assets in project.loads_of_ops:
        names = {part.whole or part.name, part.name}
        known |= names | {asset.key for asset in assets}
        meant = dict.fromkeys(
            asset.resource
            for asset in assets
            if any(fnmatchcase(own_name, pattern) for own_name in (asset.key, *names))
        )
        resources |= set(meant)
        if resource is not None:
            meant = {name: None for name in meant if name == resource}
        if meant:
            partitions_def = graph.get(assets[0].asset_key).partitions_def
            chosen.append(
                ChosenLoad(
                    definition=project.without_source(part),
                    resources=tuple(meant),
                    partitions=_partitions(part.name, partitions_def, partition),
                )
            )
    if not resources:
        raise SelectionError(
            f"{pattern}: there is no such load or dlt asset.{did_you_mean(pattern, known)}"
        )
    if not chosen:
        raise SelectionError(
            f"--resource {resource}: {pattern} has no such resource."
            f"{did_you_mean(str(resource), resources)}"
        )
    return chosen


def _partitions(name: str, partitions_def: Any, wanted: str | None) -> tuple[str | None, ...]:
    import dagster as dg

    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        if wanted is None:
            raise SelectionError(f"{name}: its partitions are dynamic. Add --partition KEY.")
        return (wanted,)
    if not isinstance(partitions_def, dg.StaticPartitionsDefinition):
        if wanted is None:
            return (None,)
        why = "has no partitions" if partitions_def is None else "has windows, which keep no cursor"
        raise SelectionError(f"--partition {wanted}: {name} {why}. Leave it out.")
    keys = tuple(partitions_def.get_partition_keys())
    if wanted is None:
        return keys
    if wanted not in keys:
        raise SelectionError(
            f"--partition {wanted}: {name} has no such partition.{did_you_mean(wanted, keys)}"
        )
    return (wanted,)


def _fetch(chosen: Iterable[ChosenLoad]) -> list["StoredCursor"]:
    from loadsmith.engine.workspace import fetch_cursors

    console = make_console(stderr=True)
    cursors: list[StoredCursor] = []
    for part in chosen:
        for request in part.requests():
            with console.status(f"Looking at {part.definition.name} ..."):
                cursors.extend(fetch_cursors(part.definition, request, part.resources))
    return cursors
