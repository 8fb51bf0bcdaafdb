"""`loadsmith init --list`: show what a project or a load can start from."""

import click

from loadsmith.cli.output import show_json, show_table
from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES


def show_starters(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Show the layouts, sources and destinations, and end the command.

    `--json` of the command is eager, so that it is known here.
    """
    if not value:
        return
    layouts = [(name, title, "dg" if name == "dg" else None) for name, title in LAYOUTS.items()]
    choices = {
        "layout": layouts,
        "source": [(name, one.title, one.extra) for name, one in SOURCES.items()],
        "destination": [(name, one.title, one.extra) for name, one in DESTINATIONS.items()],
    }
    if ctx.params.get("as_json"):
        show_json(
            {
                f"{option}s": [
                    {"name": name, "title": title, "extra": extra} for name, title, extra in rows
                ]
                for option, rows in choices.items()
            }
        )
    else:
        show_table(
            ["option", "choice", "what it is", "extra to install"],
            [(f"--{option}", *row) for option, rows in choices.items() for row in rows],
        )
    ctx.exit()
