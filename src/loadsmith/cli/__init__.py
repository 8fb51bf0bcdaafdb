"""The command line: a module for each command of `loadsmith`.

Nothing here imports dlt or Dagster before a command needs it, so that help and completion are
fast.
"""

import os
import sys
import threading
import warnings
from importlib import import_module
from types import TracebackType

import click

from loadsmith import __version__
from loadsmith.cli.output import ABANDONED, EXIT_PROBLEM, show_traceback, show_unexpected

_COMMANDS = {
    "add": ("loadsmith.cli.add", "Add a load to a project, ready to run."),
    "check": ("loadsmith.cli.check", "Show every mistake in the files of a project."),
    "dev": ("loadsmith.cli.dev", "Start Dagster's page on a project."),
    "discover": (
        "loadsmith.cli.discover",
        "Show the tables, endpoints or files that a source has.",
    ),
    "info": ("loadsmith.cli.info", "Show where one is: versions, files, instance, last runs."),
    "compare-dagster-dlt": (
        "loadsmith.cli.compare",
        "Show what changes for a module that uses dagster-dlt.",
    ),
    "dbt-sources": (
        "loadsmith.cli.dbt_sources",
        "Write the tables of loads as sources of a dbt project.",
    ),
    "init": ("loadsmith.cli.init", "Make a new project that loads something right away."),
    "clean": ("loadsmith.cli.clean", "Remove what loads left in working directories."),
    "json-schema": ("loadsmith.cli.json_schema", "Write the JSON Schema that editors read."),
    "list": ("loadsmith.cli.list", "Show assets, tables, destinations and schedules."),
    "run": ("loadsmith.cli.run", "Materialize assets in this process."),
    "schema": ("loadsmith.cli.schema", "Write or update the schema file of an asset."),
    "show": ("loadsmith.cli.show", "Show rows of an asset, as the destination has them."),
    "state": ("loadsmith.cli.state", "Show the cursors of incremental loads, or forget one."),
}
"""Module and summary of each command; the module's function is the name with `_command`."""


class _LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(_COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_") + "_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from loadsmith.errors import did_you_mean

            ctx.fail(f"there is no command {args[0]!r}.{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


_HELP = """\
dlt loads as Dagster assets: one asset per table, safe to run twice.

\b
Example:
  loadsmith init shop --yes
  cd shop
  loadsmith run '*'
  loadsmith dev
"""


@click.group(
    cls=_LazyGroup,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all is well, 1 a problem or a failed load, 2 wrong usage, 130 stopped.",
)
@click.option("--debug", is_flag=True, help="Show Python's traceback with an error.")
@click.version_option(__version__, prog_name="loadsmith")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Run one of the commands."""
    ctx.ensure_object(dict)["debug"] = debug
    # Dagster warns about selections by group and about its own use of what is in preview, which
    # users of a command cannot change.
    warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")


def main() -> None:
    """Run the command line; an unexpected error is shown in one line, without a traceback."""
    debug = "--debug" in sys.argv[1:]

    def show(
        _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
    ) -> None:
        if debug:
            show_traceback(error)
        else:
            show_unexpected(error)

    # The interpreter ends with exit code 1 after this hook, which is EXIT_PROBLEM.
    assert EXIT_PROBLEM == 1
    sys.excepthook = show
    try:
        cli(prog_name="loadsmith")
    except SystemExit as ended:
        if any(thread.name == ABANDONED for thread in threading.enumerate()):
            # What it waits for may keep threads of its own, which Python would wait for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code if isinstance(ended.code, int) else EXIT_PROBLEM)
        raise
