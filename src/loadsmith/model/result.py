"""LoadResult: what a run did; plain data, JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from loadsmith.errors import ContractBreach, Verdict
from loadsmith.model.inputs import InputSnapshot
from loadsmith.model.snapshot import ColumnSnapshot

_TABLES_IN_SUMMARY = 8


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """One of `sync`, `extract`, `normalize`, `load`, with its time in seconds."""

    name: str
    seconds: float
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Time in seconds spent waiting for a lock, and who held it."""

    lock: str
    seconds: float
    holder: str | None = None


#: Differences that a run can make to the destination's schema, and columns that a source no longer
#: sends.
CHANGE_KINDS = (
    "new table",
    "new column",
    "changed type",
    "new variant",
    "dropped column",
    "dropped table",
    "missing",
)


@dataclass(frozen=True, kw_only=True)
class SchemaChange:
    """One difference that a run made to the destination's schema.

    Attributes:
        kind: One of `CHANGE_KINDS`.
        before: The type before, where there was one.
        after: The type after.
        since: The first load without the column and its time, for the kind "missing".
    """

    table: str
    kind: str
    column: str | None = None
    before: str | None = None
    after: str | None = None
    since: str | None = None

    @property
    def kind_text(self) -> str:
        """The kind, and since when."""
        return f"{self.kind} since {self.since}" if self.since else self.kind


@dataclass(frozen=True, kw_only=True)
class CursorResult:
    """Where the cursor of a resource is after the run; values as text.

    Attributes:
        is_utc: Whether values without a time zone, if there are any, are in UTC.
    """

    resource: str
    cursor_path: str
    start_value: str | None = None
    end_value: str | None = None
    last_value: str | None = None
    is_utc: bool = True


@dataclass(frozen=True, kw_only=True)
class DiscardResult:
    """The rows that the schema contract of a resource discarded.

    Attributes:
        rows: Discarded rows by root table, for each table that lost a row.
        is_complete: False where the contract may have discarded something that is not in `rows`:
            values, rows of nested tables, rows of Arrow tables, or tables that may not be created.
    """

    resource: str
    rows: Mapping[str, int]
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """One table after the run.

    Attributes:
        rows_loaded: Rows of this run; 0 is a number, None means unknown.
        rows_total: Rows in the destination, where somebody asked.
        rows_replaced: Rows, or files, of the partition that this run has replaced; None where the
            run does not replace a partition of the table.
        rows_before: Rows that the partition had before, where the ledger has counted them.
        declared: False for a table that the snapshot did not have.
        destination_table_id: Qualified name in the destination's own form (`dataset.table`,
            `project.dataset.table`); None for the file system.
        destination_file_uri: Folder of the table's files; None for SQL destinations.
        place: Where it is, in the form that `InputSnapshot.reads` takes; None where unknown.
        hints: What dlt's schema says of the table: `write_disposition`, `resource`, ...
        filled: Which rows of this run have a value, by column: "all", "some" or "none". None where
            the run had no rows of the table, or where its load files do not tell.
    """

    name: str
    resource: str
    parent: str | None = None
    rows_loaded: int | None = 0
    rows_total: int | None = None
    rows_replaced: int | None = None
    rows_before: int | None = None
    columns: tuple[ColumnSnapshot, ...] = ()
    description: str | None = None
    declared: bool = True
    destination_table_id: str | None = None
    destination_file_uri: str | None = None
    qualified_name: str | None = None
    place: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    filled: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ResourceFailure:
    """A resource that did not load, and why; the message is redacted.

    Attributes:
        breach: What broke the schema contract, where that is why.
        verdict: What the source says about its failure, if it says anything.
    """

    resource: str
    stage: str
    message: str
    breach: ContractBreach | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a run did. Secrets were redacted when it was built.

    Attributes:
        load_ids: dlt's load packages, the ones that a dead run left and this one completed first.
        recovered_load_ids: Those of `load_ids` that this run found and completed.
        first_run: Whether the destination held no load of this pipeline before.
        tables: Every table of the selected resources, the ones without rows too.
        failures: Resources that failed while the others were kept.
        discards: What schema contracts left out, for each resource whose contract discards.
        inputs: Where each resource has read from, as far as its source says it.
        columns_read: The column of a database behind each column, by resource.
        empty_resources: Resources that yielded no row, where `on_empty` asked to look.
    """

    load: str
    pipeline_name: str
    dataset_name: str | None
    destination_name: str
    destination_type: str
    load_ids: tuple[str, ...]
    started_at: datetime
    ended_at: datetime
    first_run: bool
    tables: tuple[TableResult, ...]
    stages: tuple[StageResult, ...] = ()
    schema_changes: tuple[SchemaChange, ...] = ()
    cursors: tuple[CursorResult, ...] = ()
    failures: tuple[ResourceFailure, ...] = ()
    discards: tuple[DiscardResult, ...] = ()
    empty_resources: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    recovered_load_ids: tuple[str, ...] = ()
    working_dir: str | None = None
    jobs: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    inputs: Mapping[str, tuple[InputSnapshot, ...]] = field(default_factory=dict)
    columns_read: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def rows_loaded(self) -> int:
        """Rows of all tables whose number is known; a table that resources share counts once."""
        rows = {table.name: table.rows_loaded or 0 for table in self.tables}
        return sum(rows.values())

    def summary(self) -> str:
        """Return in a line what was loaded, where to, and how long it took."""
        by_name = {table.name: table for table in self.tables if table.rows_loaded}
        tables = list(by_name.values())
        rows = ", ".join(
            f"{table.name} {table.rows_loaded:,}" for table in tables[:_TABLES_IN_SUMMARY]
        )
        more = len(tables) - _TABLES_IN_SUMMARY
        rows += f" and {more} more tables" if more > 0 else ""
        place = ", dataset ".join(filter(None, [self.destination_name, self.dataset_name]))
        stages = ", ".join(f"{stage.name} {stage.seconds:.1f}" for stage in self.stages)
        seconds = (self.ended_at - self.started_at).total_seconds()
        return (
            f"{self.rows_loaded:,} rows loaded into {place}{f' ({rows})' if rows else ''}, in"
            f" {seconds:.1f} s{f' ({stages})' if stages else ''}"
        )

    def table(self, name: str) -> TableResult | None:
        """Return the table of that name, or None."""
        return next((found for found in self.tables if found.name == name), None)

    def tables_of(self, resource: str) -> tuple[TableResult, ...]:
        """Return the tables of one resource, root tables first."""
        return tuple(table for table in self.tables if table.resource == resource)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; times are ISO text."""
        value = asdict(self)
        value["started_at"] = self.started_at.isoformat()
        value["ended_at"] = self.ended_at.isoformat()
        return value
