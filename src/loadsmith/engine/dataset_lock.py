"""A dataset in PostgreSQL that several machines write to: who writes, and who is alone.

A load that writes holds the dataset together with others, an undo holds it alone. Where the
destination has no locks between sessions, nobody waits for anybody.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def in_flight(client: Any) -> Iterator[None]:
    """Tell other machines that a load is writing, for the length of its load step.

    Where the destination has no locks between sessions, this does nothing.
    """
    with _postgres_lock(client, "pg_advisory_lock_shared", "pg_advisory_unlock_shared"):
        yield


@contextlib.contextmanager
def alone_in_dataset(sql: Any, config: Any, *, wait: bool) -> Iterator[bool]:
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
    key = lock_key(sql)
    if not sql.execute_sql("SELECT pg_try_advisory_lock(hashtext(%s))", key)[0][0]:
        return False
    sql.execute_sql("SELECT pg_advisory_unlock(hashtext(%s))", key)
    return True


def tell_wait(sql: Any, config: Any, log: Callable[[str], None]) -> str | None:
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
        lock_key(sql),
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
    key = lock_key(sql)
    sql.execute_sql(f"SELECT {lock}(hashtext(%s))", key)
    try:
        yield
    finally:
        sql.execute_sql(f"SELECT {unlock}(hashtext(%s))", key)


def lock_key(sql: Any) -> str:
    """Return the name whose hash is the number of the lock of a dataset."""
    return f"loadsmith {sql.dataset_name}"
