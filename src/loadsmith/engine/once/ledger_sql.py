"""The ledger as a table beside dlt's own."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlt.common.destination.client import WithStagingDataset
from dlt.common.schema.utils import new_column
from dlt.destinations.sql_client import SqlClientBase

from loadsmith.engine.once.dataset_lock import alone_in_dataset, has_dataset_locks
from loadsmith.engine.once.entry import LEDGER_TABLE, LedgerEntry, LedgerTable
from loadsmith.engine.once.undo_sql import UNDEFINED, SqlUndo, columns
from loadsmith.engine.once.writers import writers_to

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class SqlLedger:
    """The ledger as a table beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        self._client = client
        self._workspace = workspace
        self._sql: SqlClientBase[Any] = client.sql_client
        self._table = self._sql.make_qualified_table_name(LEDGER_TABLE)

    def written(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        names = ", ".join(self._columns("load_id", "payload"))
        (c_scope,) = self._columns("scope")
        try:
            with self._sql.execute_query(
                f"SELECT {names} FROM {self._table} WHERE {c_scope} = %s", scope
            ) as cursor:
                found = sorted(cursor.fetchall())
        except UNDEFINED:
            return []
        return [
            LedgerEntry.from_text(payload, load_id=load_id, scope=scope, committed=False)
            for load_id, payload in found
        ]

    def entries(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        entries = self.written(scope)
        if not all(entry.reported or entry.is_claim for entry in entries):
            self._end_commits()
        return [
            entry if entry.is_claim else replace(entry, committed=self.is_committed(entry.load_id))
            for entry in entries
        ]

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        loads = self._sql.make_qualified_table_name(self._client.schema.loads_table_name)
        c_load_id, c_status = self._columns("load_id", "status")
        try:
            rows = self._sql.execute_sql(
                f"SELECT 1 FROM {loads} WHERE {c_load_id} = %s AND {c_status} = 0", load_id
            )
        except UNDEFINED:
            return False
        return bool(rows)

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        try:
            self._insert(entries)
        except UNDEFINED:
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
        has_locks = has_dataset_locks(config)
        is_alone = has_locks or self._workspace.traits.single_writer
        if not is_alone:
            # Two runs that undo at the same time do not wait for what each other's dead one was.
            self.report(replace(entry, abandoned=True))
        with alone_in_dataset(self._sql, config, self._workspace, wait=wait) as is_free:
            # A run that Dagster knows nothing of may have ended well while it was waited for.
            if not is_free or (has_locks and self.is_committed(entry.load_id)):
                return None
            undo = SqlUndo(
                client=self._client,
                workspace=self._workspace,
                is_alone=is_alone,
                locks_tables=has_locks,
                writers=self._writers,
                wait=wait,
            )
            return undo.remove(entry)

    def clear_staging(self) -> None:
        """See `Ledger`."""
        if not isinstance(self._client, WithStagingDataset):
            return
        with self._sql.with_staging_dataset():
            if self._sql.has_dataset():
                self._sql.drop_dataset()

    def _writers(self, tables: Sequence[LedgerTable]) -> list[LedgerEntry]:
        """Return the packages of other loads that may be written to the tables at this moment."""
        c_load_id, c_scope, c_payload = self._columns("load_id", "scope", "payload")
        with self._sql.execute_query(
            f"SELECT {c_load_id}, {c_scope}, {c_payload} FROM {self._table} WHERE {c_scope} <> %s",
            self._workspace.scope,
        ) as cursor:
            found = list(cursor.fetchall())
        entries = [
            LedgerEntry.from_text(payload, load_id=load_id, scope=scope, committed=False)
            for load_id, scope, payload in found
        ]
        return writers_to(tables, entries, self._workspace, self.is_committed)

    def _end_commits(self) -> None:
        """Wait until the database has done what a process that was killed had told it to commit."""
        if has_dataset_locks(self._client.config):
            loads = self._sql.make_qualified_table_name(self._client.schema.loads_table_name)
            with contextlib.suppress(*UNDEFINED), self._sql.begin_transaction():
                self._sql.execute_sql(f"LOCK TABLE {loads} IN SHARE MODE")

    def _columns(self, *names: str) -> list[str]:
        return columns(self._client, *names)

    def _insert(self, entries: Sequence[LedgerEntry]) -> None:
        names = ", ".join(self._columns("load_id", "scope", "payload"))
        for entry in entries:
            self._sql.execute_sql(
                f"INSERT INTO {self._table}({names}) VALUES(%s, %s, %s)",
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
        definition = ", ".join(
            f"{name} {mapper.to_destination_type(new_column(raw, 'text'), {'name': LEDGER_TABLE})}"
            for raw, name in zip(
                ("load_id", "scope", "payload"),
                self._columns("load_id", "scope", "payload"),
                strict=True,
            )
        )
        statement = f"CREATE TABLE IF NOT EXISTS {self._table} ({definition})"
        try:
            self._sql.execute_sql(statement)
        except Exception:  # noqa: BLE001 - whatever the driver says when two make it at once
            self._sql.execute_sql(statement)
