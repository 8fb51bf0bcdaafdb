"""Tell which sessions a load waits for in its database, and end the wait of a cancelled run.

A statement that waits for the lock of another session listens to no signal, and dlt sets no limit.
Sessions of ours are known by the name that they take with the claim.
"""

import time
from collections.abc import Callable
from typing import Any

from loadsmith.engine.once.ledger_sql import dialect_of
from loadsmith.model import RunRequest

#: Seconds until a wait that goes on is told again.
_TOLD_AGAIN_SECONDS = 60.0

#: Characters of a statement that are shown.
_SHOWN = 200

#: The statements of ours that wait, and the sessions that they wait for.
_WAITS = {
    "postgres": (
        "SELECT own.query, other.pid, other.usename, other.application_name, other.state,"
        " other.query, round(extract(epoch FROM now() - other.xact_start))"
        " FROM pg_stat_activity own CROSS JOIN LATERAL unnest(pg_blocking_pids(own.pid)) held(pid)"
        " JOIN pg_stat_activity other ON other.pid = held.pid"
        " WHERE own.usename = current_user AND own.wait_event_type = 'Lock'"
        " AND own.application_name = 'loadsmith ' || %s"
    ),
}

_CANCEL = {
    "postgres": (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
        " AND wait_event_type = 'Lock' AND application_name = 'loadsmith ' || %s"
    ),
}


class BlockedSessions:
    """Looks, from a thread of its own, for sessions of an attempt that wait for others."""

    def __init__(self, make_client: Callable[[], Any], request: RunRequest, token: str) -> None:
        self._make_client = make_client
        self._request = request
        self._token = token
        self._client: Any = None
        self._told: dict[tuple[Any, ...], float] = {}

    def look(self) -> bool:
        """Look once; return whether this kind of database can be asked again."""
        if self._client is None:
            client = self._make_client()
            if dialect_of(client) not in _WAITS:
                return False
            client.__enter__()
            self._client = client
        try:
            self._tell_and_cancel(dialect_of(self._client))
        except Exception:
            self.close()
            raise
        return True

    def close(self) -> None:
        """Close the session that looks."""
        client, self._client = self._client, None
        if client is not None:
            client.__exit__(None, None, None)

    def _tell_and_cancel(self, dialect: str) -> None:
        waits = self._client.sql_client.execute_sql(_WAITS[dialect], self._token) or ()
        for statement, *holder in waits:
            pid, user, name, state, query, seconds = holder
            key = (pid, statement)
            now = time.monotonic()
            if now - self._told.get(key, -_TOLD_AGAIN_SECONDS) < _TOLD_AGAIN_SECONDS:
                continue
            self._told[key] = now
            self._request.warn(
                f"the load waits for session {pid} of '{user}'{f' ({name})' if name else ''}, which"
                f" is {state} since {seconds or 0:.0f} s after: {_short(query)}. What waits:"
                f" {_short(statement)}. It goes on when that transaction ends;"
                f" `SELECT pg_terminate_backend({pid})` ends it"
            )
        if waits and (self._request.cancelled() or self._request.is_canceled()):
            self._request.log("the run was cancelled: what waits in the database is cancelled, too")
            self._client.sql_client.execute_sql(_CANCEL[dialect], self._token)


def _short(statement: str | None) -> str:
    text = " ".join((statement or "").split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
