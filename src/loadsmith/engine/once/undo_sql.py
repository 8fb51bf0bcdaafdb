"""A dead load in, the tables of a SQL destination without its rows out.

Root rows carry the id of their package. Nested rows hang from them, and those that hang from
nothing are what a dead load wrote before its root rows. Those of a load that is writing look the
same for a moment. So an undo is alone where a database has one writer; elsewhere it takes down
which rows hang from nothing, asks the ledger who else is writing, and removes those that still do.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.utils import new_column
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from loadsmith.engine.dlt_hooks import own_ids_prefix
from loadsmith.engine.once.entry import LEDGER_TABLE, LedgerEntry, LedgerTable
from loadsmith.engine.once.writers import wait_for_writers
from loadsmith.engine.workspace import digest

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

UNDEFINED = (DatabaseUndefinedRelation, DestinationUndefinedEntity)

#: What PostgreSQL calls a lock that is not waited for.
_LOCK_NOT_AVAILABLE = "55P03"

#: What MySQL and MariaDB call a lock that was waited for too long, and a deadlock.
_MYSQL_LOCK_ERRORS = (1205, 1213)


@dataclass(frozen=True)
class SqlUndo:
    """Removes what one package left in its tables.

    Attributes:
        client: The open client of the destination.
        workspace: Whose log tells of a wait.
        is_alone: Whether nobody else writes into the dataset meanwhile.
        writers: Asks the ledger for the packages of others that are being written.
        wait: Whether others are waited for.
    """

    client: Any
    workspace: "Workspace"
    is_alone: bool
    writers: Callable[[Sequence[LedgerTable]], list[LedgerEntry]]
    wait: bool

    def remove(self, entry: LedgerEntry) -> int | None:
        """Remove the rows; return how many, or None where others write and are not waited for."""
        (c_load_id,) = columns(self.client, "_dlt_load_id")
        # dlt loads its state as a row of a package; some destinations refuse the same row twice.
        state = self._name(self.client.schema.state_table_name)
        self._delete(state, f"{c_load_id} = %s", entry.load_id)
        appended = [table for table in entry.tables if table.appended]
        nested = [table for table in appended if table.parent is not None]
        removed = 0
        marked = self._marked(nested, entry)
        # Rows of other packages may hang from root rows that brought their own ids.
        if not self.is_alone and not marked:
            removed += self._remove_below_roots(nested, entry)
        for table in appended:
            if table.parent is None:
                removed += self._delete(self._name(table.name), f"{c_load_id} = %s", entry.load_id)
        for table in marked:
            (c_id,) = columns(self.client, "_dlt_id")
            condition = has_mark(c_id, entry.load_id)
            removed += self._delete(self._name(table.name), condition)
        # `tables` has parents first, so what hung from a removed row hangs from nothing.
        for table in nested:
            if self.is_alone:
                removed += self._delete(self._name(table.name), self._hangs_from_nothing(table))
                continue
            orphans = self._remove_orphans(table, entry)
            if orphans is None:
                return None
            removed += orphans
        return removed

    def _marked(self, nested: Sequence[LedgerTable], entry: LedgerEntry) -> list[LedgerTable]:
        """Return the tables with rows of the package below root rows that brought own ids."""
        (c_id,) = columns(self.client, "_dlt_id")
        return [table for table in nested if self._count(table.name, has_mark(c_id, entry.load_id))]

    def _count(self, table: str, condition: str) -> int:
        try:
            rows = self.client.sql_client.execute_sql(
                f"SELECT COUNT(*) FROM {self._name(table)} WHERE {condition}"
            )
        except UNDEFINED:
            return 0
        return int(rows[0][0])

    def _remove_below_roots(self, nested: Sequence[LedgerTable], entry: LedgerEntry) -> int:
        """Remove the nested rows of root rows that are there, the deepest first."""
        parents = {table.name: table.parent for table in entry.tables}
        return sum(
            self._delete(
                self._name(table.name),
                of_package(self.client, table.name, parents.get, entry.load_id),
                entry.load_id,
            )
            for table in reversed(nested)
        )

    def _remove_orphans(self, table: LedgerTable, entry: LedgerEntry) -> int | None:
        """Remove the nested rows that hang from nothing and that nobody is about to hang up."""
        (c_id,) = columns(self.client, "_dlt_id")
        condition = self._hangs_from_nothing(table)
        with self._taken_down(table, condition) as taken:
            if taken is None:
                return 0
            # Whoever wrote one of them was in the ledger before, and is still, or has ended well
            # and has hung up his rows.
            if not wait_for_writers(
                table.name, entry, lambda: self.writers([table]), self.workspace, wait=self.wait
            ):
                return None
            return self._delete(
                self._name(table.name), f"{c_id} IN (SELECT id FROM {taken}) AND {condition}"
            )

    @contextlib.contextmanager
    def _taken_down(self, table: LedgerTable, condition: str) -> Iterator[str | None]:
        """Keep the ids of the rows of a condition in a table of their own, for the block."""
        sql = self.client.sql_client
        (c_id,) = columns(self.client, "_dlt_id")
        name = self._name(table.name)
        if not self._count(table.name, condition):
            yield None
            return
        scratch = f"{LEDGER_TABLE}_{digest(self.workspace.scope)}"
        column_type = self.client.type_mapper.to_destination_type(
            new_column("id", "text"), {"name": scratch}
        )
        sql.drop_tables(scratch)
        sql.execute_sql(f"CREATE TABLE {self._name(scratch)} (id {column_type})")
        try:
            sql.execute_sql(
                f"INSERT INTO {self._name(scratch)}(id) SELECT {c_id} FROM {name} WHERE {condition}"
            )
            yield self._name(scratch)
        finally:
            sql.drop_tables(scratch)

    def _hangs_from_nothing(self, table: LedgerTable) -> str:
        return hangs_from_nothing(self.client, table.name, str(table.parent))

    def _delete(self, name: str, condition: str, *args: Any) -> int:
        removed = 0

        def holder() -> str | None:
            nonlocal removed
            statement = f"DELETE FROM {name} WHERE {condition}"
            try:
                with self.client.sql_client.execute_query(statement, *args) as cursor:
                    removed = _count(cursor)
            except DatabaseException as error:
                if self.wait and is_lock_of_another(error):
                    return "a transaction that has written to it"
                raise
            return None

        try:
            self.workspace.wait_until_free(f"the table {name}", holder)
        except UNDEFINED:
            return 0
        return removed

    def _name(self, table: str) -> str:
        name: str = self.client.sql_client.make_qualified_table_name(table)
        return name


def columns(client: Any, *names: str) -> list[str]:
    """Return names of columns as the destination writes them."""
    return [
        client.sql_client.escape_column_name(client.schema.naming.normalize_path(name))
        for name in names
    ]


def hangs_from_nothing(client: Any, table: str, parent: str) -> str:
    """Return the condition for rows of a nested table whose parent is not there."""
    c_id, c_parent_id = columns(client, "_dlt_id", "_dlt_parent_id")
    name_of = client.sql_client.make_qualified_table_name
    return (
        f"NOT EXISTS (SELECT 1 FROM {name_of(parent)} AS p"
        f" WHERE p.{c_id} = {name_of(table)}.{c_parent_id})"
    )


def delete_rows(client: Any, table: str, condition: str, *args: Any) -> int:
    """Delete the rows of a condition; return how many. A table that is not there has none."""
    sql = client.sql_client
    statement = f"DELETE FROM {sql.make_qualified_table_name(table)} WHERE {condition}"
    with sql.execute_query(statement, *args) as cursor:
        return _count(cursor)


def of_package(
    client: Any,
    table: str,
    parent_of: Callable[[str], str | None],
    load_id: str,
    condition: str = "",
    *,
    others: bool = False,
) -> str:
    """Return the condition for rows that hang from a package; its id is the one argument.

    Args:
        client: The client of the destination.
        table: The table of the rows.
        parent_of: Returns the table that a nested one hangs from, and None for a root table.
        load_id: The package.
        condition: What else root rows have to be, with ` AND` before it.
        others: Whether the rows of all other packages are meant.
    """
    parent = parent_of(table)
    if parent is None:
        (c_load_id,) = columns(client, "_dlt_load_id")
        return f"{c_load_id} {'<>' if others else '='} %s{condition}"
    c_id, c_parent_id = columns(client, "_dlt_id", "_dlt_parent_id")
    name = client.sql_client.make_qualified_table_name(parent)
    # Root rows of two packages may have brought the same id.
    is_marked = has_mark(c_id, load_id)
    mine = f"NOT {is_marked}" if others else f"({is_marked} OR REPLACE({c_id}, '.', '') = {c_id})"
    # A table of its own in the middle: MariaDB looks into it by key then.
    return (
        f"{c_parent_id} IN (SELECT found.id FROM (SELECT {c_id} AS id"
        f" FROM {name} WHERE"
        f" {of_package(client, parent, parent_of, load_id, condition, others=others)})"
        f" AS found) AND {mine}"
    )


def has_mark(column: str, load_id: str) -> str:
    """Return the condition for ids of nested rows that begin with their package."""
    prefix = own_ids_prefix(load_id)
    return f"SUBSTR({column}, 1, {len(prefix)}) = '{prefix}'"


def is_lock_of_another(error: DatabaseException) -> bool:
    """Tell whether PostgreSQL or MySQL refuses what another transaction holds."""
    cause: Any = error.dbapi_exception
    if getattr(cause, "pgcode", None) == _LOCK_NOT_AVAILABLE:
        return True
    inner = getattr(cause, "orig", cause)
    return bool(getattr(inner, "args", None)) and inner.args[0] in _MYSQL_LOCK_ERRORS


def _count(cursor: Any) -> int:
    count = getattr(cursor, "rowcount", -1)
    if count is not None and count >= 0:
        return int(count)
    # DuckDB answers a deletion with the number of rows.
    row = cursor.fetchone() if cursor.description else None
    return int(row[0]) if row and isinstance(row[0], int) else 0
