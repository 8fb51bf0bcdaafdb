"""dlt's DuckDB destination, made to load any number of rows with the same memory.

DuckDB keeps what it writes, and the files that it reads, in memory, up to four fifths of the
machine's. Copying files into tables writes each row once and reads no file twice, so that a small
limit costs no time. Files whose row groups are as large as DuckDB's are copied by several threads
at once, and get what those need. A merge joins tables, and has DuckDB's own limit from its start;
any other statement that needs more is run again without ours.
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

from loadsmith.engine.dlt_hooks import parquet_files
from loadsmith.engine.normalizing import ROW_GROUP

#: Bytes for each thread of DuckDB's, which works at one row group in each of them.
LIMIT_PER_THREAD = 40_000_000
_LEAST_LIMIT = 80_000_000

#: Bytes for each column that a thread writes whole row groups of: with less, threads wait for one
#: another (6, 12 and 24 columns were tried).
_BYTES_PER_COLUMN = 10_000_000
_MOST_ROOM = 4_000_000_000

#: Databases that a statement in this process has needed more for.
_unlimited: set[str] = set()

#: Bytes for databases that large row groups were copied into by this process.
_room: dict[str, int] = {}


def default_limit() -> int:
    """Return the bytes that DuckDB may use in a load where the user says nothing."""
    return max(_LEAST_LIMIT, LIMIT_PER_THREAD * (os.cpu_count() or 1))


def limit_of_user(credentials: Any) -> str | None:
    """Return what the user's own settings of a connection say of DuckDB's memory, or None."""
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

#: Settings of what DuckDB keeps of files that it writes and reads, and of what it has freed.
_KEEPS_LITTLE = (
    ("write_buffer_row_group_count", 1),
    ("enable_external_file_cache", False),
    # 4 MB and more left the peak of a load of 900,000 rows where it was.
    ("allocator_bulk_deallocation_flush_threshold", "1MB"),
)


@cache
def _settings_of_duckdb() -> frozenset[str]:
    """Return the names of the settings that this DuckDB has; 1.4.0 buffers no row groups."""
    with duckdb_module.connect() as connection:
        return frozenset(
            name for (name,) in connection.sql("FROM duckdb_settings() SELECT name").fetchall()
        )


class _LimitedSqlClient(DuckDbSqlClient):
    """Opens a database with the limit, and lifts it for what does not fit."""

    _in_transaction = False

    def limit_memory(self) -> None:
        """Limit what the connections that are opened from here on keep, unless the user does."""
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
        self._global_config["memory_limit"] = f"{_room.get(database, default_limit())}B"
        # What dlt is given here wins over what the user's connection says.
        ours = _settings_of_duckdb().difference(credentials.global_config or {})
        self._global_config |= {name: value for name, value in _KEEPS_LITTLE if name in ours}

    def open_connection(self) -> duckdb_module.DuckDBPyConnection:
        """Open a connection; the limit that another one has lifted is not set again."""
        if str(self.credentials.database) in _unlimited:
            self._global_config.pop("memory_limit", None)
        return super().open_connection()

    @contextlib.contextmanager
    def begin_transaction(self) -> Iterator[Any]:
        """Run the block in a transaction."""
        self._in_transaction = True
        try:
            with super().begin_transaction() as transaction:
                yield transaction
        finally:
            self._in_transaction = False

    @contextlib.contextmanager
    def execute_query(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run a query, and again without the limit where it does not fit.

        A transaction fails as a whole; dlt runs a job again whose transaction failed.
        """
        with contextlib.ExitStack() as opened:
            try:
                cursor = opened.enter_context(super().execute_query(query, *args, **kwargs))
            except DatabaseTransientException as error:
                fits = not isinstance(error.dbapi_exception, duckdb_module.OutOfMemoryException)
                if fits or not self._lift() or self._in_transaction:
                    raise
                cursor = opened.enter_context(super().execute_query(query, *args, **kwargs))
            yield cursor

    def execute_many(self, statements: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Run statements; those that read tables are a merge, or put staged rows in place."""
        if any("SELECT" in statement.upper() for statement in statements):
            self._lift()
        return super().execute_many(statements, *args, **kwargs)

    def _lift(self) -> bool:
        if self._global_config.pop("memory_limit", None) is None:
            return False
        _unlimited.add(str(self.credentials.database))
        # RESET would change what DuckDB says of its limit, and not the limit.
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
    """dlt's `duckdb`, with a limit on what a load keeps in memory."""

    @property
    def destination_type(self) -> str:
        """Return dlt's own name: pipelines go on with the state that they have."""
        return "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        """Return the client that limits the memory."""
        return _LimitedClient


def make_room(pipeline: Any, load_id: str, rows: Mapping[str, int | None]) -> None:
    """Raise the limit for a package with row groups that are large enough for a thread each.

    Args:
        pipeline: The pipeline that loads it.
        load_id: The package, which is normalized.
        rows: Its rows by table; None where nobody has counted them.
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
