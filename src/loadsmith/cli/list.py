"""`loadsmith list`: show what a project has, without running it."""

from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.output import ProjectCommand, counted, show_json, show_table
from loadsmith.cli.projects import Project, open_project

if TYPE_CHECKING:
    import dagster as dg

_HELP = """\
Show the assets of a project with their tables and destinations, and its schedules.

--settings shows the choices that are made for each load (file format, workers, file sizes) and
who made them. PATH is the folder of the project's files, or of a project of Dagster's dg; without
it, ODP_CONFIG_PATH or ./odp_config.

\b
Examples:
  loadsmith list
  loadsmith list --json
"""


@click.command(
    "list",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Show assets, tables, destinations and schedules.",
)
@click.argument("path", required=False)
@click.option("--settings", is_flag=True, help="Show how each load runs, and who chose that.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def list_command(path: str | None, settings: bool, as_json: bool) -> None:
    """Show what a project has."""
    project = open_project(path)
    if settings:
        _list_settings(project, as_json)
        return
    assets = describe_assets(project.definitions)
    schedules = describe_schedules(project.definitions)
    if as_json:
        show_json({"assets": assets, "schedules": schedules})
        return
    columns = ["asset", "table", "destination", "group", "partitions"]
    if not any(asset["partitions"] for asset in assets):
        columns.remove("partitions")
    show_table(columns, [[asset[column] for column in columns] for asset in assets])
    if schedules:
        show_table(
            ["schedule", "job", "cron", "timezone", "status"],
            [list(schedule.values()) for schedule in schedules],
        )
    click.echo(f"{counted(len(assets), 'asset')}, {counted(len(schedules), 'schedule')}")


def describe_assets(definitions: "dg.Definitions") -> list[dict[str, Any]]:
    """Return the assets that can be materialized as plain data, sorted by key."""
    graph = definitions.resolve_asset_graph()
    assets = []
    for key in sorted(graph.materializable_asset_keys, key=lambda key: key.to_user_string()):
        node = graph.get(key)
        metadata = node.metadata
        assets.append(
            {
                "asset": key.to_user_string(),
                "table": metadata.get("dagster/table_name"),
                "resource": metadata.get("loadsmith/resource"),
                "destination": metadata.get("destination_name"),
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "partitions": _describe_partitions(node.partitions_def),
                "depends_on": sorted(parent.to_user_string() for parent in node.parent_keys),
                "description": node.description,
            }
        )
    return assets


def _describe_partitions(partitions_def: Any) -> str | None:
    if partitions_def is None:
        return None
    # Dagster's own text is a sentence such as `Daily, starting 2024-01-01 UTC.`
    return str(partitions_def).rstrip(".")


def describe_schedules(definitions: "dg.Definitions") -> list[dict[str, Any]]:
    """Return the schedules as plain data, sorted by name."""
    return [
        {
            "schedule": schedule.name,
            "job": schedule.job_name,
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone or "UTC",
            "status": schedule.default_status.value.lower(),
        }
        for schedule in sorted(
            definitions.get_repository_def().schedule_defs, key=lambda schedule: schedule.name
        )
    ]


def _list_settings(project: Project, as_json: bool) -> None:
    from importlib.metadata import version

    from loadsmith.assets._dagster import differences
    from loadsmith.engine.settings import Setting, effective_settings

    of_dagster = [
        Setting(f"dagster {version('dagster')}", difference, "dagster")
        for difference in differences()
    ]
    rows = [
        {
            "load": load.whole or load.name,
            "setting": setting.name,
            "value": setting.value,
            "chosen by": setting.origin,
        }
        for load in project.loads
        for setting in (*effective_settings(load), *of_dagster)
    ]
    if as_json:
        show_json(rows)
    else:
        show_table(["load", "setting", "value", "chosen by"], [list(row.values()) for row in rows])
