"""`loadsmith clean`: remove what loads have left in their working directories."""

from dataclasses import asdict

import click

from loadsmith.cli.output import ProjectCommand, counted, show_json
from loadsmith.cli.projects import open_project

_HELP = """\
Remove packages that were loaded long ago and locks that nobody holds, and say what was removed.

A load keeps the three newest packages itself; this is for what earlier versions and plain dlt have
left. What was extracted and is not loaded yet stays. PATH is the folder of the project's files, or
of a project of Dagster's dg.

\b
Examples:
  loadsmith clean
  loadsmith clean --json
"""


@click.command(
    "clean",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Remove what loads left in working directories.",
)
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write what was removed as JSON.")
def clean_command(path: str | None, as_json: bool) -> None:
    """Clean the working directories of a project."""
    from loadsmith.engine.workspace import clean_directories

    project = open_project(path)
    definitions = [project.without_source(part) for part, _ in project.loads_of_ops]
    removed = clean_directories(definitions)
    if as_json:
        show_json([asdict(one) for one in removed])
        return
    for one in removed:
        click.echo(
            f"{one.folder}: {counted(one.packages, 'loaded package')}"
            f" ({one.bytes:,} bytes) and {counted(one.locks, 'lock file')} removed"
        )
