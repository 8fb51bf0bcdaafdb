"""`loadsmith init --list`: show what a project or a load can start from."""

import click

from loadsmith.cli.output import show_table
from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES


def show_starters(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Show the layouts, sources and destinations, and end the command."""
    if not value:
        return
    rows = [
        *(("--layout", name, title, None) for name, title in LAYOUTS.items()),
        *(("--source", name, one.title, one.extra) for name, one in SOURCES.items()),
        *(("--destination", name, one.title, one.extra) for name, one in DESTINATIONS.items()),
    ]
    show_table(["option", "choice", "what it is", "extra to install"], rows)
    ctx.exit()
