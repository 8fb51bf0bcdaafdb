"""A dataset in PostgreSQL that several machines write to: who writes, and who is alone.

A load that writes holds the dataset together with others, an undo holds it alone. Where the
destination has no locks between sessions, nobody waits for anybody here.
"""

import contextlib
import selectors
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dlt.destinations.exceptions import DatabaseTransientException

from loadsmith.engine.locks import POLL_SECONDS, REPORT_SECONDS
from loadsmith.engine.once.iceberg_lock import in_turn

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

#: Bytes of a session's name that PostgreSQL keeps.
_NAME_LENGTH = 63


def has_dataset_locks(config: Any) -> bool:
    """Tell whether sessions of a destination can keep one another out of a dataset."""
    return getattr(config, "destination_type", None) == "postgres"


@contextlib.contextmanager
def in_flight(workspace: "Workspace") -> Iterator[None]:
    """Tell other machines that a load is writing, for the length of its load step.

    An undo that is under way is waited for; whose it is, and how long, is logged. Of loads into
    Iceberg tables without a catalog that they share, one writes at a time.
    """
    client = workspace.client()
    if not has_dataset_locks(client.config):
        with in_turn(workspace):
            yield
        return
    with client, _held(client.sql_client, workspace, "_shared"):
        yield


def is_in_flight(workspace: "Workspace") -> bool:
    """Tell whether other machines still know that a load is writing, in the block of `in_flight`.

    Nothing is sent: a session that is idle has nothing to read but its end.
    """
    client = workspace.client()
    if not has_dataset_locks(client.config):
        return True
    connection = client.sql_client.native_connection
    if connection is None or connection.closed:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return not selector.select(0)


@contextlib.contextmanager
def alone_in_dataset(
    sql: Any, config: Any, workspace: "Workspace", *, wait: bool
) -> Iterator[bool]:
    """Keep other loads from writing into the dataset for the block, and wait for those that do.

    Yields False, and keeps nobody out, where another load writes and `wait` is False.
    """
    if not has_dataset_locks(config):
        yield True
    elif wait:
        with _held(sql, workspace, ""):
            yield True
    elif _try(sql, ""):
        try:
            yield True
        finally:
            _give_back(sql, "")
    else:
        yield False


def lock_key(sql: Any) -> str:
    """Return the name whose hash is the number of the lock of a dataset."""
    return f"loadsmith {sql.dataset_name}"


@contextlib.contextmanager
def _held(sql: Any, workspace: "Workspace", kind: str) -> Iterator[None]:
    """Hold the lock of the dataset, however long that has to be waited for.

    Args:
        sql: The client of the session that holds it.
        workspace: Whose log tells of the wait.
        kind: How PostgreSQL's functions for the kind of lock end.
    """
    # Those that wait for this session read its name.
    name = f"loadsmith, the load of {workspace.scope}".encode()[:_NAME_LENGTH]
    sql.execute_sql(
        "SELECT set_config('application_name', %s, false)", name.decode(errors="ignore")
    )
    if not _try(sql, kind):
        _wait(sql, workspace, kind)
    try:
        yield
    finally:
        # A session that has ended holds nothing.
        with contextlib.suppress(DatabaseTransientException):
            _give_back(sql, kind)


def _wait(sql: Any, workspace: "Workspace", kind: str) -> None:
    holder = _holders(sql)
    with _waiting(sql, kind) as waiting:

        def ask() -> str | None:
            waiting.join(POLL_SECONDS)
            return holder if waiting.is_alive() else None

        workspace.wait_until_free(f"the dataset {sql.dataset_name}", ask)


@contextlib.contextmanager
def _waiting(sql: Any, kind: str) -> Iterator[threading.Thread]:
    """Ask for the lock in a thread: it stands in PostgreSQL's queue, and the run can be cancelled.

    The driver would not listen to a signal before the lock is there.
    """
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            sql.execute_sql(f"SELECT pg_advisory_lock{kind}(hashtext(%s))", lock_key(sql))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield thread
    except BaseException:
        # What the session holds already is given back when it is closed.
        sql.native_connection.cancel()
        thread.join(REPORT_SECONDS)
        raise
    if errors:
        raise errors[0]


def _try(sql: Any, kind: str) -> bool:
    key = lock_key(sql)
    return bool(sql.execute_sql(f"SELECT pg_try_advisory_lock{kind}(hashtext(%s))", key)[0][0])


def _give_back(sql: Any, kind: str) -> None:
    sql.execute_sql(f"SELECT pg_advisory_unlock{kind}(hashtext(%s))", lock_key(sql))


def _holders(sql: Any) -> str:
    found = sql.execute_sql(
        "SELECT DISTINCT a.pid, a.application_name FROM pg_locks l"
        " JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        # A key of 64 bits is kept as two halves; the lower one is the hash.
        " AND l.objid::bigint = (hashtext(%s)::bigint & 4294967295)"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        lock_key(sql),
    )
    named = [f"session {pid} ({name or 'no name'})" for pid, name in found]
    return ", ".join(named) or "somebody"
