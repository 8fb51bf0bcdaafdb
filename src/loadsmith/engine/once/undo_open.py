"""A dead load in, Delta and Iceberg tables without its rows out.

Root rows carry the id of their package, and nested rows hang from them. Those that hang from
nothing are what a dead load wrote before its root rows, and those of a load that is writing look
the same for a moment: so it is taken down which they are, the ledger is asked who else is writing,
and those that hang from nothing when these have ended are removed.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadsmith.engine.dlt_hooks import own_ids_prefix
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable
from loadsmith.engine.once.iceberg_lock import alone_with_iceberg
from loadsmith.engine.once.open_tables import OpenTable, find_open_table
from loadsmith.engine.once.writers import wait_for_writers

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class _OthersWriteError(Exception):
    """Others write and are not to be waited for."""


@dataclass(frozen=True)
class OpenUndo:
    """Removes what one package left in its tables with a log.

    Attributes:
        client: The open client of the destination.
        workspace: Whose log tells of a wait.
        writers: Asks the ledger for the packages of others that are being written.
        wait: Whether others are waited for.
    """

    client: Any
    workspace: "Workspace"
    writers: Callable[[Sequence[LedgerTable]], list[LedgerEntry]]
    wait: bool

    def remove(self, entry: LedgerEntry, tables: Sequence[LedgerTable]) -> int | None:
        """Remove the rows from tables of the entry, parents first.

        Returns:
            How many those were; None where others write and are not waited for.
        """
        nested = [table for table in tables if table.parent is not None]
        try:
            removed = self._remove_below_roots(entry, tables)
            for table in tables:
                if table.parent is None:
                    removed += self._remove_roots(entry, table)
            # Parents first: what hung from a removed row hangs from nothing.
            for table in nested:
                removed += self._remove_orphans(entry, table)
        except _OthersWriteError:
            return None
        return removed

    def remove_loaded(self, load_id: str, tables: Sequence[LedgerTable]) -> dict[str, int]:
        """Remove the rows of a package that is loaded; return how many by table."""
        entry = LedgerEntry(load_id=load_id, scope="", run_id="", tables=tuple(tables))
        nested = self._remove_below_roots(entry, tables)
        roots = {
            table.name: self._remove_roots(entry, table) for table in tables if table.parent is None
        }
        below = [table.name for table in tables if table.parent is not None]
        return {**roots, **({below[0]: nested} if below else {})}

    def _remove_below_roots(self, entry: LedgerEntry, tables: Sequence[LedgerTable]) -> int:
        """Remove the nested rows of root rows that are there, the deepest first."""
        import pyarrow as pa
        import pyarrow.compute as pc

        c_load_id, c_id, c_parent_id = self._columns("_dlt_load_id", "_dlt_id", "_dlt_parent_id")
        parents = {table.name: table.parent for table in entry.tables}

        @functools.cache
        def ids_of(name: str) -> Any:
            parent = parents[name]
            if parent is None:
                return self._ids(name, c_load_id, pa.array([entry.load_id]))
            ids = self._ids(name, c_parent_id, ids_of(parent))
            # Root rows of two packages may have brought the same id.
            marked = ids.filter(pc.starts_with(ids, own_ids_prefix(entry.load_id)))
            return marked if len(marked) else ids.filter(pc.invert(pc.match_substring(ids, ".")))

        # All are known before the first is gone.
        found = [(table.name, ids_of(table.name)) for table in tables if table.parent is not None]
        return sum(self._delete(name, c_id, ids) for name, ids in reversed(found))

    def _remove_roots(self, entry: LedgerEntry, table: LedgerTable) -> int:
        import pyarrow.compute as pc

        # Not by id, for tables that came from Arrow have none.
        (c_load_id,) = self._columns("_dlt_load_id")
        opened = self._open(table.name)
        if opened is None:
            return 0
        load_ids = opened.columns(c_load_id)[c_load_id].combine_chunks()
        return self._delete(
            table.name, c_load_id, load_ids.filter(pc.equal(load_ids, entry.load_id))
        )

    def _ids(self, name: str, column: str, values: Any) -> Any:
        """Return the ids of the rows of a table that have one of the values in a column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        opened = self._open(name)
        if opened is None or not len(values):
            return pa.array([], pa.string())
        (c_id,) = self._columns("_dlt_id")
        rows = opened.columns(c_id, column)
        return rows[c_id].filter(pc.is_in(rows[column], value_set=values)).combine_chunks()

    def _remove_orphans(self, entry: LedgerEntry, table: LedgerTable) -> int:
        """Remove the nested rows that hang from nothing and that nobody is about to hang up."""
        import pyarrow.compute as pc

        taken_down = self._orphans(table)
        if not len(taken_down):
            return 0
        # Whoever wrote one of them was in the ledger before, and is still, or has ended well and
        # has hung up his rows.
        if not wait_for_writers(
            table.name, entry, lambda: self.writers([table]), self.workspace, wait=self.wait
        ):
            raise _OthersWriteError
        orphans = self._orphans(table)
        (c_id,) = self._columns("_dlt_id")
        return self._delete(
            table.name, c_id, orphans.filter(pc.is_in(orphans, value_set=taken_down))
        )

    def _orphans(self, table: LedgerTable) -> Any:
        """Return the ids of the rows of a nested table that hang from nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        c_id, c_parent_id = self._columns("_dlt_id", "_dlt_parent_id")
        nested = self._open(table.name)
        if nested is None:
            return pa.array([], pa.string())
        # Nested rows first: one that is hung up meanwhile does not look as if it were not.
        rows = nested.columns(c_id, c_parent_id)
        ids, parents = rows[c_id].combine_chunks(), rows[c_parent_id].combine_chunks()
        parent = self._open(str(table.parent))
        if parent is None:
            return ids
        known = parent.columns(c_id)[c_id].combine_chunks()
        return ids.filter(pc.invert(pc.is_in(parents, value_set=known)))

    def _delete(self, name: str, column: str, values: Any) -> int:
        """Delete the rows that have the values; return how many those are, a value each."""
        opened = self._open(name)
        if opened is None or not len(values):
            return 0
        with contextlib.ExitStack() as stack:
            if opened.format == "iceberg" and not stack.enter_context(
                alone_with_iceberg(self.client, self.workspace, wait=self.wait)
            ):
                raise _OthersWriteError
            opened.delete(column, values.unique())
        return len(values)

    def _open(self, name: str) -> OpenTable | None:
        return find_open_table(self.client, name)

    def _columns(self, *names: str) -> list[str]:
        return [self.client.schema.naming.normalize_path(name) for name in names]
