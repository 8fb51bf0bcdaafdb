"""`loadsmith check`: show every mistake in the files of a project with its place."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.locate import find_config_folder, find_dg_project
from loadsmith.cli.output import (
    EXIT_PROBLEM,
    ProjectCommand,
    counted,
    hide_secrets_of,
    is_debug,
    problems_as_data,
    show_json,
    show_table,
    show_text,
)
from loadsmith.cli.projects import open_project
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.errors import ConfigError, LoadsmithError, Problem

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Connection

_HELP = """\
Show every mistake in the files of a project, each as `file:line:column: what is wrong`.

Files, references between them, schema files, and the parameters of the destinations are looked
at; with --deep, the sources are imported, too. Nothing is connected to and nothing is written.
With --connect, sources and destinations are asked for an answer, too, each within --timeout: a
database is connected to, of any other source the first page of one resource is read.

PATH is the folder of the files; without it, ODP_CONFIG_PATH or ./odp_config.

In a project of Dagster's dg, these are the defs.yaml files: first they are read, which ends
whatever is in them, then their components are made as Dagster makes them.

The exit code is 1 where there is a mistake, or no answer.

\b
Example:
  loadsmith check
"""


@click.command(
    "check", cls=ProjectCommand, help=_HELP, short_help="Show every mistake in a project's files."
)
@click.argument("path", required=False)
@click.option("--deep", is_flag=True, help="Import the sources, too.")
@click.option(
    "--connect", "connects", is_flag=True, help="Ask sources and destinations for an answer, too."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer is waited for.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the mistakes as JSON.")
@click.pass_context
def check_command(
    ctx: click.Context, path: str | None, deep: bool, connects: bool, timeout: float, as_json: bool
) -> None:
    """Check the files of a project."""
    warnings: list[Problem] = []
    try:
        root = find_dg_project(path)
        if root is None:
            assets = check_project(find_config_folder(path), deep=deep, warn=warnings.append)
        else:
            from loadsmith.cli.dg_project import check_components

            assets = check_components(root, deep=deep, warn=warnings.append)
    except LoadsmithError as error:
        if not as_json or is_debug(ctx):
            raise
        show_json({"ok": False, "problems": problems_as_data(error)})
        ctx.exit(EXIT_PROBLEM)
    asked = _connections(path, timeout) if connects else []
    ok = all(connection.ok for connection in asked)
    if as_json:
        told = [asdict(warning) for warning in warnings]
        answer = {"ok": ok, "problems": [], "warnings": told, "assets": assets}
        if connects:
            answer["connections"] = [asdict(connection) for connection in asked]
        show_json(answer)
    else:
        for warning in warnings:
            show_text(f"warning: {warning}")
        click.echo(f"No mistakes: {counted(assets, 'asset')}.")
        if asked:
            show_connections(asked)
    if not ok:
        ctx.exit(EXIT_PROBLEM)


def _connections(path: str | None, timeout: float) -> "list[Connection]":
    from loadsmith.cli.connections import fetch_connections

    return fetch_connections(open_project(path), timeout)


def show_connections(asked: "Sequence[Connection]") -> None:
    """Write what sources and destinations have answered: a table, and what is wrong below it."""
    show_table(
        ["load", "side", "name", "answers", "#seconds", "secrets"],
        [[one.load, one.side, one.name, one.ok, one.seconds, one.secrets] for one in asked],
    )
    for one in asked:
        click.echo(f"{one.load}, {one.side} {one.name}: {one.message}", err=not one.ok)


def check_project(
    folder: str, *, deep: bool = False, warn: Callable[[Problem], None] = lambda _problem: None
) -> int:
    """Return the number of assets that a project has.

    Args:
        folder: The folder of the files.
        deep: Import the sources, too.
        warn: Takes what is no mistake and may surprise.

    Raises:
        ConfigError: Its files have mistakes; all of them are in it.
        ResolveError: A schema file, or what else they refer to, is not there.
    """
    from loadsmith.config.files import read_project
    from loadsmith.project import build_runnable

    definitions, skipped = build_runnable(folder)
    problems = [
        *dict.fromkeys(skipped.values()),
        *_problems_with_dlt(read_project(folder), skipped, warn, deep=deep),
    ]
    if problems:
        raise ConfigError(problems)
    return len(definitions.resolve_asset_graph().materializable_asset_keys)


def _problems_with_dlt(
    files: ProjectFiles, skipped: Container[str], warn: Callable[[Problem], None], *, deep: bool
) -> Iterator[Problem]:
    from loadsmith.engine.secrets import settings_files, unfilled
    from loadsmith.engine.snapshots import inspect_load
    from loadsmith.resolve import reload_problems, reload_warnings, resolve_asset

    seen: set[str] = set()
    settings: dict[str, None] = {}
    for located in files.dlt_assets:
        definition = resolve_asset(located, files)
        hide_secrets_of([definition])
        settings.update(dict.fromkeys(settings_files(definition.source)))
        reloads: list[str] = []
        if definition.partitions is not None:
            known = None
            if located.value.asset_key not in skipped and (deep or definition.schema_file_path):
                known = inspect_load(definition)
            for message in reload_warnings(definition, known):
                warn(located.problem(message, "params"))
            reloads += reload_problems(definition)
        for problem in (
            *(located.problem(message, "params") for message in reloads),
            *_problems_of(located, definition, deep=deep),
        ):
            # Assets that share their settings share the mistake, too.
            if problem.message not in seen:
                seen.add(problem.message)
                yield problem
    yield from unfilled(settings)


def _problems_of(located: Located[Any], definition: Any, *, deep: bool) -> Iterator[Problem]:
    from loadsmith.engine.destinations import check_destination

    for message in check_destination(definition.destination):
        yield located.problem(message, "params", "destination")
    if not deep:
        return
    from loadsmith.engine.sources import source_problems

    for argument, message in source_problems(definition.source):
        path = ("source_params", argument) if argument else ("source_module",)
        yield located.problem(message, "params", *path)
