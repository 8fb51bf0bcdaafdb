"""Tell which tables of a result each asset of the load stands for."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from loadsmith.assets.define import AssetTarget, key_part, nested_key, root_table_key
from loadsmith.assets.run.metadata import ResultIndex
from loadsmith.model import DiscardResult, TableResult


class AssetTables:
    """The tables of a result by asset.

    Attributes:
        totals: Rows in the destination by table; empty unless they were counted.
    """

    def __init__(
        self,
        index: ResultIndex,
        targets: Mapping[dg.AssetKey, AssetTarget],
        *,
        nested_are_assets: bool,
    ) -> None:
        self.totals: Mapping[str, int] = {}
        self._index = index
        self._targets = targets
        self._nested_are_assets = nested_are_assets
        self._keys: dict[str, dict[str | None, dg.AssetKey]] = {}
        for key, target in targets.items():
            self._keys.setdefault(target.resource, {})[target.table] = key

    def of(self, target: AssetTarget) -> list[TableResult]:
        """Return the tables that an asset stands for: one, or all root tables of a resource."""
        if target.table is None:
            of_resource = self._index.tables_of.get(target.resource, [])
            tables = [table for table in of_resource if table.parent is None]
        else:
            known = self._index.tables.get(target.table)
            # A table without columns in the destination has no rows either.
            tables = [known or TableResult(name=target.table, resource=target.resource)]
        if self.totals:
            tables = [replace(table, rows_total=self.totals.get(table.name)) for table in tables]
        return tables

    def nested_in(self, target: AssetTarget) -> list[TableResult]:
        """Return the tables below those of an asset that have no asset themselves."""
        nested = {
            table.name: table
            for root in self.of(target)
            if root.name in self._index.tables
            for table in self._index.family_of(root)[1:]
            if table.name not in self._keys[target.resource]
        }
        return list(nested.values())

    def shown_in(self, target: AssetTarget) -> list[TableResult]:
        """Return the nested tables whose columns and rows the asset shows."""
        return [] if self._nested_are_assets else self.nested_in(target)

    def discards_of(self, key: dg.AssetKey, target: AssetTarget) -> DiscardResult | None:
        """Return what the contract of a resource discarded of an asset's tables, if counted.

        The first asset of a resource also shows what was discarded of tables without an asset, such
        as a table that the contract did not let dlt create.
        """
        discards = self._index.discards_of.get(target.resource)
        if discards is None:
            return None
        keys = self._keys[target.resource]
        first = next(iter(keys.values()))
        rows = {
            table: count for table, count in discards.rows.items() if keys.get(table, first) == key
        }
        return replace(discards, rows=rows)

    def key_for(self, table: TableResult) -> dg.AssetKey:
        """Return the key that a table without an asset would have, from the nearest asset."""
        root, seen = table, {table.name}
        while root.parent in self._index.tables and root.parent not in seen:
            root = self._index.tables[root.parent]
            seen.add(root.name)
        keys = self._keys.get(table.resource, {})
        if root.name in keys:
            return nested_key(keys[root.name], root.name, table.name)
        if not keys:
            *prefix, _ = next(iter(self._targets)).path
            return dg.AssetKey([*prefix, key_part(table.name)])
        resource_key = keys.get(None) or next(iter(keys.values()))
        if None in keys and root is not table:
            return nested_key(resource_key, root.name, table.name)
        return root_table_key(resource_key, table.resource, table.name)


def renamed_targets(
    targets: Mapping[dg.AssetKey, AssetTarget], index: ResultIndex
) -> dict[dg.AssetKey, AssetTarget]:
    """Return what each asset stands for in a run that sends its resource to another table."""
    found = dict(targets)
    for resource, tables in index.tables_of.items():
        roots = [table.name for table in tables if table.parent is None]
        known = {key: target for key, target in targets.items() if target.resource == resource}
        names = [target.table for target in known.values() if target.table is not None]
        if len(roots) != 1 or not names or roots[0] in names:
            continue
        old = min(names, key=len)
        for key, target in known.items():
            if target.table is not None:
                name = roots[0] + target.table.removeprefix(old)
                found[key] = replace(target, table=name)
    return found
