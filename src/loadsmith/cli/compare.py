"""`loadsmith compare-dagster-dlt`: define a module with dagster-dlt and with loadsmith."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from loadsmith.cli.output import ProjectCommand, counted, show_json
from loadsmith.errors import ConfigError

Described = Mapping[str, Mapping[str, Any]]

_HELP = """\
Define a module of yours with dagster-dlt and with loadsmith, and show what differs.

The module stays as it is: it imports dagster_dlt, and the second time that name stands for
loadsmith. Each time a process of its own imports it. Nothing is loaded. Metadata that only
loadsmith has is not shown.

MODULE is a dotted name, or a file that ends in .py.

\b
Example:
  loadsmith compare-dagster-dlt shop.definitions
"""


@click.command(
    "compare-dagster-dlt",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Show what changes for a module that uses dagster-dlt.",
)
@click.argument("module")
@click.option("--json", "as_json", is_flag=True, help="Write the differences as JSON.")
def compare_dagster_dlt_command(module: str, as_json: bool) -> None:
    """Show what differs between the definitions of both libraries."""
    before, after = _defined(module), _defined(module, "--moved")
    differences = list(differences_of(before, after))
    if as_json:
        show_json(differences)
        return
    for found in differences:
        click.echo(f"{found['asset']}: {found['field']}")
        click.echo(f"  dagster-dlt  {found['before'] or 'none'}")
        click.echo(f"  loadsmith    {found['after'] or 'none'}")
    assets = counted(len({*before, *after}), "asset")
    count = counted(len(differences), "difference")
    click.echo(f"{assets}, {count if differences else 'no difference'}.", err=True)


def differences_of(before: Described, after: Described) -> Iterator[dict[str, Any]]:
    """Yield what differs by asset and field, without the metadata that only loadsmith has."""
    for asset in sorted({*before, *after}):
        old, new = before.get(asset), after.get(asset)
        if old is None or new is None:
            there = ["the asset", None]
            first, second = there if new is None else reversed(there)
            yield {"asset": asset, "field": "key", "before": first, "after": second}
            continue
        for field in dict.fromkeys((*old, *new)):
            is_new = field.startswith("metadata ") and field not in old
            if old.get(field) != new.get(field) and not is_new:
                yield {
                    "asset": asset,
                    "field": field,
                    "before": old.get(field),
                    "after": new.get(field),
                }


def _defined(module: str, *flags: str) -> Described:
    """Return what a module defines, from a process that imports it.

    Raises:
        ConfigError: It cannot be imported, or defines nothing.
    """
    with tempfile.TemporaryDirectory(prefix="loadsmith-compare-") as folder:
        file = Path(folder) / "defined.json"
        done = subprocess.run(  # noqa: S603 - this Python, and a module that the user names
            [sys.executable, "-m", "loadsmith.cli.defined", module, str(file), *flags],
            capture_output=True,
            text=True,
            check=False,
        )
        if not file.is_file():
            lines = done.stderr.strip().splitlines() or ["it ended without an error."]
            library = "loadsmith" if flags else "dagster-dlt"
            raise ConfigError(f"{module}, defined with {library}: {lines[-1]}")
        described: Described = json.loads(file.read_text(encoding="utf-8"))
        return described
