"""Describe what a run loaded, from what dlt reports; nothing is changed."""

from collections.abc import Iterable, Mapping
from typing import Any

from loadsmith.engine.destinations import table_locations
from loadsmith.engine.schema_files import (
    Types,
    column_change,
    column_snapshots,
    column_types,
    tables_by_resource,
)
from loadsmith.model import (
    CursorResult,
    SchemaChange,
    TableResult,
)

#: Hints of tables that are shown.
_SHOWN_HINTS = ("write_disposition", "schema_contract", "resource", "table_format", "file_format")


def table_results(
    pipeline: Any,
    schema: Any,
    resources: Iterable[str],
    rows: Mapping[str, int | None],
    declared: frozenset[str] | None,
    client: Any = None,
    *,
    promised: Mapping[str, str] | None = None,
    places: Mapping[str, str] | None = None,
) -> tuple[TableResult, ...]:
    """Describe every table of `resources`, including those without rows.

    Args:
        pipeline: The pipeline that loaded.
        schema: dlt's schema after the run, or None if nothing was ever loaded.
        resources: Names of the resources that the run was about.
        rows: Rows by table; 0 for a table that is missing.
        declared: Tables that were known before the run, or None if that is not known.
        client: The client of the destination for `schema`, if the caller has it.
        promised: The root table that each resource will load into, by resource.
        places: The place of each table that was written; that of files is their folder.
    """
    owned = tables_by_resource(schema, promised) if schema is not None else {}
    names = [(resource, table) for resource in resources for table in owned.get(resource, ())]
    locations = table_locations(pipeline, schema, [table for _, table in names], client)
    results = []
    for resource, name in names:
        table = schema.tables[name]
        columns = column_snapshots(table)
        if not columns and not rows.get(name):
            continue
        location = locations[name]
        results.append(
            TableResult(
                name=name,
                resource=resource,
                parent=table.get("parent"),
                rows_loaded=rows.get(name, 0),
                columns=columns,
                description=table.get("description"),
                declared=declared is None or name in declared,
                destination_table_id=location.table_id,
                destination_file_uri=location.file_uri,
                qualified_name=location.qualified_name,
                place=(places or {}).get(name) or location.file_uri,
                hints={hint: table[hint] for hint in _SHOWN_HINTS if table.get(hint)},
            )
        )
    loaded = {table.resource for table in results}
    missing = {name: table for name, table in (promised or {}).items() if name not in loaded}
    locations = table_locations(pipeline, schema, missing.values(), client)
    # dlt creates a table with its first row. Until then it is reported under its future name.
    results.extend(
        TableResult(
            name=name,
            resource=resource,
            declared=declared is None or name in declared,
            destination_table_id=locations[name].table_id,
            destination_file_uri=locations[name].file_uri,
            qualified_name=locations[name].qualified_name,
        )
        for resource, name in missing.items()
    )
    return tuple(results)


def schema_changes(load_info: Any, before: Types) -> list[SchemaChange]:
    """Return what the packages of a load changed in the destination.

    Each column of a new table is a change of its own.

    Args:
        load_info: dlt's load info.
        before: Types of the columns by table before the run.
    """
    changes: list[SchemaChange] = []
    for package in load_info.load_packages if load_info else ():
        for name, table in package.schema_update.items():
            if name.startswith("_dlt_"):
                continue
            if name not in before:
                changes.append(SchemaChange(table=name, kind="new table"))
            columns = {column.name: column.type_text for column in column_snapshots(table)}
            changes += [
                column_change(name, column, before.get(name, {}), columns) for column in columns
            ]
    return list(dict.fromkeys(changes))


def known_types(pipeline: Any) -> Types:
    """Return the types of the columns of all tables that the pipeline knows."""
    types: dict[str, dict[str, str | None]] = {}
    for name in pipeline.schemas.list_schemas():
        types.update(column_types(pipeline.schemas[name]))
    return types


def cursor_results(
    state: Mapping[str, Any],
    source_name: str,
    resources: Iterable[str],
    before: Mapping[str, Mapping[str, Any]],
) -> tuple[CursorResult, ...]:
    """Return the cursors of `resources`, with their values as text.

    Args:
        state: dlt's pipeline state after the run.
        source_name: Name of the source in the state.
        resources: Names of resources.
        before: The cursors before the run, by resource and path.
    """
    stored = state.get("sources", {}).get(source_name, {}).get("resources", {})
    results = []
    for resource in resources:
        for path, cursor in stored.get(resource, {}).get("incremental", {}).items():
            start = before.get(resource, {}).get(path)
            results.append(
                CursorResult(
                    resource=resource,
                    cursor_path=path,
                    start_value=_text(start if start is not None else cursor.get("initial_value")),
                    end_value=None,
                    last_value=_text(cursor.get("last_value")),
                )
            )
    return tuple(results)


def cursors_in(state: Mapping[str, Any], source_name: str) -> dict[str, dict[str, Any]]:
    """Return the last value of each cursor by resource and path."""
    stored = state.get("sources", {}).get(source_name, {}).get("resources", {})
    return {
        resource: {
            path: cursor.get("last_value")
            for path, cursor in of_resource.get("incremental", {}).items()
        }
        for resource, of_resource in stored.items()
    }


def job_records(load_info: Any) -> tuple[dict[str, Any], ...]:
    """Return the finished jobs of all data tables as plain data."""
    records = []
    for package in load_info.load_packages if load_info else ():
        for state, jobs in package.jobs.items():
            for job in jobs:
                if job.job_file_info.table_name.startswith("_dlt_"):
                    continue
                records.append(
                    {
                        **job.asdict(),
                        "table_name": job.job_file_info.table_name,
                        "job_id": job.job_file_info.job_id(),
                        "file_format": job.job_file_info.file_format,
                        "state": state,
                        "file_size": job.file_size,
                        "load_id": package.load_id,
                    }
                )
    return tuple(records)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
