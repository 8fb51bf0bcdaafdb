"""`loadsmith run`: materialize assets in this process and print the result."""

import os
import shlex
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from loadsmith.cli.completion import complete_key
from loadsmith.cli.home import open_instance
from loadsmith.cli.output import (
    EXIT_PROBLEM,
    EXIT_STOPPED,
    ProjectCommand,
    counted,
    is_debug,
    make_console,
    show_json,
    show_table,
    show_text,
)
from loadsmith.cli.projects import open_project
from loadsmith.errors import ConfigError

if TYPE_CHECKING:
    import dagster as dg

    from loadsmith.cli.projects import Project
    from loadsmith.cli.report import RunReport
    from loadsmith.errors import Problem
    from loadsmith.model import LoadDefinition


_HELP = """\
Materialize assets in this process and print the rows of each table.

ASSET_SELECTION is a key, a pattern, several of them with commas, or a selection as Dagster has
them (`group:raw`, `key:"a/b"+`). PATH is the folder of the project's files; without it,
ODP_CONFIG_PATH or ./odp_config.

--dry-run says what would happen; it reads cursors, and changes nothing. --limit N loads about N
rows of each resource into a scratch database that is thrown away, and shows them: neither the
destination nor a cursor is touched. --full-refresh drops the tables of the selected assets and
their cursors, and loads all anew, as `refresh: drop_resources` does.

The run is recorded in the Dagster instance of DAGSTER_HOME, or else of the project's folder
.dagster_home; without both, nothing is kept but the data. A load that was stopped is completed by
the next run.

\b
Examples:
  loadsmith run github/api/pull_requests
  loadsmith run 'github/*' --partition 2024-01-03
  loadsmith run shop/orders --limit 10
"""


@click.command(
    "run", cls=ProjectCommand, help=_HELP, short_help="Materialize assets in this process."
)
@click.argument("asset_selection", shell_complete=complete_key)
@click.argument("path", required=False)
@click.option(
    "-p",
    "--partition",
    metavar="KEY",
    help="Partition to load, or a range as FIRST...LAST.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Load about N rows of each resource into a scratch database, and show them.",
)
@click.option(
    "--full-refresh", is_flag=True, help="Drop the tables and the cursors, and load all anew."
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON; no progress.")
@click.pass_context
def run_command(
    ctx: click.Context,
    asset_selection: str,
    path: str | None,
    partition: str | None,
    limit: int | None,
    full_refresh: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Materialize what is selected."""
    if limit and full_refresh:
        raise click.UsageError(
            "--limit keeps away from the tables, and --full-refresh drops them. Give one of them."
        )
    with make_console(stderr=True).status("Reading the project ..."):
        project = open_project(path, skips=True)
        project.definitions.resolve_asset_graph()
    definitions = project.definitions
    left_out = _left_out(project, asset_selection)
    if limit or dry_run:
        from loadsmith.cli.plan import show_plan
        from loadsmith.cli.sample import run_sample
        from loadsmith.cli.selection import (
            partition_tags,
            refuse_part_of_partitions,
            select_assets,
        )

        keys = select_assets(definitions, [asset_selection])
        if limit and not dry_run:
            run_sample(project, keys, limit=limit, partition=partition, as_json=as_json)
            return
        if not limit:
            with open_instance(project.home) as instance:
                partition_tags(definitions, keys, partition, instance)
                if full_refresh:
                    refuse_part_of_partitions(definitions, keys, partition, instance)
        show_plan(
            ctx,
            project,
            keys,
            partition=partition,
            full_refresh=full_refresh,
            limit=limit,
            as_json=as_json,
        )
        return
    with open_instance(project.home) as instance:
        report = _materialize(
            ctx, definitions, asset_selection, partition, full_refresh, as_json, instance
        )
    if as_json:
        show_json(asdict(report))
    else:
        show_report(report)
        _show_where(project, report)
    for problem in left_out:
        show_text(f"Not loaded: {problem}")
    if not report.success or left_out:
        ctx.exit(EXIT_PROBLEM)


def _left_out(project: "Project", asset_selection: str) -> "list[Problem]":
    """Return the problems of assets that are selected and cannot run.

    Raises:
        ConfigError: None of those that are selected can run.
    """
    from fnmatch import fnmatchcase

    patterns = [part.strip() for part in asset_selection.split(",")]
    selected = {
        key: problem
        for key, problem in project.skipped.items()
        if any(fnmatchcase(key, pattern) for pattern in patterns)
    }
    problems = list(dict.fromkeys(selected.values()))
    known = project.definitions.resolve_asset_graph().materializable_asset_keys
    others = [
        key
        for key in known
        if any(fnmatchcase(key.to_user_string(), pattern) for pattern in patterns)
    ]
    if problems and not others:
        raise ConfigError(problems)
    return problems


def _materialize(
    ctx: click.Context,
    definitions: "dg.Definitions",
    asset_selection: str,
    partition: str | None,
    full_refresh: bool,
    as_json: bool,
    instance: "dg.DagsterInstance",
) -> "RunReport":
    from dagster import DagsterExecutionInterruptedError

    from loadsmith.cli.progress import show_progress
    from loadsmith.cli.report import build_report, was_stopped
    from loadsmith.cli.selection import partition_tags, select_assets

    keys = select_assets(definitions, [asset_selection])
    partition_key, tags = partition_tags(definitions, keys, partition, instance)
    if full_refresh:
        from loadsmith.cli.selection import refuse_part_of_partitions

        refuse_part_of_partitions(definitions, keys, partition, instance)
        tags = {**tags, "loadsmith/refresh": "drop_resources"}
    run_id = str(uuid.uuid4())
    started = time.monotonic()
    try:
        with show_progress(quiet=as_json) as progress:
            instance.add_event_listener(run_id, progress.listen)
            result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
                asset_selection=keys,
                partition_key=partition_key,
                tags=tags,
                instance=instance,
                run_id=run_id,
                run_config=_quiet_loggers(definitions),
                raise_on_error=is_debug(ctx),
            )
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        _end_stopped(ctx)
    if was_stopped(result):
        _end_stopped(ctx)
    logged = [] if progress.is_shown else progress.warnings
    return build_report(result, time.monotonic() - started, logged)


def _end_stopped(ctx: click.Context) -> NoReturn:
    click.echo(
        "Stopped. What had arrived is kept; the next run of the same assets goes on.", err=True
    )
    ctx.exit(EXIT_STOPPED)


def _quiet_loggers(definitions: "dg.Definitions") -> dict[str, Any]:
    """Return run configuration that leaves the terminal to the progress of this command."""
    if definitions.loggers:
        return {}
    return {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def show_report(report: "RunReport") -> None:
    """Write what a run did as a table, and what is to be done about failures."""
    from loadsmith.cli.report import lines_by_range

    lines = lines_by_range(report.lines)
    if lines:
        with_partition = any(line.partition for line in lines)
        columns = ["asset", "#rows", "#seconds", "in"]
        if with_partition:
            columns.insert(1, "partition")
        rows = []
        for line in lines:
            name = line.asset if line.selected else f"{line.asset} (came along)"
            cells = [name, line.rows, line.seconds, line.destination]
            if with_partition:
                cells.insert(1, line.partition)
            rows.append(cells)
        show_table(columns, rows)
    assets = counted(len({line.asset for line in lines}), "asset")
    click.echo(
        f"{assets}, {counted(report.rows, 'row')}, {report.seconds:.1f} seconds"
        if report.success
        else f"Failed after {report.seconds:.1f} seconds; loaded: {assets}."
    )
    for text in report.warnings:
        show_text(f"Warning: {text}")
    for text in (*report.errors, *report.failed_checks):
        show_text(text)


def _show_where(project: "Project", report: "RunReport") -> None:
    """Say where the rows are, and how to see them."""
    loaded = [
        project.assets[line.asset]
        for line in report.lines
        if line.destination and line.asset in project.assets
    ]
    if not loaded:
        return
    places = dict.fromkeys(_place(asset.load) for asset in loaded)
    click.echo(f"The rows are in {'; '.join(places)}.")
    click.echo(f"To see some: loadsmith show {shlex.quote(loaded[0].key)}")


def _place(load: "LoadDefinition") -> str:
    """Return the destination of a load and its dataset, and its file or folder on this machine."""
    params = load.destination.params if load.destination else {}
    found = next((params[name] for name in ("database", "bucket_url") if name in params), None)
    is_path = isinstance(found, str) and not any(mark in found for mark in (":", "{{", "@"))
    if is_path and load.destination and load.destination.base_path:
        found = os.path.relpath(Path(load.destination.base_path, str(found)))
    dataset = getattr(load.pipeline, "dataset_name", None)
    parts = (
        load.destination.name if load.destination else load.name,
        str(found) if is_path else None,
        f"dataset {dataset}" if dataset else None,
    )
    return ", ".join(part for part in parts if part)
