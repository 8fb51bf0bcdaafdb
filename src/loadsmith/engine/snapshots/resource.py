"""Describe a live resource of a source as plain data."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from loadsmith.engine.schema_files import column_snapshot
from loadsmith.model import IncrementalSnapshot, ResourceSnapshot, TableSnapshot

if TYPE_CHECKING:
    from dlt.extract import DltResource, DltSource


def inspect_resource(
    resource: "DltResource", source: "DltSource", known: Iterable[TableSnapshot] = ()
) -> ResourceSnapshot:
    """Return the snapshot of a live resource.

    Args:
        resource: The resource.
        source: The source that it belongs to.
        known: Tables in the schema of the source.
    """
    from loadsmith.engine.dlt_hooks import description_of, feeding, incremental_of

    table = root_table_of(resource, source)
    tables = tuple(other for other in known if other.resource == resource.name)
    if table is not None and all(other.name != table.name for other in tables):
        tables = (table, *tables)
    chain = feeding(resource, source.resources)
    cursor = incremental_of(resource)
    disposition = resource.write_disposition
    if isinstance(disposition, Mapping):
        disposition = disposition.get("disposition")
    return ResourceSnapshot(
        name=resource.name,
        source_name=source.name,
        section=resource.section,
        table_name=table.name if table is not None else None,
        write_disposition=disposition if isinstance(disposition, str) else None,
        primary_key=table.primary_key if table is not None else (),
        description=description_of(resource),
        is_transformer=resource.is_transformer,
        upstream=chain[1].name if len(chain) > 1 else None,
        feeds=tuple(feed.name for feed in chain[1:]),
        cursors=tuple(feed.name for feed in chain if incremental_of(feed) is not None),
        selected=resource.selected,
        incremental=_incremental(cursor) if cursor is not None else None,
        tables=tables,
    )


def root_table_of(resource: "DltResource", source: "DltSource") -> TableSnapshot | None:
    """Return the table that the hints of a resource describe; None if its rows choose the table."""
    from dlt.extract.exceptions import DataItemRequiredForDynamicTableHints, DltResourceException

    if callable(resource.table_name):
        return None
    try:
        hints: Mapping[str, Any] = resource.compute_table_schema()
    except (DataItemRequiredForDynamicTableHints, DltResourceException):
        hints = {"name": resource.table_name or resource.name}
    naming = source.schema.naming
    disposition = hints.get("write_disposition")
    return TableSnapshot(
        name=naming.normalize_tables_path(str(hints["name"])),
        resource=resource.name,
        columns=tuple(
            column_snapshot(naming.normalize_path(name), column)
            for name, column in (hints.get("columns") or {}).items()
        ),
        description=hints.get("description"),
        write_disposition=disposition if isinstance(disposition, str) else None,
    )


def _incremental(cursor: Any) -> IncrementalSnapshot:
    initial = cursor.initial_value
    if initial is None:
        text = None
    else:
        text = initial.isoformat() if hasattr(initial, "isoformat") else str(initial)
    return IncrementalSnapshot(cursor_path=str(cursor.cursor_path), initial_value=text)
