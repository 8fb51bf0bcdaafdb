"""Read tables and columns from a live dlt schema."""

from collections.abc import Mapping
from typing import Any

from loadsmith.model import (
    ColumnSnapshot,
)


def tables_by_resource(schema: Any) -> dict[str, list[str]]:
    """Return the tables of each resource, root tables first, parents before their nested ones.

    Root tables say whose they are, nested ones who their parent is (dlt's schema).
    """
    owner: dict[str, str] = {}
    tables = {table["name"]: table for table in schema.data_tables(include_incomplete=True)}
    for name in tables:
        chain = []
        current = name
        while current not in owner and tables.get(current, {}).get("parent"):
            chain.append(current)
            current = tables[current]["parent"]
        if current not in owner:
            owner[current] = tables.get(current, {}).get("resource") or current
        for nested in chain:
            owner[nested] = owner[current]
    found: dict[str, list[str]] = {}
    for name in sorted(tables, key=lambda key: (bool(tables[key].get("parent")), key)):
        found.setdefault(owner[name], []).append(name)
    return found


def column_snapshots(table: Mapping[str, Any]) -> tuple[ColumnSnapshot, ...]:
    """Return the columns of a dlt table, the ones that dlt has seen a value for."""
    return tuple(
        ColumnSnapshot(
            name=column["name"],
            data_type=column.get("data_type"),
            nullable=column.get("nullable", True),
            primary_key=bool(column.get("primary_key")),
            merge_key=bool(column.get("merge_key")),
            unique=bool(column.get("unique")),
            precision=column.get("precision"),
            scale=column.get("scale"),
            description=column.get("description"),
        )
        for column in table.get("columns", {}).values()
        if column.get("data_type")
    )


def column_types(schema: Any) -> dict[str, dict[str, str]]:
    """Return the type of every column by table, to compare with after the run."""
    return {
        table["name"]: {
            column["name"]: column["data_type"]
            for column in table["columns"].values()
            if column.get("data_type")
        }
        for table in schema.data_tables()
    }
