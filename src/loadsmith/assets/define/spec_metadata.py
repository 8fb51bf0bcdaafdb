"""Build the metadata that an asset has before it is loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from loadsmith.model import (
    ColumnSnapshot,
    Feeds,
    InputSnapshot,
    LoadDefinition,
    LoadSnapshot,
    TableSnapshot,
)

# Plain strings survive `key_prefix` and other changes of the assets. So a run can read the resource
# of an asset from its metadata, and needs no translator.
RESOURCE_KEY = "loadsmith/resource"


TABLE_KEY = "loadsmith/table"


LOAD_KEY = "loadsmith/load"


class LoadName(str):
    """The name of a load in the metadata of its specs: text for Dagster, which knows the load.

    Attributes:
        definition: The load.
        snapshot: What was known of it when the specs were built.
        translator: The translator of the specs.
    """

    __slots__ = ("definition", "snapshot", "translator")

    definition: LoadDefinition
    snapshot: LoadSnapshot
    translator: Any

    @staticmethod
    def of(definition: LoadDefinition, snapshot: LoadSnapshot, translator: Any) -> "LoadName":
        """Return the name of a load."""
        name = LoadName(definition.name)
        name.definition, name.snapshot, name.translator = definition, snapshot, translator
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        """Be plain text in a copy, and in another process."""
        return str, (str(self),)

    @property
    def may_have_cursor(self) -> bool:
        """Whether a resource has a cursor, or nobody has looked at the resources themselves."""
        is_known = self.snapshot.origin in ("live", "source")
        return not is_known or bool(Feeds.of_snapshots(self.snapshot.resources).cursors)


# Descriptions of the columns that dlt adds, for users who see them first in Dagster.
_DLT_COLUMNS = {
    "_dlt_id": "dlt's own key of the row",
    "_dlt_load_id": "Load that brought the row, see `_dlt_loads`",
    "_dlt_list_idx": "Place of the item in its list",
    "_dlt_parent_id": "`_dlt_id` of the row that the list is in",
    "_dlt_root_id": "`_dlt_id` of the row at the top",
}


def loads_in(metadata: Iterable[Mapping[str, Any]]) -> list[LoadName]:
    """Return the names of the different loads in the metadata of specs."""
    names = [found for one in metadata if isinstance(found := one.get(LOAD_KEY), LoadName)]
    return list({id(name): name for name in names}.values())


def spec_metadata(
    resource: str,
    table: TableSnapshot | None,
    *,
    nested: Iterable[TableSnapshot] = (),
    load: str | None = None,
    dataset_name: str | None = None,
    destination_name: str | None = None,
) -> dict[str, Any]:
    """Return the metadata of a table before it is loaded.

    Args:
        resource: Name of the resource that the table comes from.
        table: The table, or None if it is not known yet.
        nested: Nested tables without an asset, whose columns are shown here.
        load: Name of the load.
        dataset_name: The dataset, if known.
        destination_name: The destination, if known.
    """
    metadata: dict[str, Any] = {RESOURCE_KEY: resource}
    if load:
        metadata[LOAD_KEY] = load
    if destination_name:
        metadata["destination_name"] = destination_name
        metadata["dagster/storage_kind"] = destination_name
    if dataset_name:
        metadata["dataset_name"] = dataset_name
    if table is None:
        return metadata
    metadata[TABLE_KEY] = table.name
    metadata["dagster/table_name"] = f"{dataset_name}.{table.name}" if dataset_name else table.name
    if table.columns:
        metadata["dagster/column_schema"] = table_schema(table.columns)
    for other in nested:
        if other.columns:
            metadata[other.name] = table_schema(other.columns)
    return metadata


def inputs_table(inputs: Iterable[InputSnapshot]) -> Any:
    """Return what was read as Dagster shows a table."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {"kind": one.kind, "location": one.location or "", "read": ", ".join(one.names)}
            )
            for one in inputs
        ]
    )


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
                    ]
                    + list(column.dlt_keys),
                ),
            )
            for column in columns
        ]
    )
