"""A destination in, the same one out whose load commits only while the claim of its run is there.

An attempt that was given up may go on: its worker was not told, or its machine stood still. Whoever
takes over deletes the claim. So each transaction that changes rows reads the claim and locks it
until it commits, and each file and each commit of a table with a log is preceded by a look at it.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol, cast

from dlt.common.destination.client import RunnableLoadJob
from dlt.common.destination.exceptions import DestinationTransientException
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.job_client_impl import ModelLoadJob, SqlLoadJob
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.engine.dlt_hooks.sessions import noting_sql_client

if TYPE_CHECKING:
    from dlt.common.destination import AnyDestination


def is_sql(client: Any) -> bool:
    """Tell whether a destination is a database; dlt gives files a SQL client, too."""
    return isinstance(client, WithSqlClient) and not isinstance(client, FSClientBase)


def in_transaction(client: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the transaction to run a block in, where the destination has any.

    It begins with a look at the claim, where there is a fence.
    """
    caps = client.capabilities
    # dlt says nothing of either where it relies on what the database does by itself.
    has_any = caps.supports_transactions or caps.supports_ddl_transactions
    if isinstance(client, FSClientBase) or not has_any:
        fence: Fence | None = getattr(client, "fence", None)
        if fence is not None:
            fence.check(client)
        return contextlib.nullcontext()
    return cast("contextlib.AbstractContextManager[Any]", client.sql_client.begin_transaction())


#: A job of a package: load id, and dlt's name of the job.
JobName = tuple[str, str]


class LoadStopped(BaseException):
    """The run was cancelled, and no job is begun any more."""


class Fence(Protocol):
    """What a load asks before it changes anything; each raises where the claim is gone.

    Attributes:
        marked: The packages that were marked.
    """

    marked: set[str]

    def warn(self, line: str, /) -> None:
        """Tell what a job has changed of its rows."""

    def is_stopped(self) -> bool:
        """Tell whether the run was cancelled."""

    def hold(self, execute: Callable[[str], Any], job: JobName | None = None) -> None:
        """Lock the claim until the transaction ends in which `execute` runs a query.

        What says that a job is done is written in the same transaction.
        """

    def is_done(self, client: Any, job: JobName) -> bool:
        """Tell whether a job was committed, though its answer may have been lost."""

    def check(self, client: Any) -> None:
        """See that the claim is there."""

    def mark(self, client: Any, load_id: str) -> None:
        """Mark a package as loaded with `client.complete_unasked`, and say so in the ledger."""


def fenced(destination: "AnyDestination") -> "AnyDestination":
    """Return the destination with a place for a fence, which is open until one is set."""
    own: Any = copy(destination)
    own.__class__ = _fenced_destination(type(destination))
    own.fence = None
    own.sessions = set()
    return cast("AnyDestination", own)


def set_fence(destination: "AnyDestination", fence: Fence | None) -> None:
    """Let what the destination loads from here on ask `fence`; None asks nobody."""
    cast("Any", destination).fence = fence


def sessions_of(destination: "AnyDestination") -> set[int]:
    """Return the numbers of the database sessions that clients of the destination have open."""
    return set(cast("Any", destination).sessions)


@functools.cache
def _fenced_destination(base: Any) -> Any:
    class Fenced(base):  # type: ignore[misc]
        fence: Fence | None
        sessions: set[int]

        def client(self, schema: Any, initial_config: Any = None) -> Any:
            made = super().client(schema, initial_config)
            sql: Any = None
            if is_sql(made):
                sql = made.sql_client
                sql.__class__ = _called_like(sql.__class__, noting_sql_client(sql.__class__))
                sql.sessions = self.sessions
            if self.fence is None:
                return made
            made.__class__ = _fenced_client(made.__class__)
            made.fence = self.fence
            if sql is not None:
                sql.__class__ = _fenced_sql_client(sql.__class__)
                sql.fence = self.fence
            return made

    return _called_like(base, Fenced)


@functools.cache
def _fenced_client(base: Any) -> Any:
    class Fenced(base):  # type: ignore[misc]
        fence: Fence

        def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
            with in_transaction(self) if truncate_tables else contextlib.nullcontext():
                self.fence.check(self)
                super().initialize_storage(truncate_tables)

        def create_load_job(self, *args: Any, **kwargs: Any) -> Any:
            if self.fence.is_stopped():
                raise LoadStopped
            job: Any = super().create_load_job(*args, **kwargs)
            if isinstance(job, RunnableLoadJob):
                own: Any = job
                own.run = functools.partial(_run_fenced, job, self.fence, job.run)
            return job

        def complete_load(self, load_id: str) -> None:
            self.fence.mark(self, load_id)

        def complete_unasked(self, load_id: str) -> None:
            if isinstance(self, FSClientBase):
                # dlt makes the folder with the first load, and somebody may have removed it.
                folder = self.get_table_dir(self.schema.loads_table_name)
                self.fs_client.makedirs(folder, exist_ok=True)
            super().complete_load(load_id)

    return _called_like(base, Fenced)


@functools.cache
def _fenced_sql_client(base: Any) -> Any:
    class Fenced(base):  # type: ignore[misc]
        fence: Fence
        outer: Any = None
        job: JobName | None = None
        is_attaching = False

        # SQLite attaches and detaches the file that has the claims, in transactions of their own.
        def open_connection(self) -> Any:
            with self.attaching():
                return super().open_connection()

        def close_connection(self) -> None:
            with self.attaching():
                super().close_connection()

        @contextlib.contextmanager
        def attaching(self) -> Iterator[None]:
            self.is_attaching = True
            try:
                yield
            finally:
                self.is_attaching = False

        @contextlib.contextmanager
        def begin_transaction(self) -> Iterator[Any]:
            if self.outer is not None:
                yield self.outer
                return
            with super().begin_transaction() as transaction:
                if self.is_attaching:
                    yield transaction
                    return
                self.outer = transaction
                try:
                    self.fence.hold(self.execute_sql, self.job)
                    yield transaction
                finally:
                    self.outer = None

    return _called_like(base, Fenced)


def _called_like(base: type, made: type) -> type:
    # dlt tells destinations apart by the name of their class.
    made.__module__, made.__name__ = base.__module__, base.__name__
    made.__qualname__ = base.__qualname__
    return made


def name_of(job: Any) -> JobName:
    """Return the name of a job, which is the same however often it is tried."""
    return str(job._load_id), str(job.job_file_info().job_id())


def _run_fenced(job: Any, fence: Fence, run: Callable[[], None]) -> None:
    # The client that made the job is not the one that runs it.
    client = job._job_client
    fence.check(client)
    if isinstance(client, FSClientBase):
        _put_file(job, fence, client, run)
        return
    name = name_of(job)
    if fence.is_done(client, name):
        return
    client.sql_client.job = name
    has_own = not isinstance(job, ModelLoadJob | SqlLoadJob)
    try:
        with contextlib.nullcontext() if has_own else in_transaction(client):
            run()
    except Exception:
        client.sql_client.job = None
        if fence.is_stopped():
            raise
        with contextlib.suppress(DestinationTransientException):
            if fence.is_done(client, name):
                return
        raise


def _put_file(job: Any, fence: Fence, client: Any, run: Callable[[], None]) -> None:
    run()
    try:
        fence.check(client)
    except BaseException:
        # It came after the takeover, and nobody else knows of it.
        if job.job_file_info().file_format != "reference":
            client.fs_client.rm(job.make_remote_path())
        raise
