"""Metadata that an asset has before it is loaded."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from loadsmith.model import (
    ColumnSnapshot,
    TableSnapshot,
)

# Plain strings on purpose: they survive `key_prefix` and every other change of the assets, so a
# run finds the resource of an asset by name and never by translating a second time.
RESOURCE_KEY = "loadsmith/resource"


TABLE_KEY = "loadsmith/table"


LOAD_KEY = "loadsmith/load"


# What dlt adds to tables, for those who meet it in Dagster's page first.
_DLT_COLUMNS = {
    "_dlt_id": "dlt's own key of the row",
    "_dlt_load_id": "Load that brought the row, see `_dlt_loads`",
    "_dlt_list_idx": "Place of the item in its list",
    "_dlt_parent_id": "`_dlt_id` of the row that the list is in",
    "_dlt_root_id": "`_dlt_id` of the row at the top",
}


def spec_metadata(
    resource: str,
    table: TableSnapshot | None,
    *,
    nested: Iterable[TableSnapshot] = (),
    load: str | None = None,
    dataset_name: str | None = None,
    destination_name: str | None = None,
) -> dict[str, Any]:
    """Return what is known of a table before it is loaded.

    Args:
        resource: Name of the resource that the table comes from.
        table: The table, or None where nobody has seen it yet.
        nested: Tables without an asset of their own, whose columns are shown here.
        load: Name of the load.
        dataset_name: Dataset that it is loaded into, where known.
        destination_name: Destination, where known.
    """
    found: dict[str, Any] = {RESOURCE_KEY: resource}
    if load:
        found[LOAD_KEY] = load
    if destination_name:
        found["destination_name"] = destination_name
        found["dagster/storage_kind"] = destination_name
    if dataset_name:
        found["dataset_name"] = dataset_name
    if table is None:
        return found
    found[TABLE_KEY] = table.name
    found["dagster/table_name"] = f"{dataset_name}.{table.name}" if dataset_name else table.name
    if table.columns:
        found["dagster/column_schema"] = table_schema(table.columns)
    for other in nested:
        if other.columns:
            found[other.name] = table_schema(other.columns)
    return found


def table_schema(columns: Iterable[ColumnSnapshot]) -> dg.TableSchema:
    """Return columns as Dagster shows them: type, nullability, keys and description."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type_text or "unknown",
                description=column.description or _DLT_COLUMNS.get(column.name),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=column.unique,
                    other=[
                        name
                        for name, is_so in (
                            ("primary_key", column.primary_key),
                            ("merge_key", column.merge_key),
                        )
                        if is_so
                    ],
                ),
            )
            for column in columns
        ]
    )
