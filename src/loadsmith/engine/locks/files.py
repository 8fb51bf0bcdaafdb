"""Locks between threads and processes of one machine: a path in, exclusive use out."""

import contextlib
import functools
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from loadsmith.engine.locks.wait import wait_until_free
from loadsmith.model import Wait

#: Seconds between two looks at a lock that somebody else holds.
POLL_SECONDS = 0.05

_PREPARING = threading.Lock()


@contextlib.contextmanager
def exclusive(
    path: Path,
    *,
    what: str,
    who: str,
    log: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Wait]:
    """Hold the lock file `path` for the block, however long that has to be waited for.

    The wait and its reason are logged. A lock whose holder dies is free at once, for the operating
    system gives it back.

    Args:
        path: The lock file; its folder is made.
        what: What is locked, for the log.
        who: Who asks for it, for the log of those that wait.
        log: Takes the lines of the log.
        cancelled: Ends the wait with `InterruptedError` when it tells True.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(path, thread_local=False)
    holder_path = path.with_name(path.name + ".holder")

    def ask() -> str | None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return _read_holder(holder_path) or "somebody"
        return None

    wait = wait_until_free(what, ask, log=log, cancelled=cancelled, every=POLL_SECONDS)
    try:
        _write_holder(holder_path, who)
        yield wait
    finally:
        with contextlib.suppress(FileNotFoundError):
            holder_path.unlink()
        lock.release()


@contextlib.contextmanager
def destination_lock(
    path: str | Path,
    *,
    log: Callable[[str], None],
    who: str = "a query",
    cancelled: Callable[[], bool] = lambda: False,
    connect: Callable[[], None] | None = None,
) -> Iterator[Wait]:
    """Hold a single-writer database file (DuckDB, SQLite) for the length of the block.

    Every load and query of loadsmith takes this lock before it opens the file. Programs that know
    nothing of it, such as a DuckDB shell, are waited for as well.

    Args:
        path: The database file.
        log: Takes the lines of the log.
        who: Who asks for it, for the log of those that wait.
        cancelled: Ends the wait with `InterruptedError` when it tells True.
        connect: Opens a DuckDB file as the block will, and raises DuckDB's error where another
            process has it; without it, the file is opened to see whether it is free.
    """
    database = Path(path).absolute()
    lock_path = database.with_name(f".{database.name}.lock")
    with exclusive(
        lock_path, what=f"the database {database.name}", who=who, log=log, cancelled=cancelled
    ) as wait:
        foreign = _wait_for_strangers(database, log=log, cancelled=cancelled, connect=connect)
        yield foreign if foreign and foreign.seconds > wait.seconds else wait


def prepare_for_lock(path: str) -> None:
    """Do what is slow the first time before others have to wait for it.

    DuckDB imports pandas and PyArrow with the first query of a process. Threads that do so at the
    same time may see half of PyArrow, so that the first one does it for all.
    """
    with _PREPARING:
        _prepare(path)


@functools.cache
def _prepare(path: str) -> None:
    if _is_duckdb(Path(path)) or path.endswith((".duckdb", ".db")):
        import duckdb

        with duckdb.connect(":memory:") as connection:
            connection.execute("SELECT 1").fetchall()


def lock_name(*parts: str | None) -> str:
    """Return a short file name that is the same for the same parts, and for no others."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20] + ".lock"


def _wait_for_strangers(
    database: Path,
    *,
    log: Callable[[str], None],
    cancelled: Callable[[], bool],
    connect: Callable[[], None] | None,
) -> Wait | None:
    """Wait until no other process has a DuckDB file open; None where nobody had."""
    if connect is None and not _is_duckdb(database):
        return None
    import duckdb

    def ask() -> str | None:
        try:
            if connect is None:
                duckdb.connect(str(database)).close()
            else:
                connect()
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            return _stranger(str(error))
        except duckdb.ConnectionException:
            if connect is not None:
                raise
            # This very process has the file open with other settings; dlt will share it.
        return None

    what = f"the database {database.name}"
    return wait_until_free(what, ask, log=log, cancelled=cancelled, every=POLL_SECONDS)


def _is_duckdb(database: Path) -> bool:
    try:
        with database.open("rb") as file:
            return file.read(12)[8:12] == b"DUCK"
    except OSError:
        return False


def _stranger(message: str) -> str:
    """Name the process that DuckDB's message names."""
    start = message.find("held in ")
    return message[start + 8 :].split(".  ")[0].split("\n")[0][:120] if start >= 0 else "a process"


def _write_holder(path: Path, who: str) -> None:
    holder = {"who": who, "pid": os.getpid(), "host": socket.gethostname()}
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(holder))


def _read_holder(path: Path) -> str | None:
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return f"{holder['who']} (process {holder['pid']} on {holder['host']})"
