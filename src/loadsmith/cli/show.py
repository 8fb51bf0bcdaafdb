"""`loadsmith show`: show rows of a table as the destination has them."""

import csv
import io
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.completion import complete_key
from loadsmith.cli.output import (
    ProjectCommand,
    counted,
    make_console,
    show_json,
    show_table,
)
from loadsmith.cli.projects import looking_request, open_project

if TYPE_CHECKING:
    from loadsmith.engine.results import Rows

_HELP = """\
Show rows of the table of an asset, as its destination has them.

Nothing is written: a query that would do more than read is refused. Without --sql these are the
first rows that the destination gives, without the columns that dlt adds. A query of --sql runs in
the dataset of the asset, so that its tables need no dataset in front. Secrets are hidden in rows,
too. PATH is the folder of the project's files, or of a project of Dagster's dg.

\b
Examples:
  loadsmith show shop/orders
  loadsmith show shop/orders --sql "SELECT status, count(*) FROM orders GROUP BY 1"
"""


@click.command(
    "show",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Show rows of an asset, as the destination has them.",
)
@click.argument("asset_key", shell_complete=complete_key)
@click.argument("path", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="At most so many rows.",
)
@click.option(
    "-p", "--partition", metavar="KEY", help="Partition, where each has a dataset of its own."
)
@click.option("--sql", metavar="QUERY", help="Show the answer to a query instead.")
@click.option("--json", "as_json", is_flag=True, help="Write the rows as JSON, each a mapping.")
@click.option("--csv", "as_csv", is_flag=True, help="Write the rows as CSV, with a header.")
def show_command(
    asset_key: str,
    path: str | None,
    limit: int,
    partition: str | None,
    sql: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show rows."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two formats. Give one of them.")
    project = open_project(path)
    asset = project.asset(asset_key)
    from loadsmith.engine.workspace import fetch_rows

    with make_console(stderr=True).status(f"Looking at {asset_key} ..."):
        rows = fetch_rows(
            project.without_source(asset.load, partition),
            looking_request("show"),
            resource=asset.resource,
            table=asset.table,
            sql=sql,
            limit=limit,
        )
    if as_json:
        show_json(rows.records())
    elif as_csv:
        click.echo(_as_csv(rows), nl=False)
    else:
        show_rows(rows)


def show_rows(rows: "Rows") -> None:
    """Write rows as a table."""
    if rows.columns:
        show_table(
            [
                f"#{name}" if _is_number(rows, index) else name
                for index, name in enumerate(rows.columns)
            ],
            [[_shown(value) for value in row] for row in rows.rows],
        )
    more = "; there are more, see --limit" if rows.has_more else ""
    click.echo(f"{counted(len(rows.rows), 'row')}{more}")


def _is_number(rows: "Rows", index: int) -> bool:
    values = [row[index] for row in rows.rows if row[index] is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _shown(value: Any) -> Any:
    """Return a number as text, as the destination has it, without separators."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _as_csv(rows: "Rows") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(rows.rows)
    return text.getvalue()
