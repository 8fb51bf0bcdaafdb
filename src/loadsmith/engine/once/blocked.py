"""Tell which sessions a load waits for in its database, and end the wait of a cancelled run.

A statement that waits for the lock of another session listens to no signal, and dlt sets no limit.
A run knows the numbers of its own sessions; in PostgreSQL, those that hold its claim have its name.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlt.destinations.exceptions import DatabaseException

from loadsmith.engine.dlt_hooks import is_sql, sessions_of
from loadsmith.engine.locks import repeat
from loadsmith.engine.once.ledger_sql import dialect_of

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

#: Seconds between two looks for what keeps a run waiting, and once it is cancelled.
LOOK_SECONDS = 3.0
_CANCELLED_SECONDS = 0.5

#: Seconds until a wait that goes on is told again.
_TOLD_AGAIN_SECONDS = 60.0

#: Characters of a statement that are shown.
_SHOWN = 200

_POSTGRES_WAITS = (
    "SELECT own.pid, own.query, other.pid, other.usename, other.application_name,"
    " other.state, other.query, round(extract(epoch FROM now() - other.xact_start))"
    " FROM pg_stat_activity own CROSS JOIN LATERAL unnest(pg_blocking_pids(own.pid)) held(pid)"
    " LEFT JOIN pg_stat_activity other ON other.pid = held.pid"
    " WHERE own.usename = current_user AND own.wait_event_type = 'Lock'"
    " AND (own.pid IN ({own}) OR own.application_name = 'loadsmith {token}')"
)

_MYSQL_WAITS = (
    "SELECT own.id, own.info, other.id, other.user, other.host, other.command, other.info,"
    " TIMESTAMPDIFF(SECOND, held.trx_started, NOW()) FROM information_schema.processlist own"
    " LEFT JOIN information_schema.innodb_trx held ON held.trx_mysql_thread_id NOT IN ({own})"
    " LEFT JOIN information_schema.processlist other ON other.id = held.trx_mysql_thread_id"
    " WHERE own.id IN ({own}) AND (own.state REGEXP '^Waiting for .*lock' OR own.id IN"
    " (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
    " WHERE trx_state = 'LOCK WAIT')) ORDER BY held.trx_started LIMIT 3"
)

#: The same for a user to whom the transactions of others are not shown.
_MYSQL_OWN_WAITS = (
    "SELECT own.id, own.info, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM information_schema.processlist own"
    " WHERE own.id IN ({own}) AND own.state REGEXP '^Waiting for .*lock'"
)


@dataclass(frozen=True)
class _Dialect:
    """How a database is asked for waits.

    Attributes:
        waits: Queries for the numbers and statements of own sessions that wait for a lock, and the
            sessions that they wait for. If the database refuses one, the next is asked.
        cancel: Cancels the statement of a session.
        end: What a user can do to end a session.
        is_sure: Whether the database says who has the lock, and not only who may have it.
    """

    waits: tuple[str, ...]
    cancel: str
    end: str
    is_sure: bool


_DIALECTS = {
    "postgres": _Dialect(
        waits=(_POSTGRES_WAITS,),
        cancel="SELECT pg_cancel_backend({number})",
        end="SELECT pg_terminate_backend({number})",
        is_sure=True,
    ),
    # MariaDB does not say who has the lock of a table.
    "mysql": _Dialect(
        waits=(_MYSQL_WAITS, _MYSQL_OWN_WAITS),
        cancel="KILL QUERY {number}",
        end="KILL {number}",
        is_sure=False,
    ),
}


@contextlib.contextmanager
def watched(workspace: "Workspace", canceled: threading.Event | None = None) -> Iterator[None]:
    """Look from a thread, for the block, for sessions of the workspace that wait for others.

    Args:
        workspace: Whose sessions.
        canceled: Is set when a run waits that Dagster was asked to cancel.
    """
    client = workspace.client()
    if not is_sql(client) or (dialect := _DIALECTS.get(dialect_of(client))) is None:
        yield
        return
    # The settings are resolved already.
    own = workspace.pipeline.destination.client(client.schema, client.config)
    blocked = _BlockedSessions(workspace, own, dialect, canceled or threading.Event())
    ended, log = threading.Event(), workspace.request.log
    failed = "what the run waits for is not known"
    thread = repeat(blocked.look, _CANCELLED_SECONDS, ended, failed, log, blocked.close)
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass
class _BlockedSessions:
    workspace: "Workspace"
    client: Any
    dialect: _Dialect
    canceled: threading.Event
    _is_open: bool = False
    _refused: int = 0
    _looked: float = field(default_factory=time.monotonic)
    _told: dict[tuple[Any, ...], float] = field(default_factory=dict)

    def look(self) -> bool:
        """Look, unless the last look is too recent; return that it may be done again."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS and not self.workspace.request.cancelled():
            return True
        self._looked = now
        try:
            if not self._is_open:
                self.client.__enter__()
                self._is_open = True
            self._tell_and_cancel()
        except Exception:
            self.close()
            raise
        return True

    def close(self) -> None:
        """Close the session that looks."""
        if self._is_open:
            self._is_open = False
            self.client.__exit__(None, None, None)

    def _tell_and_cancel(self) -> None:
        request = self.workspace.request
        waits = self._waits()
        for _, statement, *holder in waits:
            self._tell(statement, *holder)
        if waits and not request.cancelled() and request.is_canceled():
            self.canceled.set()
        if waits and (request.cancelled() or self.canceled.is_set()):
            request.log("the run was cancelled: what waits in the database is cancelled, too")
            for number in {number for number, *_ in waits}:
                self._execute(self.dialect.cancel.format(number=int(number)))

    def _waits(self) -> list[Any]:
        own = {0, *sessions_of(self.workspace.pipeline.destination)}
        listed, token = ", ".join(map(str, own)), self.workspace.token
        for query in self.dialect.waits[self._refused :]:
            try:
                return list(self._execute(query.format(own=listed, token=token)) or ())
            except DatabaseException:
                if query is self.dialect.waits[-1]:
                    raise
                self._refused += 1
        return []

    def _execute(self, statement: str) -> Any:
        return self.client.sql_client.execute_sql(statement)

    def _tell(self, statement: str, *holder: Any) -> None:
        number, user, name, state, query, seconds = holder
        now = time.monotonic()
        if now - self._told.get((number, statement), -_TOLD_AGAIN_SECONDS) < _TOLD_AGAIN_SECONDS:
            return
        self._told[(number, statement)] = now
        if number is None:
            who, end = "a session that the database does not name", ""
        else:
            who = f"session {number} of '{user}'{f' ({name})' if name else ''}"
            if state:
                # Not every user is shown what others do.
                after = f" after: {_short(query)}" if query else ""
                who += f", which is {state} since {seconds or 0:.0f} s{after}"
            end = f"; `{self.dialect.end.format(number=number)}` ends it"
        maybe = "" if self.dialect.is_sure or number is None else "maybe "
        self.workspace.request.warn(
            f"the load waits for {maybe}{who}. What waits: {_short(statement)}. It goes on when"
            f" that transaction ends{end}"
        )


def _short(statement: str | None) -> str:
    text = " ".join((statement or "").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
