"""Note the numbers of the database sessions that a run has open, so that others can ask for them.

PostgreSQL and MySQL number their sessions. Whoever knows the number can ask from another session
what a statement waits for, and cancel it.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any


@functools.cache
def noting_sql_client(base: Any) -> Any:
    """Return a class of SQL clients that keep the number of their session in `sessions`."""

    class Noting(base):  # type: ignore[misc]
        sessions: set[int]
        number: int | None = None

        def open_connection(self) -> Any:
            connection = super().open_connection()
            if (number := number_of(connection)) is not None:
                self.sessions.add(number)
                self.number = number
            return connection

        def close_connection(self) -> None:
            self.sessions.discard(self.number or 0)
            super().close_connection()

    return Noting


def number_of(connection: Any) -> int | None:
    """Return the number that PostgreSQL or MySQL knows a session by; None for other databases."""
    # SQLAlchemy has the connection of the driver inside of its own.
    driver = getattr(connection, "connection", connection)
    for name in ("get_backend_pid", "thread_id", "connection_id"):
        number = getattr(driver, name, None)
        number = number() if callable(number) else number
        if isinstance(number, int):
            return number
    return None


@contextlib.contextmanager
def noted(client: Any, number: int) -> Iterator[None]:
    """Note a session that is not the client's own for the block."""
    sessions: set[int] = getattr(client.sql_client, "sessions", set())
    sessions.add(number)
    try:
        yield
    finally:
        sessions.discard(number)
