"""`loadsmith init`: make a new project that loads something right away."""

import runpy
import shlex
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import click

from loadsmith.cli.new_project import first_commands, make_project
from loadsmith.cli.output import ProjectCommand, show_json
from loadsmith.cli.show_starters import show_starters
from loadsmith.cli.starters import DESTINATIONS, LAYOUTS, SOURCES
from loadsmith.errors import ConfigError

_HELP = """\
Make a new project in the folder NAME that loads something right away.

It asks for what it is not told; --yes takes the defaults instead. The project has a source with
something to load, a destination, a template for secrets (and a .gitignore that keeps them out), a
test of its own, and a folder in which Dagster keeps its runs. The commands from there to rows on
Dagster's page are written at the end.

--from-dlt looks at a folder that `dlt init` made, and writes the workflow file (or `defs.yaml`,
inside a project of Dagster's dg), the sections of the settings, and the packages. Nothing is
imported.

\b
Examples:
  loadsmith init shop
  loadsmith init shop --source rest_api --destination postgres --yes
  loadsmith init --from-dlt .
"""


@click.command(
    "init",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Make a new project that loads something right away.",
)
@click.argument("name", required=False)
@click.option(
    "--from-dlt",
    "from_dlt",
    metavar="FOLDER",
    help="Make a project of a folder that `dlt init` made, or a component inside a dg project.",
)
@click.option("--layout", type=click.Choice(list(LAYOUTS)), help="odp if left out.")
@click.option("--source", type=click.Choice(list(SOURCES)), help="python if left out.")
@click.option("--destination", type=click.Choice(list(DESTINATIONS)), help="duckdb if left out.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    callback=show_starters,
    help="Show the layouts, sources and destinations, and make nothing.",
)
@click.option(
    "--json", "as_json", is_flag=True, is_eager=True, help="Write it as JSON; ask nothing."
)
def init_command(
    name: str | None,
    from_dlt: str | None,
    layout: str | None,
    source: str | None,
    destination: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make a new project."""
    if name is not None and from_dlt is not None:
        raise click.UsageError("give the NAME of a new project, or --from-dlt FOLDER.")
    if from_dlt is not None:
        from loadsmith.cli.from_dlt import init_from_dlt

        init_from_dlt(Path(from_dlt))
        return
    yes = yes or as_json
    name = name or _ask_name(yes)
    folder = Path(name)
    _check_free(folder)
    layout = layout or _ask("layout", LAYOUTS, "odp", yes)
    source = source or _ask(
        "source", {key: starter.title for key, starter in SOURCES.items()}, "python", yes
    )
    destination = destination or _ask(
        "destination", {key: starter.title for key, starter in DESTINATIONS.items()}, "duckdb", yes
    )
    starters = SOURCES[source], DESTINATIONS[destination]
    files = make_project(folder.absolute().name, layout, *starters)
    _write_files(folder, files)
    for script in folder.glob("sample/make_*.py"):
        runpy.run_path(str(script))
    commands = [f"cd {shlex.quote(name)}", *first_commands(layout, *starters)]
    if as_json:
        show_json({"name": name, "files": sorted(files), "next": commands})
        return
    click.echo(f"Made {name} with {len(files)} files. Next:")
    for command in commands:
        click.echo(f"  {command}")
    if layout == "dg" and find_spec("dagster_dg_cli") is None:
        click.echo("Dagster's dg is not installed here. The line with pip installs it.")


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: there is something already. Choose another name, or an empty folder."
        )


def _ask_name(yes: bool) -> str:
    if yes or not sys.stdin.isatty():
        raise click.UsageError(
            "give the NAME of a new project, such as `loadsmith init shop --yes`, or --from-dlt "
            "FOLDER. Only in a terminal it is asked for."
        )
    name: str = click.prompt("Name of the new project, which is its folder", default="shop")
    return name


def _ask(what: str, choices: Mapping[str, str], default: str, yes: bool) -> str:
    if yes:
        return default
    for name, text in choices.items():
        click.echo(f"  {name:<13} {text}")
    try:
        answer: str = click.prompt(
            what.capitalize(), type=click.Choice(list(choices)), default=default
        )
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo()
        raise click.UsageError(
            f"the {what} is not given, and nobody answers. Add --{what}, or --yes for the defaults."
        ) from None
    return answer


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
