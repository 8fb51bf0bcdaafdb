"""`loadsmith discover`: show what there is to load in a source."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click
import yaml

from loadsmith.cli.completion import complete_key
from loadsmith.cli.locate import is_in_project
from loadsmith.cli.output import (
    ABANDONED,
    ProjectCommand,
    counted,
    hide_secrets_of,
    make_console,
    show_json,
    show_table,
)
from loadsmith.cli.projects import Project, looking_request, open_project
from loadsmith.cli.sampling import choose_of
from loadsmith.errors import SelectionError, did_you_mean
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    SourceReference,
)

if TYPE_CHECKING:
    from loadsmith.engine.snapshots import Found

SOURCES = ("filesystem", "rest_api", "sql_database")

_HELP = """\
Show what there is to load: the tables of a database, the resources and endpoints of an API, the
files of a folder or bucket, or the resources of a source of your own.

WHAT is an asset key of the project, whose source is asked as it is set up there; or sql_database,
rest_api or filesystem, with its arguments as --param. Secrets are found as a load finds them, so
that none has to stand on the command line. Nothing is loaded and nothing is written. PATH is the
folder of the project's files, or of a project of Dagster's dg.

\b
Examples:
  loadsmith discover shop/orders
  loadsmith discover sql_database --param schema=public
  loadsmith discover filesystem --param bucket_url=data/in
"""


@click.command(
    "discover",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Show the tables, endpoints or files that a source has.",
)
@click.argument("what", shell_complete=complete_key)
@click.argument("path", required=False)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the source, the value in YAML; it wins over that of the files.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer is waited for.",
)
@click.option("--json", "as_json", is_flag=True, help="Write what is found as JSON.")
def discover_command(
    what: str, path: str | None, params: Sequence[str], timeout: float, as_json: bool
) -> None:
    """Show what a source has."""
    given = _read_params(params)
    if what in SOURCES:
        project = open_project(path) if is_in_project(path) else None
        load, request = _of_name(what, given, project), looking_request("discover")
    else:
        project = open_project(path)
        load, request = _of_asset(what, given, project)
    hide_secrets_of([load])
    from loadsmith.engine.workspace import discover_within

    with make_console(stderr=True).status(f"Asking {what} ..."):
        found = discover_within(load, request, timeout=timeout, thread_name=ABANDONED)
    loaded = _loaded(load, project)
    if as_json:
        show_json([{**asdict(one), "loaded": one.name in loaded} for one in found])
    else:
        _show(found, loaded)


def _read_params(params: Sequence[str]) -> dict[str, Any]:
    given = {}
    for text in params:
        name, mark, value = text.partition("=")
        if not mark:
            raise click.UsageError(f"--param {text}: write NAME=VALUE.")
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.UsageError(f"--param {name}: the value is no YAML.") from error
    return given


def _of_name(name: str, params: dict[str, Any], project: Project | None) -> LoadDefinition:
    files = [
        load.source.secrets_files
        for load in (project.loads if project else ())
        if isinstance(load.source, SourceReference)
    ]
    return LoadDefinition(
        name=name,
        source=SourceReference(module=name, params=params, secrets_files=files[0] if files else ()),
        pipeline=PipelineSettings(pipeline_name=name),
        destination=DestinationReference(name="duckdb"),
    )


def _of_asset(
    key: str, params: dict[str, Any], project: Project
) -> tuple[LoadDefinition, RunRequest]:
    import dagster as dg

    from loadsmith.resolve import render_definition, run_variables, used_variables

    if key not in project.assets and did_you_mean(key, SOURCES).startswith(" Did"):
        raise SelectionError(
            f"{key}: there is no such source or asset.{did_you_mean(key, SOURCES)}"
        )
    load = project.asset(key).load
    if isinstance(load.source, SourceReference):
        merged = {**load.source.params, **params}
        load = replace(load, source=replace(load.source, params=merged))
    elif params:
        raise SelectionError(f"--param: the source of {key} is made by Python, which has them.")
    node = project.definitions.resolve_asset_graph().get(dg.AssetKey.from_user_string(key))
    partition, window = choose_of(node.partitions_def, None, key)
    variables = run_variables(
        used_variables(load),
        run_id="discover",
        partition_key=partition,
        window=window,
        resources=project.resource_params(),
    )
    request = replace(looking_request("discover", partition), window=window)
    return render_definition(load, variables), request


def _loaded(load: LoadDefinition, project: Project | None) -> set[str]:
    """Return the names that loads of the project take from the same source module."""
    assets = project.assets.values() if project else ()
    return {
        asset.resource
        for asset in assets
        if asset.load.name == load.name or _module(asset.load) == _module(load) is not None
    }


def _module(load: LoadDefinition) -> str | None:
    return load.source.module if isinstance(load.source, SourceReference) else None


def _show(found: "Sequence[Found]", loaded: set[str]) -> None:
    columns = ["name", "kind", "loaded", "columns", "primary key", "cursor?", "more"]
    rows = [
        [
            one.name,
            one.kind,
            "yes" if one.name in loaded else None,
            _few(one.columns),
            one.primary_key,
            one.cursor,
            one.detail,
        ]
        for one in found
    ]
    kept = [n for n in range(len(columns)) if n < 2 or any(row[n] for row in rows)]
    show_table([columns[n] for n in kept], [[row[n] for n in kept] for row in rows])
    click.echo(f"{counted(len(found), 'thing')} to load.")


def _few(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 6} more" if len(columns) > 6 else ""
    return ", ".join(columns[:6]) + more
