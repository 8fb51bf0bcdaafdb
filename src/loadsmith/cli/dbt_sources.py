"""`loadsmith dbt-sources`: write the tables of loads as sources of a dbt project."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import yaml

from loadsmith.cli.output import EXIT_PROBLEM, ProjectCommand, counted, show_text
from loadsmith.cli.projects import LoadedAsset, open_project
from loadsmith.errors import ConfigError, SelectionError, did_you_mean

_HELP = """\
Write FILE, the `sources.yml` of a dbt project, from what is known of the tables of the loads.

Each dataset is a source, and each table of it one of its tables, with description and columns, the
age at which the load's freshness check fails, and the key of its asset, by which dagster-dbt hangs
a model from the very table that it reads. Schema files say which tables there are; nothing is
loaded, and no secret is needed. What else stands in FILE stays, such as tests, tags, other sources,
and a `schema` or `database` in Jinja. PATH is the folder of the project's files, or of a project of
Dagster's dg.

\b
Examples:
  loadsmith dbt-sources dbt/models/sources.yml
  loadsmith dbt-sources dbt/models/sources.yml --check
"""

_HEAD = (
    "# Written by `loadsmith dbt-sources`. Tests, tags and other sources may be added by hand.\n"
)

_DATASET = re.compile(r"[a-z0-9_]+")

#: Fields of a source, a table and a column that this command writes anew, or removes.
_OWN_FIELDS = ("description", "columns", "config")
_OWN_CONFIG = ("freshness", "loaded_at_query")


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table as dbt reads it.

    Attributes:
        source: Name of the source.
        dataset: The dataset, which dbt calls a schema.
        root: The table that it is nested in at the top; itself, if it is not nested.
        columns: Descriptions by name of the column; none where nobody has seen the columns.
        seconds: Age at which the freshness check of its asset fails.
    """

    key: str
    source: str
    dataset: str
    name: str
    root: str
    description: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    seconds: float | None = None


@click.command(
    "dbt-sources",
    cls=ProjectCommand,
    help=_HELP,
    short_help="Write the tables of loads as sources of a dbt project.",
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.argument("path", required=False)
@click.option(
    "--select", "patterns", multiple=True, metavar="PATTERN", help="Only assets with such keys."
)
@click.option("--database", metavar="NAME", help="The database of the sources, where dbt needs it.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if FILE would change.")
@click.pass_context
def dbt_sources_command(
    ctx: click.Context,
    file: str,
    path: str | None,
    patterns: Sequence[str],
    database: str | None,
    check: bool,
) -> None:
    """Write the sources."""
    tables, left_out = tables_of(path, patterns)
    for key, reason in left_out.items():
        show_text(f"{key}: left out. {reason}")
    target = Path(file)
    before = target.read_text("utf-8") if target.is_file() else ""
    document = _read(file, before)
    merged = merged_into(document, tables, database=database, drops=not patterns)
    text = _HEAD + yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=100)
    told = f"{counted(len(tables), 'table')} of {counted(len(merged['sources']), 'source')}"
    if text == before:
        click.echo(f"{file}: up to date, {told}")
        return
    if check:
        click.echo(f"{file}: would {'change' if before else 'be written'}, {told}")
        ctx.exit(EXIT_PROBLEM)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    click.echo(f"{file}: {'updated' if before else 'written'}, {told}")


def tables_of(
    path: str | None, patterns: Sequence[str] = ()
) -> tuple[list[SourceTable], dict[str, str]]:
    """Return the tables that dbt can read, and why others are left out, by asset key.

    Raises:
        SelectionError: No asset has such a key.
    """
    project = open_project(path)
    chosen = {
        key: asset
        for key, asset in project.assets.items()
        if not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)
    }
    if not chosen:
        wanted = ", ".join(patterns) or "the project"
        near = did_you_mean(patterns[0], project.assets) if patterns else ""
        raise SelectionError(f"{wanted}: no load of loadsmith brings such an asset.{near}")
    graph = project.definitions.resolve_asset_graph()
    nodes = {node.key.to_user_string(): node for node in graph.asset_nodes}
    left_out: dict[str, str] = {}
    found: list[SourceTable] = []
    places: dict[str, set[str]] = {}
    for key, asset in chosen.items():
        made = _source_table(asset, nodes[key], nodes)
        if isinstance(made, str):
            left_out[key] = made
            continue
        destination = str(nodes[key].metadata.get("destination_name"))
        places.setdefault(made.dataset, set()).add(destination)
        found.append(replace(made, source=f"{made.dataset}_{destination}"))
    # The name of the dataset is enough, unless two destinations have one of that name.
    found = [
        table if len(places[table.dataset]) > 1 else replace(table, source=table.dataset)
        for table in found
    ]
    return found, left_out


def _source_table(asset: LoadedAsset, node: Any, nodes: Mapping[str, Any]) -> SourceTable | str:
    """Return a table, or the reason why dbt cannot read it."""
    from loadsmith.engine.snapshots import default_table_name

    metadata = node.metadata
    name = asset.table or str(metadata.get("dagster/table_name") or "").rpartition(".")[2]
    dataset = str(metadata.get("dataset_name") or "")
    if metadata.get("destination_name") == "filesystem":
        return "Its tables are files, which a source of dbt has no name for."
    if not name or not dataset:
        return (
            "Its table is not known. Write a schema file with `loadsmith schema`, or run it once."
        )
    if "{{" in dataset:
        return f"Its dataset is known in a run only: {dataset}."
    schema = metadata.get("dagster/column_schema")
    return SourceTable(
        key=asset.key,
        source="",
        dataset=dataset if _DATASET.fullmatch(dataset) else default_table_name(dataset),
        name=name,
        root=_root_of(node, nodes) or name,
        description=node.description,
        columns={column.name: column.description for column in schema.columns} if schema else {},
        seconds=asset.load.attributes_of(asset.resource).freshness_lower_bound_delta_seconds,
    )


def _root_of(node: Any, nodes: Mapping[str, Any]) -> str | None:
    """Return the table at the top of those that a table is nested in."""
    resource = node.metadata.get("loadsmith/resource")
    for parent in node.parent_keys:
        upper = nodes.get(parent.to_user_string())
        table = upper.metadata.get("loadsmith/table") if upper else None
        is_nested = table and str(node.metadata.get("loadsmith/table")).startswith(f"{table}__")
        if upper is not None and is_nested and upper.metadata.get("loadsmith/resource") == resource:
            return _root_of(upper, nodes) or str(table)
    return None


def merged_into(
    document: Mapping[str, Any],
    tables: Iterable[SourceTable],
    *,
    database: str | None = None,
    drops: bool = True,
) -> dict[str, Any]:
    """Return the document of a `sources.yml` with tables in it.

    Args:
        document: The document that is there.
        tables: The tables.
        database: The database of their sources.
        drops: Whether a table with the key of an asset goes if it is not among `tables`.
    """
    by_source: dict[str, list[SourceTable]] = {}
    for table in tables:
        by_source.setdefault(table.source, []).append(table)
    before = {str(source.get("name")): source for source in document.get("sources") or ()}
    sources = [
        _source(before.get(name, {}), name, by_source.get(name, ()), database, drops)
        for name in {**dict.fromkeys(sorted(by_source)), **before}
    ]
    return {"version": 2, **document, "sources": [source for source in sources if source]}


def _source(
    before: Mapping[str, Any],
    name: str,
    tables: Sequence[SourceTable],
    database: str | None,
    drops: bool,
) -> dict[str, Any]:
    known = {str(table.get("name")): table for table in before.get("tables") or ()}
    own = {table.name for table in tables}
    kept = [
        table
        for other, table in known.items()
        if other not in own and not (drops and _asset_key(table))
    ]
    if not tables:
        # It is a source of somebody else's, or all its tables are gone.
        return {**before, "tables": kept} if kept or not known else {}
    schema = before.get("schema")
    schema = schema if _is_jinja(schema) else tables[0].dataset
    source: dict[str, Any] = {"name": name, **before, "schema": schema}
    if database is not None:
        source["database"] = database
    source["tables"] = [
        *(_table(known.get(table.name, {}), table, str(schema)) for table in tables),
        *kept,
    ]
    return source


def _table(before: Mapping[str, Any], table: SourceTable, schema: str) -> dict[str, Any]:
    config = {
        name: value
        for name, value in (before.get("config") or {}).items()
        if name not in _OWN_CONFIG
    }
    meta = dict(config.pop("meta", None) or {})
    dagster = {**(meta.pop("dagster", None) or {}), "asset_key": table.key.split("/")}
    config["meta"] = {**meta, "dagster": dagster}
    if table.seconds:
        config["freshness"] = {"warn_after": _period(table.seconds)}
        # The names are those of dlt's tables, and dbt is who asks.
        config["loaded_at_query"] = (
            f"select max(inserted_at) from {schema}._dlt_loads where load_id ="  # noqa: S608
            f" (select max(_dlt_load_id) from {schema}.{table.root})"
        )
    others = {name: value for name, value in before.items() if name not in _OWN_FIELDS}
    columns = {str(column.get("name")): column for column in before.get("columns") or ()}
    written: dict[str, Any] = {"name": table.name, **others}
    if table.description:
        written["description"] = table.description
    written["config"] = config
    if table.columns:
        written["columns"] = [
            _column(columns.get(name, {}), name, text) for name, text in table.columns.items()
        ]
    return written


def _column(before: Mapping[str, Any], name: str, description: str | None) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, **before}
    if description:
        column["description"] = description
    return column


def _period(seconds: float) -> dict[str, Any]:
    for period, size in (("day", 86400), ("hour", 3600)):
        if seconds % size == 0:
            return {"count": int(seconds // size), "period": period}
    return {"count": math.ceil(seconds / 60), "period": "minute"}


def _asset_key(table: Mapping[str, Any]) -> Any:
    config = table.get("config") or {}
    return ((config.get("meta") or {}).get("dagster") or {}).get("asset_key")


def _is_jinja(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def _read(file: str, text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text) or {}
        sources = document.get("sources") or ()
        is_one = all(isinstance(source, dict) for source in sources)
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file}: {_first_line(error)}. Mend it, or remove it.") from error
    if not is_one:
        raise ConfigError(f"{file}: `sources` is no list of sources. Mend it, or remove it.")
    return dict(document)


def _first_line(error: Exception) -> str:
    place = getattr(error, "problem_mark", None)
    return f"this is no YAML of dbt{f' (line {place.line + 1})' if place else ''}"
