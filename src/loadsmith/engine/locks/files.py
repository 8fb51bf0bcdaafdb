"""Lock files between the threads and processes of a machine."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from loadsmith.documents import NotAFileError, refuse_no_file
from loadsmith.engine.locks.process import is_stopped
from loadsmith.engine.locks.wait import wait_until_free
from loadsmith.errors import ResolveError
from loadsmith.model import Wait

#: Seconds between two tries to take a lock.
POLL_SECONDS = 0.05

_PREPARING = threading.Lock()


class HolderGivenUpError(Exception):
    """Whoever holds a lock is not waited for."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    who: str
    pid: int
    host: str
    token: str = ""

    def __str__(self) -> str:
        text = f"{self.who} (process {self.pid} on {self.host})"
        if self.host != socket.gethostname() or not is_stopped(self.pid):
            return text
        return (
            f"{text}, which was stopped: `kill -CONT {self.pid}` lets it go on,"
            f" `kill -KILL {self.pid}` ends it"
        )


@contextlib.contextmanager
def exclusive(
    path: Path,
    *,
    what: str,
    who: str,
    log: Callable[[str], None],
    cancelled: Callable[[], bool] = lambda: False,
    token: str = "",
    leave: Callable[[Holder], bool] = lambda _holder: False,
    is_removed: bool = False,
) -> Iterator[Wait]:
    """Hold the lock file `path` during the block, after waiting for it as long as needed.

    The wait and its reason are logged. If the holder dies, the operating system frees the lock at
    once.

    Args:
        path: The lock file; its folder is created.
        what: What is locked, for the log.
        who: Who takes the lock, for the log of others that wait.
        log: Takes the lines of the log.
        cancelled: Returns True to end the wait with `InterruptedError`.
        token: What others know the holder by.
        leave: Returns True for a holder that is not waited for any longer.
        is_removed: Whether the file is gone after the block. Whoever opened it before and locks it
            after that tries again, for `filelock` sees that it is gone.

    Raises:
        HolderGivenUpError: `leave` returned True.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    holder_path = path.with_name(path.name + ".holder")
    make_room(path)
    make_room(holder_path)
    lock = FileLock(path, thread_local=False)

    known = "somebody"

    def ask() -> str | None:
        nonlocal known
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = _read_holder(holder_path)
            if holder is not None and leave(holder):
                raise HolderGivenUpError(str(holder)) from None
            # A holder removes its name a moment before it gives the lock back.
            known = str(holder or known)
            return known
        return None

    wait = wait_until_free(what, ask, log=log, cancelled=cancelled, every=POLL_SECONDS)
    try:
        _write_holder(holder_path, Holder(who, os.getpid(), socket.gethostname(), token))
        yield wait
    finally:
        with contextlib.suppress(FileNotFoundError):
            holder_path.unlink()
        if is_removed:
            # Windows removes no file that is open.
            with contextlib.suppress(OSError):
                path.unlink()
        lock.release()


def make_room(path: Path) -> None:
    """Remove what stands in the place of a file of ours, and is none: a folder, a broken link."""
    if path.is_file() or not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_held(path: Path) -> bool:
    """Tell whether somebody on this machine holds a lock file."""
    if not path.exists():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def remove_unheld(paths: Iterable[Path]) -> int:
    """Remove the lock files that nobody holds; return how many."""
    removed = 0
    for path in paths:
        lock = FileLock(path, thread_local=False)
        with contextlib.suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            path.with_name(path.name + ".holder").unlink(missing_ok=True)
            path.unlink()
            lock.release()
            removed += 1
    return removed


@contextlib.contextmanager
def destination_lock(
    path: str | Path,
    *,
    log: Callable[[str], None],
    who: str = "a query",
    cancelled: Callable[[], bool] = lambda: False,
    connect: Callable[[], None] | None = None,
) -> Iterator[Wait]:
    """Hold a single-writer database file (DuckDB, SQLite) during the block.

    Every load and query of loadsmith takes this lock before it opens the file. It also waits for
    other programs that have the file open, such as a DuckDB shell.

    Args:
        path: The database file.
        log: Takes the lines of the log.
        who: Who takes the lock, for the log of others that wait.
        cancelled: Returns True to end the wait with `InterruptedError`.
        connect: Opens a DuckDB file as the block will, and raises DuckDB's error if another
            process has it. Without it, the file is opened and closed to see whether it is free.
    """
    database = Path(path).absolute()
    try:
        refuse_no_file(database)
    except FileNotFoundError:
        pass
    except NotAFileError as error:
        raise ResolveError(f"{database} cannot be a database: {error.strerror}.") from error
    lock_path = database.with_name(f".{database.name}.lock")
    with exclusive(
        lock_path, what=f"the database {database.name}", who=who, log=log, cancelled=cancelled
    ) as wait:
        foreign = _wait_for_strangers(database, log=log, cancelled=cancelled, connect=connect)
        yield foreign if foreign and foreign.seconds > wait.seconds else wait


def prepare_for_lock(path: str) -> None:
    """Do what is slow the first time before the lock is taken, so that nobody waits for it.

    DuckDB imports pandas and PyArrow with the first query of a process. Threads that do so at the
    same time may see a part of PyArrow, so one thread does it for all.
    """
    with _PREPARING:
        _prepare(path)


@functools.cache
def _prepare(path: str) -> None:
    if (Path(path).is_file() and _is_duckdb(Path(path))) or path.endswith((".duckdb", ".db")):
        import duckdb

        with duckdb.connect(":memory:") as connection:
            connection.execute("SELECT 1").fetchall()


def lock_name(*parts: str | None) -> str:
    """Return a short file name that identifies the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20] + ".lock"


def _wait_for_strangers(
    database: Path,
    *,
    log: Callable[[str], None],
    cancelled: Callable[[], bool],
    connect: Callable[[], None] | None,
) -> Wait | None:
    """Wait until no other process has a DuckDB file open; None if no other process had."""
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
            if not any(text in str(error) for text in _HELD_BY_OTHERS):
                raise ResolveError(
                    f"DuckDB does not open the file {database}: {error}. If it is damaged, restore"
                    " it from a backup, or move it away and load again."
                ) from error
            return _stranger(str(error))
        except duckdb.ConnectionException:
            if connect is not None:
                raise
            # This process has the file open with other settings. dlt will share it.
        return None

    what = f"the database {database.name}"
    wait = wait_until_free(what, ask, log=log, cancelled=cancelled, every=POLL_SECONDS)
    return wait if wait.holder else None


#: What DuckDB says of a file that another process has open, on Linux and macOS, and on Windows.
_HELD_BY_OTHERS = ("Could not set lock on file", "being used by another process")


def _is_duckdb(database: Path) -> bool:
    try:
        with database.open("rb") as file:
            return file.read(12)[8:12] == b"DUCK"
    except OSError:
        return False


def _stranger(message: str) -> str:
    """Return the process that DuckDB's message names."""
    start = message.find("held in ")
    return message[start + 8 :].split(".  ")[0].split("\n")[0][:120] if start >= 0 else "a process"


def _write_holder(path: Path, holder: Holder) -> None:
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(asdict(holder)))


def _read_holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
