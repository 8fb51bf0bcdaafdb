"""Report the result of a run to Dagster: selected assets, other assets, and unknown tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import dagster as dg

from loadsmith.assets.define import (
    AssetTarget,
    RunPartitions,
    settings_of,
)
from loadsmith.assets.run.checks import (
    KeyState,
    contract_kept_result,
    contract_violation_result,
    primary_key_result,
    row_count_result,
    schema_change_result,
)
from loadsmith.assets.run.lineage import column_lineage
from loadsmith.assets.run.metadata import (
    ResultIndex,
    jobs_table,
    materialization_metadata,
    read_last_schema_change,
    rows_markdown,
)
from loadsmith.assets.run.missing import (
    SEEN_COLUMNS,
    Columns,
    columns_after,
    missing_columns,
    newly_missing,
    read_seen_columns,
)
from loadsmith.assets.run.tables import AssetTables, renamed_targets
from loadsmith.engine.results import (
    fetch_key_counts,
    fetch_preview,
    fetch_row_counts,
    fetch_rows_by_window,
)
from loadsmith.errors import ContractBreach
from loadsmith.model import (
    LoadDefinition,
    LoadResult,
    TableResult,
)

LoadEvent: TypeAlias = "dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult"


@dataclass(kw_only=True)
class ResultEvents:
    """The events of a run.

    A table that was loaded without being selected has changed. So it is reported as materialized,
    with an event beside the outputs of the op. The same holds for a table without an asset.

    Attributes:
        targets: What each asset of the load stands for.
        selected: Keys of the selected assets, upstream assets first.
        fetches_row_counts: Whether to count the rows of each table in the destination.
        table_name: Table that this run sends its resource to, if it is not the resource's own.
        extract: Returns the metadata of an asset from the name of its resource and ours.
    """

    context: Any
    definition: LoadDefinition
    targets: Mapping[dg.AssetKey, AssetTarget]
    selected: Sequence[dg.AssetKey]
    partitions: RunPartitions
    fetches_row_counts: bool = False
    table_name: str | None = None
    extract: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _resource, metadata: metadata
    _partition_rows: dict[str, list[int]] = field(default_factory=dict)
    _last_changes: dict[dg.AssetKey, str] = field(default_factory=dict)
    _columns: dict[dg.AssetKey, dict[str, Columns]] = field(default_factory=dict)

    def with_missing(self, result: LoadResult) -> LoadResult:
        """Return the result with the columns that are missing, as changes of the schema."""
        index = ResultIndex(result)
        if self.table_name is not None:
            self.targets = renamed_targets(self.targets, index)
        tables = AssetTables(index, self.targets, nested_are_assets=self.definition.nested_tables)
        self._fetch_last_changes(index)
        failed = {failure.resource for failure in result.failures}
        changes = []
        for key, target in self.targets.items():
            if target.resource in failed:
                continue
            seen = self._columns.setdefault(key, {})
            for table in (*tables.of(target), *tables.shown_in(target)):
                before = seen.get(table.name)
                after = columns_after(before, table, result, self.partitions)
                changes += newly_missing(before, after, table)
                if after is not None:
                    seen[table.name] = after
        return replace(
            result, schema_changes=tuple(dict.fromkeys((*result.schema_changes, *changes)))
        )

    def events(self, result: LoadResult) -> Iterator[LoadEvent]:
        """Yield the events of the selected assets, and log those of the others."""
        index = ResultIndex(result)
        tables = AssetTables(index, self.targets, nested_are_assets=self.definition.nested_tables)
        tables.totals = self._fetch_totals(tables)
        self._fetch_partition_rows(index, tables)
        failed = {failure.resource for failure in result.failures}
        self._log_others(index, tables, failed)
        for failure in result.failures:
            if failure.breach is not None:
                resources = (failure.resource,)
                yield from self.broken_contract(failure.breach, failure.message, resources)
        for key in self.selected:
            target = self.targets[key]
            if target.resource in failed:
                continue
            metadata = self._metadata(key, index, target, tables)
            metadata |= self._preview(index, target, tables)
            if not self.context.has_assets_def:
                yield self._materialization(key, metadata)
                continue
            self._add_partition_rows(key, tables.of(target))
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=metadata,
                check_results=list(self._check_results(key, target, index, tables)),
            )

    def broken_contract(
        self, breach: ContractBreach, message: str, resources: Sequence[str]
    ) -> Iterator[LoadEvent]:
        """Yield the failed check of each asset whose contract a resource broke."""
        for key in self._meant_by(breach, resources):
            settings = settings_of(self.definition, self.targets[key].resource, "schema_contract")
            yield contract_violation_result(key, breach, message, settings)

    def _meant_by(self, breach: ContractBreach, resources: Sequence[str]) -> list[dg.AssetKey]:
        """Return the selected assets that are nearest to a broken contract; their check fails.

        A table that the contract does not let dlt create has no asset. The asset of its root table
        stands for it, or else those of its resource, or else all assets.
        """
        asked = [
            key
            for key, name in sorted(self._selected_checks)
            if name == "schema_contract" and key in self.targets
        ]
        roots = {name for name in (breach.root_table, breach.table) if name is not None}
        of_roots = {target.resource for target in self.targets.values() if target.table in roots}
        of_breach = of_roots or {*resources, *roots}
        for is_meant in (
            lambda target: target.table is not None and target.table == breach.table,
            lambda target: target.table is not None and target.table in roots,
            lambda target: target.resource in of_breach,
        ):
            nearest = [key for key in asked if is_meant(self.targets[key])]
            if nearest:
                return nearest
        return asked

    def _log_others(self, index: ResultIndex, tables: AssetTables, failed: set[str]) -> None:
        """Log a materialization of each table that was loaded without being selected."""
        reported: set[str] = set()
        selected = set(self.selected)
        for key, target in self.targets.items():
            if target.resource in failed or target.resource not in index.tables_of:
                continue
            shown = (*tables.of(target), *tables.shown_in(target))
            reported.update(table.name for table in shown)
            if key not in selected:
                metadata = self._metadata(key, index, target, tables)
                self._log(key, {**metadata, "loadsmith/came_along": True})
        undeclared = {
            table.name: tables.key_for(table)
            for table in index.tables.values()
            if table.name not in reported and table.resource not in failed
        }
        if not undeclared:
            return
        self.context.log.warning(
            "load '%s': no asset stands for %s. Rows are loaded, and reported as %s. To make "
            "assets of them, update the schema file of the load, or give it one "
            "(schema_file_path); dlt writes it where export_schema_path of the pipeline says.",
            self.definition.name,
            ", ".join(f"table '{name}'" for name in undeclared),
            ", ".join(f"'{key.to_user_string()}'" for key in undeclared.values()),
        )
        for name, key in undeclared.items():
            table = index.tables[name]
            metadata = materialization_metadata(
                index, table.resource, [table], **self._shared_metadata(key)
            )
            metadata["jobs"] = jobs_table(metadata["jobs"])
            self._log(key, {**metadata, "loadsmith/undeclared": True})

    def _log(self, key: dg.AssetKey, metadata: Mapping[str, Any]) -> None:
        for partition in self.partitions.keys or (None,):
            self.context.log_event(self._materialization(key, metadata, partition))

    def _materialization(
        self, key: dg.AssetKey, metadata: Mapping[str, Any], partition: str | None = None
    ) -> dg.AssetMaterialization:
        if partition is None and len(self.partitions.keys) == 1:
            partition = self.partitions.keys[0]
        return dg.AssetMaterialization(asset_key=key, metadata=metadata, partition=partition)

    def _metadata(
        self,
        key: dg.AssetKey,
        index: ResultIndex,
        target: AssetTarget,
        tables: AssetTables,
    ) -> dict[str, Any]:
        metadata = materialization_metadata(
            index,
            target.resource,
            tables.of(target),
            nested=tables.shown_in(target),
            **self._shared_metadata(key),
        )
        metadata |= self._lineage(key, index, tables.of(target))
        metadata = self.extract(target.resource, metadata)
        # An override takes and gives plain data.
        jobs = {"jobs": jobs_table(metadata["jobs"])} if "jobs" in metadata else {}
        columns = self._columns.get(key)
        return {**metadata, **jobs, **({SEEN_COLUMNS: columns} if columns else {})}

    def _shared_metadata(self, key: dg.AssetKey) -> dict[str, Any]:
        return {
            "partitions": self.partitions.label or None,
            "partition_count": len(self.partitions.keys),
            "last_schema_change": self._last_changes.get(key),
            "missing": {
                table: missing
                for table, columns in self._columns.get(key, {}).items()
                if (missing := missing_columns(columns))
            },
        }

    def _lineage(
        self, key: dg.AssetKey, index: ResultIndex, tables: Sequence[TableResult]
    ) -> dict[str, Any]:
        if len(tables) != 1 or not self.context.has_assets_def:
            return {}
        spec = self.context.assets_def.get_asset_spec(key)
        upstream = [dep.asset_key for dep in spec.deps]
        lineage = column_lineage(index, tables[0], self.targets, upstream)
        return {} if lineage is None else {"dagster/column_lineage": lineage}

    def _preview(
        self, index: ResultIndex, target: AssetTarget, tables: AssetTables
    ) -> dict[str, Any]:
        """Return rows of the tables of an asset, if its settings ask for them."""
        preview = self.definition.attributes_of(target.resource).preview
        if preview is None or not preview.rows:
            return {}
        load_ids, warn = index.result.load_ids, self.context.log.warning
        found = (
            fetch_preview(table, preview, load_ids, index.root_of(table), warn)
            for table in tables.of(target)
            if table.columns
        )
        shown = [rows for rows in found if rows is not None and rows.columns]
        return {"preview": dg.MetadataValue.md(rows_markdown(shown))} if shown else {}

    def _fetch_totals(self, tables: AssetTables) -> dict[str, int]:
        """Count the rows of the tables in the destination that a user or a check asks for."""
        names = [
            table.name
            for key in self.selected
            if self.fetches_row_counts or (key, "row_count") in self._selected_checks
            for table in tables.of(self.targets[key])
            if table.columns
        ]
        return fetch_row_counts(names, self.context.log.warning)

    def _fetch_partition_rows(self, index: ResultIndex, tables: AssetTables) -> None:
        """Count the rows of each partition in the destination, if the run had several."""
        partitions = self.partitions
        if not partitions.windows or len(partitions.windows) != len(partitions.keys):
            return
        if not isinstance(self.context, dg.AssetExecutionContext):
            # Other contexts cannot add metadata to a single partition.
            return
        counted = {
            table.name: (table, cursors[0].cursor_path)
            for key in self.selected
            if (cursors := index.cursors_of.get(self.targets[key].resource))
            # The destination has values that had no time zone as if they were in UTC.
            and cursors[0].is_utc
            for table in tables.of(self.targets[key])
            if table.parent is None and table.rows_loaded != 0
        }
        self._partition_rows = fetch_rows_by_window(
            counted, index.result.load_ids, partitions.windows, self.context.log.warning
        )

    def _add_partition_rows(self, key: dg.AssetKey, tables: Sequence[TableResult]) -> None:
        """Add the rows of each partition to the event that Dagster makes for it."""
        counts = [self._partition_rows.get(table.name) for table in tables]
        if not counts or any(rows is None for rows in counts):
            return
        for number, partition in enumerate(self.partitions.keys):
            rows = sum(rows[number] for rows in counts if rows is not None)
            self.context.add_asset_metadata(
                {"rows_loaded": rows, "dagster/partition_row_count": rows},
                asset_key=key,
                partition_key=partition,
            )

    def _fetch_last_changes(self, index: ResultIndex) -> None:
        """Read what runs saw last of each asset from Dagster's events, with a single query."""
        selected = set(self.selected)
        keys = [
            key
            for key, target in self.targets.items()
            if key in selected or target.resource in index.tables_of
        ]
        try:
            events = self.context.instance.get_latest_materialization_events(keys)
            for key, event in events.items():
                if event is not None and event.asset_materialization is not None:
                    metadata = event.asset_materialization.metadata
                    self._columns[key] = read_seen_columns(metadata)
                    change = read_last_schema_change(metadata)
                    if change:
                        self._last_changes[key] = change
        except Exception as error:  # noqa: BLE001 - looking never fails a load
            self.context.log.warning(
                "load '%s': Dagster could not be asked for the last schema changes: %s",
                self.definition.name,
                type(error).__name__,
            )

    @cached_property
    def _selected_checks(self) -> frozenset[tuple[dg.AssetKey, str]]:
        if not self.context.has_assets_def:
            return frozenset()
        keys = self.context.selected_asset_check_keys
        return frozenset((check.asset_key, check.name) for check in keys)

    def _check_results(
        self,
        key: dg.AssetKey,
        target: AssetTarget,
        index: ResultIndex,
        tables: AssetTables,
    ) -> Iterator[dg.AssetCheckResult]:
        shown = tables.of(target)
        for name in ("schema_change", "schema_contract", "row_count", "primary_key"):
            if (key, name) not in self._selected_checks:
                continue
            settings = settings_of(self.definition, target.resource, name)
            if name == "schema_change":
                # A nested table without an asset is checked with the asset that it is nested in.
                family = [*shown, *tables.nested_in(target)]
                yield schema_change_result(key, index, family, settings)
            elif name == "schema_contract":
                yield contract_kept_result(key, tables.discards_of(key, target), settings)
            elif name == "row_count":
                totals = [table.rows_total if table.columns else 0 for table in shown]
                known = [total for total in totals if total is not None]
                rows = sum(known) if len(known) == len(totals) else None
                yield row_count_result(key, rows, settings)
            else:
                yield primary_key_result(key, self._key_state(shown), settings)

    def _key_state(self, tables: Sequence[TableResult]) -> KeyState:
        """Check the keys of root tables. Rows of nested tables have dlt's ids, which are unique."""
        read, keyless, unread = [], [], []
        for table in tables:
            if table.parent is not None or not table.columns:
                continue
            columns = [column.name for column in table.columns if column.primary_key]
            if not columns:
                keyless.append(table.name)
                continue
            counts = fetch_key_counts(table.name, columns, self.context.log.warning)
            if counts is None:
                unread.append(table.name)
                continue
            read.append(counts)
        return KeyState(counts=tuple(read), keyless=tuple(keyless), unread=tuple(unread))
