"""The ledger as a table beside dlt's own, and how rows of a dead load are found in SQL."""

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlt.common.destination.client import WithStagingDataset
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.utils import new_column
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase

from loadsmith.engine.dataset_lock import alone_in_dataset, tell_wait
from loadsmith.engine.ledger_entry import LEDGER_TABLE, LedgerEntry
from loadsmith.model import Wait

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

_UNDEFINED = (DatabaseUndefinedRelation, DestinationUndefinedEntity)


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
        holder = tell_wait(self._sql, config, log) if wait else None
        with alone_in_dataset(self._sql, config, wait=wait) as is_alone:
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
