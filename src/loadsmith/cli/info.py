"""`loadsmith info`: show where one is, and what is going on."""

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from loadsmith import __version__
from loadsmith.cli.home import HOME_FOLDER, HOME_VARIABLE, find_home, open_instance
from loadsmith.cli.locate import is_in_project
from loadsmith.cli.output import ProjectCommand, counted, show_json, show_table
from loadsmith.cli.projects import Project, looking_request, open_project
from loadsmith.errors import LoadsmithError
from loadsmith.model import LoadDefinition, PipelineSettings, SourceReference

#: What a question about a load or an environment is answered with.
_PACKAGES = (
    "dlt", "dagster", "dagster-webserver", "duckdb", "pyarrow", "sqlalchemy", "psycopg2-binary",
    "psycopg", "adbc-driver-postgresql", "connectorx", "pymysql", "google-cloud-bigquery",
    "snowflake-connector-python", "s3fs", "gcsfs", "adlfs",
)  # fmt: skip

_RUNS = 5

_HELP = """\
Show where one is: versions, the files of the project, Dagster's instance with its last runs, where
each load goes, and what an earlier run has left to be completed.

Nothing is connected to but Dagster's instance. Secrets are not shown, but where they are looked
for. PATH is the folder of the project's files, or of a project of Dagster's dg.

\b
Example:
  loadsmith info --json
"""


@dataclass(frozen=True, kw_only=True)
class LoadInfo:
    """A load: where it goes, and what waits.

    Attributes:
        place: Where the destination is, as far as the files say it.
        pending: Load ids of packages that the next run completes first.
        problem: Why something of this is not known.
    """

    load: str
    assets: int
    destination: str | None = None
    place: str | None = None
    dataset: str | None = None
    pipeline: str | None = None
    pending: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run as Dagster's instance has it; times are ISO text in UTC."""

    run_id: str
    status: str
    started: str | None
    seconds: float | None
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Info:
    """All that `loadsmith info` shows.

    Attributes:
        files: Files by what they are for, and whether each exists.
        instance: Folder of Dagster's instance; None where runs are not kept.
        problem: Why the project cannot be read.
    """

    versions: dict[str, str]
    layout: str | None = None
    root: str | None = None
    files: tuple[dict[str, Any], ...] = ()
    instance: str | None = None
    loads: tuple[LoadInfo, ...] = ()
    runs: tuple[RunInfo, ...] = ()
    problem: str | None = field(default=None)


@click.command(
    "info",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Show where one is: versions, files, instance, last runs.",
)
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def info_command(path: str | None, as_json: bool) -> None:
    """Show where one is."""
    found = read_info(path)
    if as_json:
        show_json(asdict(found))
    else:
        show_info(found)


def read_info(path: str | None) -> Info:
    """Return what there is to say of the environment, and of the project if there is one."""
    project: Project | None = None
    problem = None
    try:
        project = open_project(path) if is_in_project(path) else None
    except LoadsmithError as error:
        problem = str(error)
    home = find_home(project.base if project else Path())
    return Info(
        versions=_versions(),
        layout=None if project is None else "odp" if project.files else "dg",
        root=None if project is None else str(project.root.absolute()),
        files=tuple(_files_of(project)) if project else (),
        instance=str(home) if home else None,
        loads=tuple(_loads_of(project)) if project else (),
        runs=tuple(_last_runs(home)) if home else (),
        problem=problem,
    )


def show_info(info: Info) -> None:
    """Write it as tables."""
    show_table(["package", "version"], [list(item) for item in info.versions.items()])
    if info.problem:
        click.echo(f"The project cannot be read:\n{info.problem}\n", err=True)
    elif info.root is None:
        click.echo("There is no project here. Make one: loadsmith init NAME\n")
    else:
        what = "YAML files" if info.layout == "odp" else "a project of dg"
        show_table(
            ["file", "is there", "for"],
            [[file["path"], file["exists"], file["use"]] for file in info.files],
            title=f"Project: {info.root} ({what})",
        )
        _show_loads(info.loads)
    kept = info.instance or (
        f"none: {HOME_VARIABLE} is not set, and the project has no folder {HOME_FOLDER}, so no run"
        " is kept"
    )
    click.echo(f"Dagster's instance: {kept}")
    if info.runs:
        show_table(
            ["run", "status", "started", "#seconds", "assets"],
            [[r.run_id[:8], r.status, r.started, r.seconds, _few(r.assets)] for r in info.runs],
            title="Last runs",
        )
    elif info.instance:
        click.echo("It has no run yet.")


def _show_loads(loads: tuple[LoadInfo, ...]) -> None:
    show_table(
        ["load", "#assets", "destination", "place", "dataset", "pipeline"],
        [[o.load, o.assets, o.destination, o.place, o.dataset, o.pipeline] for o in loads],
        title="Loads",
    )
    waiting = [one for one in loads if one.pending]
    for one in waiting:
        click.echo(
            f"{one.load}: {counted(len(one.pending), 'package')} of an earlier run "
            f"{'waits' if len(one.pending) == 1 else 'wait'} ({', '.join(one.pending)}); the next "
            "run completes it first."
        )
    if not waiting:
        click.echo("Nothing is pending.")
    for one in loads:
        if one.problem:
            click.echo(f"{one.load}: {one.problem}", err=True)


def _versions() -> dict[str, str]:
    found = {"loadsmith": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _files_of(project: Project) -> Iterator[dict[str, Any]]:
    """Yield the files of a project, those of its loads once each."""
    found: dict[str, str] = {}
    if project.files:
        for name in ("dagster_config.yaml", "dagster_config.yml", "dagster_config.json"):
            if (project.root / name).exists():
                found[str(project.root / name)] = "resources"
        for path in sorted((project.root / "workflows").rglob("*")):
            if path.suffix in (".yaml", ".yml", ".json"):
                found[str(path)] = "loads, partitions, jobs"
    else:
        for path in sorted(project.root.rglob("defs.y*ml")):
            if ".venv" not in path.parts:
                found[str(path)] = "components"
    for load in project.loads:
        source = load.source
        for file in source.secrets_files if isinstance(source, SourceReference) else ():
            found.setdefault(file, "secrets")
        if load.schema_file_path:
            found.setdefault(load.schema_file_path, "tables")
    here = Path.cwd()
    for file, use in found.items():
        path = Path(file)
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        yield {"path": str(shown), "exists": path.exists(), "use": use}


def _loads_of(project: Project) -> Iterator[LoadInfo]:
    counts: dict[str, int] = {}
    for asset in project.assets.values():
        name = asset.load.whole or asset.load.name
        counts[name] = counts.get(name, 0) + 1
    for load in project.loads:
        name = load.whole or load.name
        try:
            yield _load_info(project, load, name, counts[name])
        except LoadsmithError as error:
            yield LoadInfo(load=name, assets=counts[name], problem=str(error))


def _load_info(project: Project, load: LoadDefinition, name: str, assets: int) -> LoadInfo:
    from loadsmith.engine.workspace import list_pending, look_at_parts

    definition = project.without_source(load)
    parts = look_at_parts(definition, looking_request("info"))
    settings = definition.pipeline
    return LoadInfo(
        load=name,
        assets=assets,
        destination=parts.destination,
        place=parts.place,
        dataset=parts.dataset,
        pipeline=settings.pipeline_name if isinstance(settings, PipelineSettings) else parts.name,
        pending=list_pending(definition, looking_request("info"), everywhere=True),
    )


def _last_runs(home: Path) -> Iterator[RunInfo]:
    with open_instance(home) as instance:
        for record in instance.get_run_records(limit=_RUNS):
            run, start, end = record.dagster_run, record.start_time, record.end_time
            yield RunInfo(
                run_id=run.run_id,
                status=run.status.value.lower(),
                started=_moment(start),
                seconds=round(end - start, 1) if start and end else None,
                assets=tuple(sorted(key.to_user_string() for key in run.asset_selection or ())),
            )


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
