"""`loadsmith schema`: write the tables that a source yields to its schema file."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from loadsmith.cli.completion import complete_key
from loadsmith.cli.output import (
    EXIT_PROBLEM,
    ProjectCommand,
    is_debug,
    make_console,
    show_error,
    show_json,
    show_table,
    show_text,
)
from loadsmith.cli.schema_loads import find_schema_loads
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, LoadResult, SchemaChange

_HELP = """\
Write or update the schema file of a dlt asset, and show what changes.

The source is run for about --limit rows of each resource into a scratch DuckDB that is thrown
away. Tables and columns that only the file has are kept, for a few rows do not show all of them;
--prune drops those of the assets that are asked for. ASSET_KEY may be a pattern; PATH is the folder
of the project's files.

With --check nothing is written, and the exit code is 1 where the file would change.

In a project of Dagster's dg, the loads with a `schema_file_path` are meant. --all also asks the
sources of the other components for their tables, as `dg utils refresh-defs-state` does.

\b
Examples:
  loadsmith schema github/api/pull_requests
  loadsmith schema --all --check
"""


@dataclass(frozen=True)
class FileChanges:
    """The changes of a schema file; `is_new` if it did not exist."""

    file: str
    is_new: bool
    changes: tuple[SchemaChange, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether the file stays as it is."""
        return not self.is_new and not self.changes


@click.command(
    "schema",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Write or update the schema file of an asset.",
)
@click.argument("asset_key", required=False, shell_complete=complete_key)
@click.argument("path", required=False)
@click.option("--all", "all_assets", is_flag=True, help="All dlt assets of the project.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file would change.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Rows of each resource to look at.",
)
@click.option("-p", "--partition", metavar="KEY", help="Partition to look at; else the latest.")
@click.option(
    "--prune", is_flag=True, help="Drop tables and columns of these assets that did not come."
)
@click.option("--json", "as_json", is_flag=True, help="Write the changes as JSON.")
@click.pass_context
def schema_command(
    ctx: click.Context,
    asset_key: str | None,
    path: str | None,
    all_assets: bool,
    check: bool,
    limit: int,
    partition: str | None,
    prune: bool,
    as_json: bool,
) -> None:
    """Write or update schema files."""
    if all_assets and asset_key and path is None:
        # The one argument beside --all is the folder.
        asset_key, path = None, asset_key
    if all_assets == bool(asset_key):
        raise click.UsageError("name one ASSET_KEY (or a pattern), or give --all.")
    loads, base, is_changed = find_schema_loads(path, asset_key, check=check, as_json=as_json)
    changes: dict[str, FileChanges] = {}
    console = make_console(stderr=True)
    failed: list[LoadsmithError] = []
    with tempfile.TemporaryDirectory(prefix="loadsmith-check-") as folder:
        for load in loads:
            try:
                with (
                    console.status(f"Looking at {load.definition.name} ..."),
                    load.open(rows=limit, partition=partition, run_id="schema") as scratch,
                ):
                    result, schema = scratch.run("schema")
                    changed = _update(
                        load.definition, schema, base, Path(folder) if check else None, prune
                    )
            except LoadsmithError as error:
                # The others are looked at all the same.
                if len(loads) == 1 or is_debug(ctx):
                    raise
                failed.append(error)
                continue
            _tell_of_resources_without_rows(load.definition, result)
            before = changes.get(changed.file)
            changes[changed.file] = (
                FileChanges(
                    changed.file,
                    before.is_new,
                    tuple(dict.fromkeys(before.changes + changed.changes)),
                )
                if before
                else changed
            )
    if as_json:
        show_json([{**asdict(entry), "check": check} for entry in changes.values()])
    else:
        for entry in changes.values():
            _show(entry, check)
    for failure in failed:
        show_error(failure)
    is_changed = is_changed or not all(entry.is_empty for entry in changes.values())
    if failed or (check and is_changed):
        ctx.exit(EXIT_PROBLEM)


def _tell_of_resources_without_rows(load: LoadDefinition, result: LoadResult) -> None:
    """Name the resources whose columns the sample does not show."""
    arrived = {table.resource for table in result.tables if table.rows_loaded}
    selection = load.resources.include if load.resources.is_plain else ()
    names = dict.fromkeys(
        (*selection, *(table.resource for table in result.tables), *result.empty_resources)
    )
    without = [name for name in names if name not in arrived]
    if without:
        show_text(
            f"Warning: {load.name}: no row of {', '.join(without)} came in the sample, so the file"
            " may lack columns of theirs."
        )


def _update(
    load: LoadDefinition, schema: Any, base: Path, scratch: Path | None, prune: bool
) -> FileChanges:
    """Update the schema file, or a copy of it in `scratch` if there is such a folder."""
    from loadsmith.engine.schema_files import update_schema_file

    assert load.schema_file_path is not None
    path = Path(load.schema_file_path)
    is_new = not path.exists()
    target = path
    if scratch is not None:
        target = scratch / path.name
        if not is_new:
            shutil.copyfile(path, target)
    changes = update_schema_file(
        schema, str(target), prunes=lambda resource: prune and load.resources.matches(resource)
    )
    return FileChanges(_shown(path, base), is_new, tuple(changes))


def _shown(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def _show(entry: FileChanges, check: bool) -> None:
    if entry.is_empty:
        click.echo(f"{entry.file}: up to date")
        return
    if entry.is_new:
        verb = "would be written" if check else "written"
    else:
        verb = "would change" if check else "updated"
    click.echo(f"{entry.file}: {verb}")
    show_table(["table", "change", "column", "before", "after"], _rows(entry.changes))


def _rows(changes: Sequence[SchemaChange]) -> list[list[Any]]:
    return [
        [change.table, change.kind, change.column, change.before, change.after]
        for change in changes
    ]
