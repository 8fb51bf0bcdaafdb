"""Build the metadata of a materialization from a result, in time linear in the tables."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import dagster as dg

from loadsmith.assets.define import inputs_table, table_schema
from loadsmith.engine.results import Rows
from loadsmith.model import (
    CursorResult,
    DiscardResult,
    LoadResult,
    SchemaChange,
    TableResult,
)

#: Lines of the last schema change that later runs repeat; a new table can have a thousand columns.
REPEATED_CHANGES = 50

#: Columns of jobs that come first, with their types.
_JOB_COLUMNS = {
    "table_name": "string",
    "state": "string",
    "file_format": "string",
    "file_size": "int",
    "elapsed": "float",
    "retry_count": "int",
}

#: Formats of jobs that work on what other jobs have loaded.
_NO_DATA = ("reference", "sql")

#: Names of the seconds that a stage of a run takes.
_SECONDS = {
    "sync": "seconds_sync",
    "extract": "seconds_extract",
    "normalize": "seconds_normalize",
    "load": "seconds_load",
}

#: Characters of a value that a preview shows.
_LONGEST_VALUE = 100


class ResultIndex:
    """A result by table and by resource, so that nothing searches through all tables."""

    def __init__(self, result: LoadResult) -> None:
        self.result = result
        self.tables: dict[str, TableResult] = {table.name: table for table in result.tables}
        self.tables_of: dict[str, list[TableResult]] = _grouped(result.tables, "resource")
        self.changes_of: dict[str, list[SchemaChange]] = _grouped(result.schema_changes, "table")
        self.discards_of: dict[str, DiscardResult] = {
            discards.resource: discards for discards in result.discards
        }
        self.cursors_of: dict[str, list[CursorResult]] = _grouped(result.cursors, "resource")
        self._nested_in: dict[str, list[TableResult]] = _grouped(result.tables, "parent")
        self.jobs_of: dict[str, list[Any]] = defaultdict(list)
        for job in result.jobs:
            self.jobs_of[str(job.get("table_name"))].append(_plain(job))
        self.base = _load_metadata(result)

    def family_of(self, table: TableResult) -> list[TableResult]:
        """Return a table and the tables that are nested in it."""
        family = [table]
        for member in family:
            family.extend(self._nested_in.get(member.name, ()))
        return family

    def root_of(self, table: TableResult) -> str:
        """Return the name of the table that a table is nested in, at the top."""
        while table.parent in self.tables:
            table = self.tables[table.parent]
        return table.parent or table.name


def materialization_metadata(
    index: ResultIndex,
    resource: str,
    tables: Sequence[TableResult],
    *,
    nested: Sequence[TableResult] = (),
    partitions: str | None = None,
    partition_count: int = 0,
    last_schema_change: str | None = None,
    missing: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the metadata of what a run did to an asset.

    Args:
        index: The result.
        resource: Name of the resource of the asset.
        tables: Tables that the asset stands for: a single table, or all root tables of a resource
            that chooses a table per row.
        nested: Nested tables without an asset, whose columns are shown here.
        partitions: The partitions of the run as text.
        partition_count: Number of partitions. Dagster shows the same metadata at each, so rows of
            several partitions are marked as a total.
        last_schema_change: The last change of an earlier run, as Markdown. It is shown unless this
            run changed the schema.
        missing: Since when the source does not send columns, by table and column.
    """
    # Dagster shows metadata in this order. What people look for comes first, the jobs last.
    metadata: dict[str, Any] = dict(_rows(tables, partitions, partition_count))
    metadata.update(_replaced(tables))
    if len(tables) == 1:
        metadata.update(_place(tables[0]))
    elif tables:
        metadata["tables"] = [table.qualified_name or table.name for table in tables]
        metadata.update({table.name: table_schema(table.columns) for table in tables})
    for other in nested:
        if other.columns:
            metadata[other.name] = table_schema(other.columns)
    if nested:
        metadata["rows_loaded_nested"] = {
            other.name: other.rows_loaded for other in nested if other.rows_loaded is not None
        }
    if resource in index.result.empty_resources:
        metadata["empty"] = True
    changes = [
        change for table in (*tables, *nested) for change in index.changes_of.get(table.name, ())
    ]
    if changes:
        markdown = schema_changes_markdown(changes)
        metadata["schema_changes"] = dg.MetadataValue.md(markdown)
        last_schema_change = schema_change_of_a_load(
            markdown, _last_of(index.base["load_ids"]), index.base["finished_at"]
        )
    if missing:
        lines = ["| table | missing column | since |", "|---|---|---|"]
        lines += [
            f"| {_cell(table)} | {_cell(column)} | {_cell(since)} |"
            for table, columns in missing.items()
            for column, since in columns.items()
        ]
        metadata["missing_columns"] = dg.MetadataValue.md("\n".join(lines))
    if last_schema_change:
        metadata["last_schema_change"] = dg.MetadataValue.md(last_schema_change)
    discards = index.discards_of.get(resource)
    if discards and discards.rows:
        metadata["discarded"] = dict(discards.rows)
    metadata.update(_origin(index, resource))
    metadata.update(index.base)
    jobs = [job for table in tables for job in index.jobs_of.get(table.name, ())]
    sizes = [job["file_size"] or 0 for job in jobs if job["file_format"] not in _NO_DATA]
    if sizes:
        metadata["bytes_loaded"] = sum(sizes)
    metadata["jobs"] = jobs
    return metadata


def jobs_table(jobs: Any) -> Any:
    """Return jobs as Dagster shows a table; what a user made of them stays as it is."""
    if not isinstance(jobs, list) or not all(isinstance(job, Mapping) for job in jobs):
        return jobs
    names = dict.fromkeys((*_JOB_COLUMNS, *(name for job in jobs for name in job)))
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _scalar(job.get(name)) for name in names}) for job in jobs],
        schema=dg.TableSchema(
            [dg.TableColumn(name, _JOB_COLUMNS.get(name, "string")) for name in names]
        ),
    )


def schema_changes_markdown(changes: Iterable[SchemaChange]) -> str:
    """Return schema changes as a Markdown table."""
    lines = ["| table | change | column | before | after |", "|---|---|---|---|---|"]
    lines.extend(
        "| "
        + " | ".join(
            _cell(part)
            for part in (change.table, change.kind_text, change.column, change.before, change.after)
        )
        + " |"
        for change in changes
    )
    return "\n".join(lines)


def rows_markdown(tables: Sequence[Rows]) -> str:
    """Return rows of tables as Markdown; long values are cut."""
    parts = []
    for rows in tables:
        lines = [f"**{rows.table}**", ""] if len(tables) > 1 else []
        lines.append("| " + " | ".join(map(_cell, rows.columns)) + " |")
        lines.append("| " + " | ".join("---" for _ in rows.columns) + " |")
        lines += ["| " + " | ".join(map(_value, row)) + " |" for row in rows.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def schema_change_of_a_load(changes: str, load_id: Any, finished_at: Any) -> str:
    """Return a Markdown table of schema changes, shortened and with the load that made them."""
    lines = changes.splitlines()
    shown = REPEATED_CHANGES + 2  # The head of the table has two lines.
    text = "\n".join(
        [f"Load {load_id or 'unknown'}, {finished_at or 'time unknown'}", "", *lines[:shown]]
    )
    left = len(lines) - shown
    return text if left <= 0 else f"{text}\n\nand {left} more, in `schema_changes` of that load"


def read_last_schema_change(metadata: Mapping[str, Any]) -> str | None:
    """Return the last schema change in the metadata of an earlier materialization, as Markdown."""
    values = {
        name: metadata[name].value
        for name in ("last_schema_change", "schema_changes", "load_ids", "finished_at")
        if name in metadata
    }
    if "last_schema_change" in values:
        return str(values["last_schema_change"])
    if "schema_changes" not in values:
        return None
    return schema_change_of_a_load(
        str(values["schema_changes"]), _last_of(values.get("load_ids")), values.get("finished_at")
    )


def _load_metadata(result: LoadResult) -> dict[str, Any]:
    """Return the metadata that is the same for every table of a run."""
    metadata: dict[str, Any] = {
        "destination_name": result.destination_name,
        "destination_type": result.destination_type,
        "dagster/storage_kind": result.destination_name,
        "pipeline_name": result.pipeline_name,
        "first_run": result.first_run,
        "started_at": str(result.started_at),
        "finished_at": str(result.ended_at),
        "load_ids": list(result.load_ids),
    }
    if result.dataset_name:
        metadata["dataset_name"] = result.dataset_name
    metadata["seconds"] = round((result.ended_at - result.started_at).total_seconds(), 3)
    for stage in result.stages:
        if stage.name in _SECONDS:
            metadata[_SECONDS[stage.name]] = float(stage.seconds)
    if result.recovered_load_ids:
        metadata["recovered_load_ids"] = list(result.recovered_load_ids)
    if result.waits:
        metadata["waits"] = [
            {"lock": wait.lock, "seconds": round(wait.seconds, 3), "holder": wait.holder}
            for wait in result.waits
        ]
    return metadata


def _replaced(tables: Sequence[TableResult]) -> dict[str, int]:
    """Return how many rows the run has replaced, and how many the partitions had before."""
    found = {
        "rows_replaced": [table.rows_replaced for table in tables],
        "partition rows before": [table.rows_before for table in tables],
    }
    return {
        name: sum(count or 0 for count in counts)
        for name, counts in found.items()
        if any(count is not None for count in counts)
    }


def _rows(
    tables: Sequence[TableResult], partitions: str | None, partition_count: int
) -> dict[str, Any]:
    known = [table.rows_loaded for table in tables if table.rows_loaded is not None]
    if tables and not known:
        return {}
    rows = sum(known)
    metadata: dict[str, Any] = {"rows_loaded": dg.MetadataValue.int(rows)}
    if partition_count > 1:
        return {**metadata, "rows_loaded_in_all_partitions": rows, "partitions": partitions}
    if partition_count == 1:
        metadata["dagster/partition_row_count"] = rows
    return metadata


def _place(table: TableResult) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/table_name": table.qualified_name or table.name,
        "dagster/column_schema": table_schema(table.columns),
    }
    if table.destination_file_uri:
        metadata["destination_file_uri"] = table.destination_file_uri
    for name, hint in table.hints.items():
        value = hint if isinstance(hint, str) else dg.MetadataValue.json(_plain(hint))
        metadata[f"dagster-dlt/{name}"] = value
    if table.rows_total is not None:
        metadata["dagster/row_count"] = table.rows_total
    return metadata


def _origin(index: ResultIndex, resource: str) -> dict[str, Any]:
    """Return what a resource has read, and how far."""
    metadata: dict[str, Any] = {}
    inputs = index.result.inputs.get(resource)
    if inputs:
        metadata["inputs"] = inputs_table(inputs)
    cursors = [_cursor(cursor, index.result) for cursor in index.cursors_of.get(resource, ())]
    if cursors:
        metadata["cursor"] = cursors[0] if len(cursors) == 1 else cursors
    return metadata


def _cursor(cursor: CursorResult, result: LoadResult) -> dict[str, Any]:
    return {
        "path": cursor.cursor_path,
        "start": cursor.start_value,
        "end": cursor.end_value,
        "last_value": cursor.last_value,
        "load_id": _last_of(result.load_ids),
    }


def _last_of(load_ids: Sequence[str] | None) -> str | None:
    return load_ids[-1] if load_ids else None


def _cell(part: str | None) -> str:
    return (part or "").replace("|", "\\|").replace("\n", " ")


def _value(value: Any) -> str:
    """Return a value as a cell; what the table has is text on the page, and no markup."""
    text = json.dumps(value) if isinstance(value, Mapping | list) else str(value)
    text = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
    return "" if value is None else re.sub(r"([\\`*_\[\]<>&#|~])", r"\\\1", text).replace("\n", " ")


def _scalar(value: Any) -> str | int | float | bool | None:
    """Return a value as a cell of a table can hold it."""
    plain = _plain(value)
    return plain if plain is None or isinstance(plain, str | int | float) else json.dumps(plain)


def _plain(value: Any) -> Any:
    """Return data that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _grouped(items: Iterable[Any], attribute: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[getattr(item, attribute)].append(item)
    return groups
