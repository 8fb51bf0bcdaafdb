"""The ledger: which loads have begun and were not reported yet, kept in the dataset itself.

A load is written down before its first row is, and struck out when Dagster has its events. What
the next run of the same load and partition finds there was left by a run that died: rows of a
package that never got into dlt's `_dlt_loads` are removed, and a package that did is reported.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from dlt.common.destination.client import WithStagingDataset
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.utils import new_column
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import SqlClientBase, WithSqlClient

from loadsmith.engine._open_tables import delete_orphans, delete_rows_of_load, find_open_table
from loadsmith.model import Wait

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

LEDGER_TABLE = "_dlt_loadsmith_loads"

_UNDEFINED = (DatabaseUndefinedRelation, DestinationUndefinedEntity)


@dataclass(frozen=True)
class LedgerTable:
    """A table of a load, and whether rows of a dead load have to be removed from it."""

    name: str
    parent: str | None
    appended: bool


@dataclass(frozen=True)
class LedgerEntry:
    """One package of one load.

    Attributes:
        rows: Rows by table that the package holds, for the report after a death.
        root_run_id: The run that `run_id` is a re-execution of, or the same.
        attempt: How often Dagster had retried the step.
        process: Host and number of the process that loaded it.
        reported: Whether Dagster was told. The last such entry of a load is kept: a retry of the
            run that wrote it goes on from there, and older packages elsewhere are obsolete.
    """

    load_id: str
    scope: str
    run_id: str
    resources: tuple[str, ...] = ()
    tables: tuple[LedgerTable, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    root_run_id: str = ""
    attempt: int = 0
    process: str = ""
    reported: bool = False
    committed: bool = False

    def to_text(self) -> str:
        """Return the entry as JSON, without what the ledger keeps in columns."""
        value = asdict(self)
        for name in ("load_id", "scope", "committed"):
            del value[name]
        return json.dumps(value)

    @staticmethod
    def from_text(text: str, *, load_id: str, scope: str, committed: bool) -> "LedgerEntry":
        """Read what `to_text` wrote."""
        value = json.loads(text)
        return LedgerEntry(
            load_id=load_id,
            scope=scope,
            committed=committed,
            run_id=value["run_id"],
            resources=tuple(value["resources"]),
            tables=tuple(LedgerTable(**table) for table in value["tables"]),
            rows=value["rows"],
            root_run_id=value["root_run_id"],
            attempt=value["attempt"],
            process=value["process"],
            reported=value["reported"],
        )

    def merged_with(self, others: "Sequence[LedgerEntry]") -> "LedgerEntry":
        """Return this entry with the resources and rows of others, as the report of a run."""
        rows: dict[str, int | None] = {}
        for entry in (*others, self):
            for table, count in entry.rows.items():
                known = rows.get(table, 0)
                rows[table] = None if known is None or count is None else known + count
        resources = {name for entry in (*others, self) for name in entry.resources}
        return replace(self, resources=tuple(sorted(resources)), rows=rows, reported=True)


class Ledger(Protocol):
    """What a destination that can be read offers; see the module."""

    def entries(self, scope: str) -> list[LedgerEntry]:
        """Return the packages of a load that are written down, the oldest first."""

    def is_committed(self, load_id: str) -> bool:
        """Tell whether dlt counts the package as loaded."""

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """Write down packages before their first row is loaded."""

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """Strike out packages that were undone."""

    def report(self, entry: LedgerEntry) -> None:
        """Write down that a package was reported; its entry stays."""

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """Remove what a package left in its tables; return the number of rows or files.

        None where other loads write at the moment and `wait` is False: nothing is removed then.
        """

    def clear_staging(self) -> None:
        """Drop the staging dataset of this load alone; see `workspace`."""


@contextlib.contextmanager
def open_ledger(workspace: "Workspace") -> Iterator[Ledger | None]:
    """Open the ledger in the pipeline's dataset; None where the destination cannot be read."""
    client: Any = workspace.client()
    ledger: type[FileLedger] | type[SqlLedger] | None = None
    if isinstance(client, FSClientBase):
        ledger = FileLedger
    elif isinstance(client, WithSqlClient):
        ledger = SqlLedger
    if ledger is None:
        yield None
        return
    with workspace.open_client() as opened:
        yield ledger(opened, workspace)


class SqlLedger:
    """The ledger as a table beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        self._client = client
        self._workspace = workspace
        self._sql: SqlClientBase[Any] = client.sql_client
        self._table = self._sql.make_qualified_table_name(LEDGER_TABLE)

    def entries(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        columns = ", ".join(self._columns("load_id", "payload"))
        (c_scope,) = self._columns("scope")
        try:
            with self._sql.execute_query(
                f"SELECT {columns} FROM {self._table} WHERE {c_scope} = %s", scope
            ) as cursor:
                found = sorted(cursor.fetchall())
        except _UNDEFINED:
            return []
        return [
            LedgerEntry.from_text(
                payload, load_id=load_id, scope=scope, committed=self.is_committed(load_id)
            )
            for load_id, payload in found
        ]

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        loads = self._sql.make_qualified_table_name(self._client.schema.loads_table_name)
        c_load_id, c_status = self._columns("load_id", "status")
        try:
            rows = self._sql.execute_sql(
                f"SELECT 1 FROM {loads} WHERE {c_load_id} = %s AND {c_status} = 0", load_id
            )
        except _UNDEFINED:
            return False
        return bool(rows)

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        try:
            self._insert(entries)
        except _UNDEFINED:
            self._create()
            self._insert(entries)

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        (c_load_id,) = self._columns("load_id")
        for entry in entries:
            self._sql.execute_sql(
                f"DELETE FROM {self._table} WHERE {c_load_id} = %s", entry.load_id
            )

    def report(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        c_load_id, c_payload = self._columns("load_id", "payload")
        self._sql.execute_sql(
            f"UPDATE {self._table} SET {c_payload} = %s WHERE {c_load_id} = %s",
            entry.to_text(),
            entry.load_id,
        )

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. Nested rows go with the root row that they hang from."""
        config = self._client.config
        log = self._workspace.request.log
        started = time.monotonic()
        holder = _tell_wait(self._sql, config, log) if wait else None
        with _alone_in_dataset(self._sql, config, wait=wait) as is_alone:
            if holder is not None:
                seconds = time.monotonic() - started
                what = f"the dataset {self._sql.dataset_name}"
                log(f"got {what} after {seconds:.1f} s; it was held by {holder}")
                self._workspace.waits.append(
                    Wait(lock=what, seconds=round(seconds, 3), holder=holder)
                )
            return self._undo(entry) if is_alone else None

    def clear_staging(self) -> None:
        """See `Ledger`."""
        if not isinstance(self._client, WithStagingDataset):
            return
        with self._sql.with_staging_dataset():
            if self._sql.has_dataset():
                self._sql.drop_dataset()

    def _undo(self, entry: LedgerEntry) -> int:
        removed = 0
        c_load_id, c_id, c_parent_id = self._columns("_dlt_load_id", "_dlt_id", "_dlt_parent_id")
        appended = [table for table in entry.tables if table.appended]
        # dlt loads its state as a row of a package; some destinations refuse the same row twice.
        state = self._sql.make_qualified_table_name(self._client.schema.state_table_name)
        self._delete(f"DELETE FROM {state} WHERE {c_load_id} = %s", entry.load_id)
        for table in appended:
            name = self._sql.make_qualified_table_name(table.name)
            if table.parent is None:
                statement = f"DELETE FROM {name} WHERE {c_load_id} = %s"
                removed += self._delete(statement, entry.load_id)
            else:
                parent = self._sql.make_qualified_table_name(table.parent)
                # `tables` has parents first, so what hung from a removed row hangs from nothing.
                removed += self._delete(
                    f"DELETE FROM {name} WHERE NOT EXISTS (SELECT 1 FROM {parent} AS p"
                    f" WHERE p.{c_id} = {name}.{c_parent_id})"
                )
        return removed

    def _delete(self, statement: str, *args: Any) -> int:
        try:
            with self._sql.execute_query(statement, *args) as cursor:
                count = getattr(cursor, "rowcount", -1)
        except _UNDEFINED:
            return 0
        return max(count or 0, 0)

    def _columns(self, *names: str) -> list[str]:
        return [
            self._sql.escape_column_name(self._client.schema.naming.normalize_path(name))
            for name in names
        ]

    def _insert(self, entries: Sequence[LedgerEntry]) -> None:
        columns = ", ".join(self._columns("load_id", "scope", "payload"))
        for entry in entries:
            self._sql.execute_sql(
                f"INSERT INTO {self._table}({columns}) VALUES(%s, %s, %s)",
                entry.load_id,
                entry.scope,
                entry.to_text(),
            )

    def _create(self) -> None:
        if not self._sql.has_dataset():
            with contextlib.suppress(Exception):
                # Two loads may make it at once; if it is not there now, the next line says so.
                self._sql.create_dataset()
        mapper = self._client.type_mapper
        columns = ", ".join(
            f"{name} {mapper.to_destination_type(new_column(raw, 'text'), {'name': LEDGER_TABLE})}"
            for raw, name in zip(
                ("load_id", "scope", "payload"),
                self._columns("load_id", "scope", "payload"),
                strict=True,
            )
        )
        statement = f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})"
        try:
            self._sql.execute_sql(statement)
        except Exception:  # noqa: BLE001 - whatever the driver says when two make it at once
            self._sql.execute_sql(statement)


class FileLedger:
    """The ledger as small files beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        del workspace
        self._client = client
        self._folder = client.pathlib.join(client.dataset_path, LEDGER_TABLE)

    def entries(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        found = []
        for path in self._files():
            try:
                value = json.loads(self._client.fs_client.read_text(path, encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                continue
            if value["scope"] == scope:
                load_id = value["load_id"]
                found.append(
                    LedgerEntry.from_text(
                        value["payload"],
                        load_id=load_id,
                        scope=scope,
                        committed=self.is_committed(load_id),
                    )
                )
        return sorted(found, key=lambda entry: entry.load_id)

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        folder = self._client.get_table_dir(self._client.schema.loads_table_name)
        if not self._client.fs_client.exists(folder):
            return False
        ending = f"__{load_id}.jsonl"
        return any(
            path.endswith(ending) for path in self._client.fs_client.ls(folder, detail=False)
        )

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        if not self._client.is_storage_initialized():
            # Another load may make it at the same moment.
            with contextlib.suppress(FileExistsError):
                self._client.initialize_storage()
        self._client.fs_client.makedirs(self._folder, exist_ok=True)
        for entry in entries:
            self._write(entry)

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                self._client.fs_client.rm(self._path(entry))

    def report(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        self._write(entry)

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. dlt's file names carry the load id, so the files of a package are known."""
        del wait
        removed = 0
        for table in entry.tables:
            if not table.appended:
                continue
            open_table = find_open_table(self._client, table.name)
            if open_table is None:
                removed += self._remove_files(table.name, entry.load_id)
            elif table.parent is None:
                removed += delete_rows_of_load(self._client, open_table, entry.load_id)
            else:
                # `tables` has parents first, so what hung from a removed row hangs from nothing.
                parent = find_open_table(self._client, table.parent)
                removed += delete_orphans(self._client, open_table, parent)
        return removed

    def _remove_files(self, table: str, load_id: str) -> int:
        removed = 0
        try:
            paths = self._client.list_table_files(table)
        except (DestinationUndefinedEntity, FileNotFoundError):
            # The package died before it had made the table.
            return 0
        for path in paths:
            if load_id in path.rsplit("/", 1)[-1]:
                self._client.fs_client.rm(path)
                removed += 1
        return removed

    def clear_staging(self) -> None:
        """See `Ledger`. Files are staged nowhere."""

    def _path(self, entry: LedgerEntry) -> str:
        path: str = self._client.pathlib.join(self._folder, f"{entry.load_id}.json")
        return path

    def _write(self, entry: LedgerEntry) -> None:
        value = {"load_id": entry.load_id, "scope": entry.scope, "payload": entry.to_text()}
        self._client.fs_client.write_text(self._path(entry), json.dumps(value), encoding="utf-8")

    def _files(self) -> list[str]:
        if not self._client.fs_client.exists(self._folder):
            return []
        return list(self._client.fs_client.ls(self._folder, detail=False))


@contextlib.contextmanager
def in_flight(client: Any) -> Iterator[None]:
    """Tell other machines that a load is writing, for the length of its load step.

    Where the destination has no locks between sessions, this does nothing.
    """
    with _postgres_lock(client, "pg_advisory_lock_shared", "pg_advisory_unlock_shared"):
        yield


@contextlib.contextmanager
def _alone_in_dataset(sql: Any, config: Any, *, wait: bool) -> Iterator[bool]:
    """Keep other loads from writing into the dataset for the block, and wait for those that do.

    Yields False, and keeps nobody out, where another load writes and `wait` is False.
    """
    if not wait and not _is_free(sql, config):
        yield False
        return
    with _advisory(sql, config, "pg_advisory_lock", "pg_advisory_unlock"):
        yield True


def _is_free(sql: Any, config: Any) -> bool:
    """Tell whether no load writes into the dataset at this moment."""
    if getattr(config, "destination_type", None) != "postgres":
        return True
    key = _lock_key(sql)
    if not sql.execute_sql("SELECT pg_try_advisory_lock(hashtext(%s))", key)[0][0]:
        return False
    sql.execute_sql("SELECT pg_advisory_unlock(hashtext(%s))", key)
    return True


def _tell_wait(sql: Any, config: Any, log: Callable[[str], None]) -> str | None:
    """Log and return whom the lock of the dataset is waited for; None where it is free."""
    if _is_free(sql, config):
        return None
    holders = sql.execute_sql(
        "SELECT DISTINCT a.pid, a.application_name FROM pg_locks l"
        " JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        # A key of 64 bits is kept as two halves; the lower one is the hash.
        " AND l.objid::bigint = (hashtext(%s)::bigint & 4294967295)"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        _lock_key(sql),
    )
    named = [f"session {pid} ({name or 'no name'})" for pid, name in holders]
    holder = ", ".join(named) or "somebody"
    log(f"waiting for the dataset {sql.dataset_name}, held by {holder}")
    return holder


@contextlib.contextmanager
def _postgres_lock(client: Any, lock: str, unlock: str) -> Iterator[None]:
    if getattr(client.config, "destination_type", None) != "postgres":
        yield
        return
    with client, _advisory(client.sql_client, client.config, lock, unlock):
        yield


@contextlib.contextmanager
def _advisory(sql: Any, config: Any, lock: str, unlock: str) -> Iterator[None]:
    if getattr(config, "destination_type", None) != "postgres":
        yield
        return
    key = _lock_key(sql)
    sql.execute_sql(f"SELECT {lock}(hashtext(%s))", key)
    try:
        yield
    finally:
        sql.execute_sql(f"SELECT {unlock}(hashtext(%s))", key)


def _lock_key(sql: Any) -> str:
    return f"loadsmith {sql.dataset_name}"
