"""The ledger, and the claims beside it, as tables beside dlt's own."""

import contextlib
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlt.common.destination.client import WithStagingDataset
from dlt.common.schema.utils import new_column
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from loadsmith.engine.dlt_hooks import JobName, in_transaction
from loadsmith.engine.once.claim import (
    CLAIM_TABLE,
    LEASE_TABLE,
    Claim,
    FoundClaim,
    is_stopped,
    lease_seconds,
    whole_claims,
)
from loadsmith.engine.once.damaged import entry_from_tables
from loadsmith.engine.once.entry import (
    LEDGER_TABLE,
    DamagedError,
    LedgerEntry,
    LedgerTable,
    Removal,
    in_order,
)
from loadsmith.engine.once.undo_sql import (
    UNDEFINED,
    SqlUndo,
    columns,
    delete_rows,
    is_lock_of_another,
    of_package,
)
from loadsmith.engine.once.writers import writers_to
from loadsmith.engine.results import window_in_sql
from loadsmith.engine.workspace import STATE_TABLE, delete_where, forget_stored, greatest_sequence
from loadsmith.model import Window

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

#: Jobs that are committed, of packages that are not marked yet; the token is a hash of the job.
JOB_TABLE = "_dlt_loadsmith_jobs"

#: Columns and types of the tables; the table of claims is made last.
_TABLES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    LEDGER_TABLE: {
        "load_id": ("text",),
        "scope": ("text",),
        "payload": ("text",),
        "sequence": ("bigint",),
    },
    STATE_TABLE: {
        "state": ("text",),
        "path": ("text",),
        "load_id": ("text",),
        "sequence": ("bigint",),
        "value": ("text",),
    },
    JOB_TABLE: {"token": ("text", 64), "load_id": ("text",)},
    LEASE_TABLE: {"token": ("text", 64), "renewed_at": ("double",)},
    CLAIM_TABLE: {"token": ("text", 64), "payload": ("text",)},
}

#: Scopes that one query asks for.
_SCOPES_PER_QUERY = 500

#: Seconds since 1970 by the clock of a database; sqlglot knows how to ask the others.
_NOW = {
    "postgres": "DATE_PART('epoch', clock_timestamp())",
    "mysql": "UNIX_TIMESTAMP(SYSDATE(3))",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "bigquery": "UNIX_MILLIS(CURRENT_TIMESTAMP()) / 1000.0",
    "tsql": "DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) / 1000.0",
    "clickhouse": "toUnixTimestamp(now())",
}

#: How a query locks the rows that it reads until the transaction ends, where it can.
_SHARED = {"postgres": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}

#: What a transaction that holds a claim lets others know itself by, beside the claim.
_NAMED = {"postgres": ", set_config('application_name', 'loadsmith ' || {token}, true)"}

#: Lets the server end a session that stands still in a transaction. MariaDB alone reads what is in
#: the comment; MySQL has no such limit.
_IDLE_TIMEOUT = {
    "mysql": (
        "SET SESSION lock_wait_timeout = @@SESSION.lock_wait_timeout"
        " /*M!100300 , SESSION idle_transaction_timeout = {seconds} */"
    ),
}

#: Ends the sessions that hold a claim: a process that was stopped in the middle of a transaction
#: neither commits it nor gives it up.
_END_SESSIONS = {
    "postgres": (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
        " AND pid <> pg_backend_pid() AND application_name = 'loadsmith ' || %s"
    ),
}

#: What limits the wait for a lock of others to a second: whoever waits listens to no signal.
_SHORT_WAITS = {
    "postgres": "SET LOCAL lock_timeout = '1s'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1",
}


class SqlLedger:
    """The ledger as tables beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        self.client = client
        self._workspace = workspace
        self._sql: SqlClientBase[Any] = client.sql_client
        self._table = self._name(LEDGER_TABLE)
        self._dialect = dialect_of(client)

    def entries(self, *scopes: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        (c_scope,) = self._columns("scope")
        found: list[LedgerEntry] = []
        for start in range(0, len(scopes), _SCOPES_PER_QUERY):
            asked = scopes[start : start + _SCOPES_PER_QUERY]
            listed = ", ".join(["%s"] * len(asked))
            found += self._entries(f"{c_scope} IN ({listed})", *asked)
        return in_order(found)

    def entries_below(self, prefix: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        (c_scope,) = self._columns("scope")
        condition, values = f"SUBSTR({c_scope}, 1, {len(prefix)}) = %s", [prefix]
        if self._dialect in _SHARED:
            # The index finds patterns alone, which may not tell upper case from lower case.
            condition += f" AND {c_scope} LIKE %s ESCAPE '!'"
            values.append(re.sub(r"([!%_])", r"!\1", prefix) + "%")
        return in_order(self._entries(condition, *values))

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        c_load_id, c_status = self._columns("load_id", "status")
        try:
            rows = self._sql.execute_sql(
                f"SELECT 1 FROM {self._name(self.client.schema.loads_table_name)}"
                f" WHERE {c_load_id} = %s AND {c_status} = 0",
                load_id,
            )
        except UNDEFINED:
            return False
        return bool(rows)

    def write(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """See `Ledger`."""
        names = ", ".join(self._columns("load_id", "scope", "payload", "sequence"))
        (c_sequence,) = self._columns("sequence")
        with self.transaction():
            self.strike(entries)
            [(last,)] = self._sql.execute_sql(f"SELECT MAX({c_sequence}) FROM {self._table}") or ()
            # Rows of the ledger may be lost; what is stored with a greater number would count as
            # newer than what comes now.
            last = max(last or 0, greatest_sequence(self.client))
            written = [
                replace(entry, sequence=number) for number, entry in enumerate(entries, last + 1)
            ]
            for entry in written:
                self._sql.execute_sql(
                    f"INSERT INTO {self._table}({names}) VALUES(%s, %s, %s, %s)",
                    entry.load_id,
                    entry.scope,
                    entry.to_text(),
                    entry.sequence,
                )
        return written

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        (c_load_id,) = self._columns("load_id")
        for entry in entries:
            delete_where(self._sql, self._table, c_load_id, entry.load_id)

    def retire(self, entry: LedgerEntry) -> None:
        """See `Ledger`. No row comes after the claim is gone."""
        self.strike([entry])

    def change(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        c_load_id, c_payload = self._columns("load_id", "payload")
        self._sql.execute_sql(
            f"UPDATE {self._table} SET {c_payload} = %s WHERE {c_load_id} = %s",
            entry.to_text(),
            entry.load_id,
        )

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. Nested rows go with the root row that they hang from."""
        if entry.token == self._workspace.token:
            # What a session that was cut off had told the database may be carried out yet.
            self._wait_for(self._workspace.token, "this run", self._end_transactions)
        forget_stored(self.client, entry.load_id)
        self.forget_jobs(entry.load_id)
        undo = SqlUndo(
            client=self.client,
            workspace=self._workspace,
            is_alone=self._workspace.traits.single_writer,
            writers=self._writers,
            wait=wait,
        )
        return undo.remove(entry)

    def clear_staging(self, token: str) -> None:
        """See `Ledger`."""
        if not isinstance(self.client, WithStagingDataset):
            return
        name = self._workspace.staging_dataset_of(token)
        if name is None:
            # The user has named it; other things of the user may be in it.
            return
        with self._sql.with_alternative_dataset_name(name):
            if self._sql.has_dataset():
                self._sql.drop_dataset()

    def fence(self, lose: Callable[[], Exception], mark: Callable[[Any, str], None]) -> "SqlFence":
        """See `Ledger`."""
        token = self._workspace.token
        return SqlFence(
            lose,
            mark,
            held=self.query_of_claim(token, shared=True),
            seen=self.query_of_claim(token),
            first=_IDLE_TIMEOUT.get(self._dialect, "").format(seconds=math.ceil(lease_seconds())),
            # Whoever writes a file of this machine gets its answers.
            jobs=None if self._workspace.traits.single_writer else self._jobs(),
            warn=self._workspace.request.warn,
            is_stopped=lambda: is_stopped(self._workspace),
        )

    def forget_jobs(self, load_id: str) -> None:
        """See `Ledger`."""
        table, _, c_load_id = self._jobs()
        with contextlib.suppress(*UNDEFINED):
            delete_where(self._sql, table, c_load_id, load_id)

    def _jobs(self) -> tuple[str, str, str]:
        c_token, c_load_id = self._columns("token", "load_id")
        return self._name(JOB_TABLE), c_token, c_load_id

    def remove(self, removal: Removal) -> dict[str, int]:
        """See `Ledger`. Nested rows go first, with the root row that they hang from."""
        parents = {table.name: table.parent for table in removal.tables}
        bounds, condition = removal.bounds, ""
        if bounds is not None:
            column, start, end = bounds
            condition = f" AND {column} >= {start} AND {column} < {end}"
        return {
            table.name: delete_rows(
                self.client,
                table.name,
                of_package(
                    self.client,
                    table.name,
                    parents.get,
                    removal.load_id,
                    condition,
                    others=removal.others,
                ),
                removal.load_id,
            )
            for table in reversed(removal.tables)
        }

    def rows_of(self, table: str) -> int | None:
        """See `Ledger`."""
        try:
            rows = self._sql.execute_sql(f"SELECT COUNT(*) FROM {self._name(table)}")
        except UNDEFINED:
            return 0
        return int(rows[0][0]) if rows else None

    def has_table(self, table: str) -> bool:
        """See `Ledger`."""
        return table in self.client.schema.tables

    def bounds_of(self, table: str, path: str, window: Window) -> tuple[str, str, str] | None:
        """See `Ledger`."""
        return window_in_sql(self.client, table, path, window)

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        """See `Ledger`. It begins with a look at the claim of this run."""
        return in_transaction(self.client)

    # -- claims -------------------------------------------------------------------------------

    def claims(self) -> list[FoundClaim]:
        """See `Claims`."""
        c_token, c_payload, c_renewed = self._columns("token", "payload", "renewed_at")
        try:
            rows = self._sql.execute_sql(
                f"SELECT c.{c_token}, c.{c_payload}, {self._now()} - l.{c_renewed}"
                f" FROM {self._name(CLAIM_TABLE)} AS c LEFT JOIN {self._name(LEASE_TABLE)} AS l"
                f" ON l.{c_token} = c.{c_token}"
            )
        except UNDEFINED:
            return []
        found = [(Claim.from_text(payload, token), age) for token, payload, age in rows or ()]
        return whole_claims(
            self,
            [FoundClaim(claim, self._workspace.is_over(claim, age), age) for claim, age in found],
            self._workspace,
            lambda claim: f"the row of {self._name(CLAIM_TABLE)} with token '{claim.token}'",
        )

    def has_claim(self, token: str) -> bool:
        """See `Claims`."""
        return _is_there(self._sql.execute_sql, self.query_of_claim(token))

    def prepare(self) -> None:
        """See `Ledger`. The table of claims is made last, and tells of all."""
        try:
            self._sql.execute_sql(f"SELECT 1 FROM {self._name(CLAIM_TABLE)} WHERE 1 = 0")
        except UNDEFINED:
            self._create()

    def write_claim(self, claim: Claim) -> None:
        """See `Claims`."""
        c_token, c_payload, c_renewed = self._columns("token", "payload", "renewed_at")
        for name in (LEASE_TABLE, CLAIM_TABLE):
            self._sql.execute_sql(
                f"DELETE FROM {self._name(name)} WHERE {c_token} = %s", claim.token
            )
        self._sql.execute_sql(
            f"INSERT INTO {self._name(LEASE_TABLE)}({c_token}, {c_renewed})"
            f" SELECT %s, {self._now()}",
            claim.token,
        )
        self._sql.execute_sql(
            f"INSERT INTO {self._name(CLAIM_TABLE)}({c_token}, {c_payload}) VALUES(%s, %s)",
            claim.token,
            claim.to_text(),
        )

    def renew_lease(self, token: str) -> None:
        """See `Claims`."""
        c_token, c_renewed = self._columns("token", "renewed_at")
        self._sql.execute_sql(
            f"UPDATE {self._name(LEASE_TABLE)} SET {c_renewed} = {self._now()}"
            f" WHERE {c_token} = %s",
            token,
        )

    def remove_claim(self, claim: Claim) -> None:
        """See `Claims`."""
        self._wait_for(claim.token, claim.holder, self._delete_claim)

    def query_of_claim(self, token: str, *, shared: bool = False) -> str:
        """Return the query that finds a claim; `shared` locks it, where the database can."""
        (c_token,) = self._columns("token")
        lock = _SHARED.get(self._dialect, "") if shared else ""
        name = _NAMED.get(self._dialect, "").format(token=c_token) if shared else ""
        table = self._name(CLAIM_TABLE)
        return f"SELECT {c_token}{name} FROM {table} WHERE {c_token} = '{token}'{lock}"

    def _wait_for(self, token: str, holder: str, change: Callable[[str], None]) -> None:
        """Change the row of a claim, however long transactions hold it."""

        def ask() -> str | None:
            try:
                with self.transaction():
                    if short := _SHORT_WAITS.get(self._dialect):
                        self._sql.execute_sql(short)
                    change(token)
            except UNDEFINED:
                return None
            except DatabaseException as error:
                if is_lock_of_another(error):
                    if token != self._workspace.token and self._dialect in _END_SESSIONS:
                        self._sql.execute_sql(_END_SESSIONS[self._dialect], token)
                    return "a transaction of it that is under way"
                raise
            return None

        self._workspace.wait_until_free(f"the claim of {holder}", ask)

    def _delete_claim(self, token: str) -> None:
        (c_token,) = self._columns("token")
        for name in (CLAIM_TABLE, LEASE_TABLE):
            self._sql.execute_sql(f"DELETE FROM {self._name(name)} WHERE {c_token} = %s", token)

    def _end_transactions(self, token: str) -> None:
        if self._dialect in _SHARED:
            self._sql.execute_sql(f"{self.query_of_claim(token)} FOR UPDATE")

    def _writers(self, tables: Sequence[LedgerTable]) -> list[LedgerEntry]:
        """Return the packages of other loads that may be written to the tables at this moment."""
        return writers_to(tables, self, self.entries, self._workspace)

    def _entries(self, condition: str, *values: str) -> list[LedgerEntry]:
        names = ", ".join(self._columns("load_id", "scope", "payload", "sequence"))
        try:
            with self._sql.execute_query(
                f"SELECT {names} FROM {self._table} WHERE {condition}", *values
            ) as cursor:
                found = cursor.fetchall()
        except UNDEFINED:
            return []
        return [self._entry(*row) for row in found]

    def _entry(self, load_id: str, scope: str, payload: str, sequence: int | None) -> LedgerEntry:
        try:
            return LedgerEntry.from_text(payload, load_id=load_id, scope=scope, sequence=sequence)
        except DamagedError:
            return entry_from_tables(
                self._workspace,
                self.client,
                self.is_committed,
                place=f"the row of {self._table} with load_id '{load_id}'",
                load_id=load_id,
                scope=scope,
                sequence=sequence or 0,
            )

    # -- tables -------------------------------------------------------------------------------

    def _now(self) -> str:
        known = _NOW.get(self._dialect)
        if known is not None:
            return known
        import sqlglot

        asked = sqlglot.parse_one("EPOCH(CURRENT_TIMESTAMP)", read="duckdb")
        return asked.sql(self._dialect or None)

    def _columns(self, *names: str) -> list[str]:
        return columns(self.client, *names)

    def _name(self, table: str) -> str:
        return self._sql.make_qualified_table_name(table)

    def _create(self) -> None:
        """Make the tables, and add to those of 0.1 what they have not."""
        if not self._sql.has_dataset():
            with contextlib.suppress(Exception):
                # Two loads may make it at once; if it is not there now, the next line says so.
                self._sql.create_dataset()
        for name, kinds in _TABLES.items():
            definitions = {raw: self._definition(raw, kind, name) for raw, kind in kinds.items()}
            statement = (
                f"CREATE TABLE IF NOT EXISTS {self._name(name)} ({', '.join(definitions.values())})"
            )
            try:
                self._sql.execute_sql(statement)
            except Exception:  # noqa: BLE001 - whatever the driver says when two make it at once
                self._sql.execute_sql(statement)
            if name == LEDGER_TABLE:
                self._add_sequence(definitions["sequence"])
                self._add_indexes(LEDGER_TABLE, "load_id", "scope", "sequence")
            if name == STATE_TABLE:
                self._add_indexes(STATE_TABLE, "state", "load_id")
            if name == JOB_TABLE:
                self._add_indexes(JOB_TABLE, "load_id")

    def _definition(self, raw: str, kind: tuple[Any, ...], table: str) -> str:
        (name,) = self._columns(raw)
        column = new_column(raw, kind[0])
        if len(kind) > 1:
            column["precision"] = kind[1]
        made = self.client.type_mapper.to_destination_type(column, {"name": table})
        # Without an index, MariaDB would lock all claims for one.
        key = " NOT NULL PRIMARY KEY" if raw == "token" and self._dialect in _SHARED else ""
        return f"{name} {made}{key}"

    def _add_sequence(self, definition: str) -> None:
        def is_missing() -> bool:
            _, found = self.client.get_storage_table(LEDGER_TABLE)
            return "sequence" not in {str(name).lower() for name in found}

        if not is_missing():
            return
        try:
            self._sql.execute_sql(f"ALTER TABLE {self._table} ADD {definition}")
        except DatabaseException:
            # Another load was as quick.
            if is_missing():
                raise

    def _add_indexes(self, table: str, *names: str) -> None:
        if self._dialect not in _SHARED:
            return
        for raw in names:
            (name,) = self._columns(raw)
            part = _PART_OF_TEXT.get(self._dialect, "") if raw != "sequence" else ""
            with contextlib.suppress(DatabaseException):
                # It may be there; without it, the ledger is slower and not wrong.
                self._sql.execute_sql(
                    f"CREATE INDEX {table}_{raw} ON {self._name(table)} ({name}{part})"
                )


#: MariaDB wants to know how much of a long text is looked at, PostgreSQL that patterns are asked.
_PART_OF_TEXT = {"mysql": "(191)", "postgres": " text_pattern_ops"}


@dataclass
class SqlFence:
    """Asks the tables of a dataset for the claim of one attempt; see `Fence`.

    Attributes:
        lose: Takes notice that the claim is gone; returns the error to raise.
        mark_once: Marks a package; see `Fence.mark`.
        held: The query that locks the claim.
        seen: The query that looks for it.
        first: A statement before that query, or nothing.
        jobs: The table of jobs and its columns; None where no answer gets lost.
        marked: See `Fence`.
        warn: See `Fence`.
        is_stopped: See `Fence`.
    """

    lose: Callable[[], Exception]
    mark_once: Callable[[Any, str], None]
    held: str
    seen: str
    first: str
    jobs: tuple[str, str, str] | None
    warn: Callable[[str], None]
    is_stopped: Callable[[], bool]
    marked: set[str] = field(default_factory=set)

    def hold(self, execute: Callable[[str], Any], job: JobName | None = None) -> None:
        """See `Fence`. The key of a job makes a second commit of it fail."""
        if self.first:
            execute(self.first)
        if not _is_there(execute, self.held):
            raise self.lose()
        if job is not None and self.jobs is not None:
            table, c_token, c_load_id = self.jobs
            execute(
                f"INSERT INTO {table}({c_token}, {c_load_id}) VALUES('{_hash_of(job)}', '{job[0]}')"
            )

    def is_done(self, client: Any, job: JobName) -> bool:
        """See `Fence`."""
        if self.jobs is None:
            return False
        table, c_token, _ = self.jobs
        query = f"SELECT {c_token} FROM {table} WHERE {c_token} = '{_hash_of(job)}'"
        return _is_there(client.sql_client.execute_sql, query)

    def check(self, client: Any) -> None:
        """See `Fence`."""
        if not _is_there(client.sql_client.execute_sql, self.seen):
            raise self.lose()

    def mark(self, client: Any, load_id: str) -> None:
        """See `Fence`."""
        self.mark_once(client, load_id)
        self.marked.add(load_id)


def _hash_of(job: JobName) -> str:
    return hashlib.sha256("/".join(job).encode()).hexdigest()


def dialect_of(client: Any) -> str:
    """Return the name that sqlglot has for the SQL of a destination."""
    own = getattr(client.sql_client, "dialect_name", None)
    dialect = str(own or client.capabilities.sqlglot_dialect or "")
    return "mysql" if dialect == "mariadb" else dialect


def _is_there(execute: Callable[[str], Any], query: str) -> bool:
    try:
        return bool(execute(query))
    except UNDEFINED:
        return False
