"""Load any number of rows into DuckDB with the same memory.

DuckDB keeps what it writes and reads in memory, up to four fifths of the machine's. A load copies
each row once and reads no file twice, so a small limit costs no time. Several threads copy files
whose row groups are as large as DuckDB's; the limit then grows to what those threads need. A merge
joins tables and runs with DuckDB's default limit. Any other statement that needs more memory is run
again with that limit.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import duckdb as duckdb_module
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.factory import duckdb
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from loadsmith.engine.dlt_hooks import global_config_of, parquet_files
from loadsmith.engine.normalizing import ROW_GROUP

#: Bytes for each thread of DuckDB; each thread works on a row group.
LIMIT_PER_THREAD = 40_000_000
_LEAST_LIMIT = 80_000_000

#: Bytes for each column of a thread that writes whole row groups. With less, the threads wait for
#: each other (measured with 6, 12 and 24 columns).
_BYTES_PER_COLUMN = 10_000_000
_MOST_ROOM = 4_000_000_000

#: Databases for which a statement of this process needed more than the limit.
_unlimited: set[str] = set()

#: Bytes for databases into which this process copied large row groups.
_room: dict[str, int] = {}


def default_limit() -> int:
    """Return the bytes that DuckDB may use in a load unless the user sets a limit."""
    return max(_LEAST_LIMIT, LIMIT_PER_THREAD * (os.cpu_count() or 1))


def limit_of_user(credentials: Any) -> str | None:
    """Return the memory limit in the user's settings of a connection, or None."""
    for field in ("global_config", "local_config"):
        for name, value in (getattr(credentials, field, None) or {}).items():
            if name.lower() in _LIMIT_NAMES:
                return str(value)
    for field in ("pragmas", "statements"):
        for statement in getattr(credentials, field, None) or ():
            if any(name in statement.lower() for name in _LIMIT_NAMES):
                return str(statement)
    return None


_LIMIT_NAMES = ("memory_limit", "max_memory")

#: Settings that make DuckDB keep less of written and read files, and of freed memory.
_KEEPS_LITTLE = (
    ("write_buffer_row_group_count", 1),
    ("enable_external_file_cache", False),
    # 4 MB and more left the peak of a load of 900,000 rows where it was.
    ("allocator_bulk_deallocation_flush_threshold", "1MB"),
)


@cache
def _settings_of_duckdb() -> frozenset[str]:
    """Return the names of this DuckDB's settings; 1.4.0 lacks `write_buffer_row_group_count`."""
    with duckdb_module.connect() as connection:
        return frozenset(
            name for (name,) in connection.sql("FROM duckdb_settings() SELECT name").fetchall()
        )


class _LimitedSqlClient(DuckDbSqlClient):
    """Opens a database with the limit, and lifts it for statements that need more."""

    _has_begun = False

    def limit_memory(self) -> None:
        """Limit the memory of later connections, unless the user sets a limit."""
        credentials: Any = self.credentials
        database = str(credentials.database)
        if (
            database in _unlimited
            or "://" in database
            or database.startswith(("md:", ":"))
            or credentials.external_conn() is not None
            or limit_of_user(credentials)
        ):
            return
        settings = global_config_of(self)
        settings["memory_limit"] = f"{_room.get(database, default_limit())}B"
        # These settings win over those of the user's connection, so the user's are left out.
        ours = _settings_of_duckdb().difference(credentials.global_config or {})
        settings.update((name, value) for name, value in _KEEPS_LITTLE if name in ours)

    def open_connection(self) -> duckdb_module.DuckDBPyConnection:
        """Open a connection, without a limit that another connection has lifted."""
        if str(self.credentials.database) in _unlimited:
            global_config_of(self).pop("memory_limit", None)
        return super().open_connection()

    @contextlib.contextmanager
    def begin_transaction(self) -> Iterator[Any]:
        """Run the block in a transaction."""
        self._has_begun = True
        try:
            with super().begin_transaction() as transaction:
                yield transaction
        finally:
            self._has_begun = False

    @contextlib.contextmanager
    def execute_query(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run a query, and run it again without the limit if it needs more memory.

        A transaction fails as a whole; dlt then runs its job again.
        """
        with contextlib.ExitStack() as opened:
            try:
                cursor = opened.enter_context(super().execute_query(query, *args, **kwargs))
            except DatabaseTransientException as error:
                fits = not isinstance(error.dbapi_exception, duckdb_module.OutOfMemoryException)
                if fits or not self._lift() or self._has_begun:
                    raise
                cursor = opened.enter_context(super().execute_query(query, *args, **kwargs))
            yield cursor

    def execute_many(self, statements: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Run statements, without the limit if they read tables, as a merge does."""
        if any("SELECT" in statement.upper() for statement in statements):
            self._lift()
        return super().execute_many(statements, *args, **kwargs)

    def _lift(self) -> bool:
        if global_config_of(self).pop("memory_limit", None) is None:
            return False
        _unlimited.add(str(self.credentials.database))
        # RESET changes the limit that DuckDB reports, but not the limit that it applies.
        with duckdb_module.connect() as fresh, self.native_connection.cursor() as session:
            [(own,)] = fresh.sql("SELECT current_setting('memory_limit')").fetchall()
            session.execute("SET GLOBAL memory_limit = ?", (own,))
        return True


class _LimitedClient(DuckDbClient):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sql_client.__class__ = _LimitedSqlClient
        self.sql_client.limit_memory()


class LimitedDuckDb(duckdb):
    """dlt's `duckdb`, with a limit on the memory of a load."""

    @property
    def destination_type(self) -> str:
        """Return dlt's name of the type, so that existing pipelines keep their state."""
        return "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        """Return the client that limits the memory."""
        return _LimitedClient


def make_room(pipeline: Any, load_id: str, rows: Mapping[str, int | None]) -> None:
    """Raise the limit for a package whose row groups are large enough for a thread each.

    Args:
        pipeline: The pipeline that loads the package.
        load_id: The normalized package.
        rows: Its rows by table; None for tables whose rows were not counted.
    """
    large = {table for table, count in rows.items() if count is None or count * 2 > ROW_GROUP}
    if not large or not isinstance(pipeline.destination, LimitedDuckDb):
        return
    needed = max((_room_for(path) for path in parquet_files(pipeline, load_id, large)), default=0)
    database = str(pipeline.destination_client().sql_client.credentials.database)
    _room[database] = min(max(needed, _room.get(database, default_limit())), _MOST_ROOM)


def _room_for(path: str) -> int:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(path)
    sizes = (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    groups: int = sum(size * 2 > ROW_GROUP for size in sizes)
    columns: int = metadata.num_columns
    return _BYTES_PER_COLUMN * columns * min(groups, os.cpu_count() or 1)
