"""Describe the tables and columns of a dlt schema, and tell how two schemas differ."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from loadsmith.model import ColumnSnapshot, SchemaChange, TableSnapshot

#: Types of columns by table and column, each with its precision.
Types = Mapping[str, Mapping[str, str | None]]

#: dlt puts values that do not fit into the column `x` into another column, such as `x__v_text`.
_VARIANT = re.compile(r"(.+)__v_[a-z]+$")


def tables_by_resource(
    schema: Any, promised: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Return the names of the tables of each resource, root tables first.

    In dlt's schema a root table names its resource, and a nested table names its parent. Of
    resources that share a table, the schema names one.

    Args:
        schema: dlt's schema.
        promised: The root table that each resource loads into, by resource, where it is known.
    """
    sharing: dict[str, list[str]] = {}
    for resource, table in (promised or {}).items():
        sharing.setdefault(schema.naming.normalize_table_identifier(table), []).append(resource)
    tables = {table["name"]: table for table in schema.data_tables(include_incomplete=True)}
    owned: dict[str, list[str]] = {}
    for name in sorted(tables, key=lambda name: (bool(tables[name].get("parent")), name)):
        root = name
        while parent := tables.get(root, {}).get("parent"):
            root = parent
        own = tables.get(root, {}).get("resource") or root
        for resource in dict.fromkeys((own, *sharing.get(root, ()))):
            owned.setdefault(resource, []).append(name)
    return owned


def column_snapshot(name: str, hints: Mapping[str, Any]) -> ColumnSnapshot:
    """Return a column of a dlt schema as plain data."""
    return ColumnSnapshot(
        name=name,
        data_type=text_of(hints.get("data_type")),
        nullable=hints.get("nullable", True) is not False,
        primary_key=bool(hints.get("primary_key")),
        merge_key=bool(hints.get("merge_key")),
        unique=bool(hints.get("unique")),
        dlt_keys=tuple(key for key in ("row_key", "parent_key", "root_key") if hints.get(key)),
        precision=_number(hints.get("precision")),
        scale=_number(hints.get("scale")),
        description=text_of(hints.get("description")),
    )


def text_of(value: Any) -> str | None:
    """Return a text of a schema, or None for anything else."""
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def column_snapshots(table: Mapping[str, Any]) -> tuple[ColumnSnapshot, ...]:
    """Return the columns of a dlt table that dlt has seen a value for."""
    return tuple(
        column_snapshot(name, hints)
        for name, hints in table.get("columns", {}).items()
        if hints.get("data_type")
    )


def column_types(schema: Any) -> dict[str, dict[str, str | None]]:
    """Return the type of every column by table, from a live dlt schema."""
    return {
        table["name"]: {column.name: column.type_text for column in column_snapshots(table)}
        for table in schema.data_tables()
    }


def types_of(tables: Iterable[TableSnapshot]) -> dict[str, dict[str, str | None]]:
    """Return the type of every column by table; columns without a type are left out."""
    return {
        table.name: {column.name: column.type_text for column in table.columns if column.data_type}
        for table in tables
    }


def changes_between(before: Types, after: Types) -> list[SchemaChange]:
    """Return how the second schema differs from the first; a new table is one change."""
    changes = []
    for table, columns in after.items():
        known = before.get(table)
        if known is None:
            changes.append(SchemaChange(table=table, kind="new table"))
            continue
        changes += [
            column_change(table, name, known, columns)
            for name, kind in columns.items()
            if name not in known or known[name] != kind
        ]
        changes += [
            SchemaChange(table=table, kind="dropped column", column=name, before=kind)
            for name, kind in known.items()
            if name not in columns
        ]
    return changes + [
        SchemaChange(table=table, kind="dropped table") for table in before if table not in after
    ]


def without_variant(column: str) -> str:
    """Return the column that a column holds the values for that do not fit."""
    variant = _VARIANT.match(column)
    return variant[1] if variant else column


def column_change(
    table: str, column: str, before: Mapping[str, str | None], after: Mapping[str, str | None]
) -> SchemaChange:
    """Return the change that a new or changed column is.

    Args:
        table: The table.
        column: The column.
        before: Types of the columns that the table had; empty for a new table.
        after: Types of the columns that it has, at least of those that changed.
    """
    old, new, kind = before.get(column), after[column], "new column"
    variant = _VARIANT.match(column)
    if before and variant and variant[1] in {**before, **after}:
        old, kind = before.get(variant[1]), "new variant"
    elif old not in (None, new):
        kind = "changed type"
    return SchemaChange(table=table, kind=kind, column=column, before=old, after=new)
