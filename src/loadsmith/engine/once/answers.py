"""A load whose connection may break between a commit and its answer in, each row once out.

dlt does a job again whose answer did not come, and cannot know that the database has done it. So
the destination is asked: before such a job is done again, before what was loaded is merged, and
before the package is marked as loaded. Where it holds more than it should, what the package has
appended is removed and the package is loaded from its start. A load in which no job had to be
done again asks nothing.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from dlt.common.destination.exceptions import DestinationTransientException
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.dlt_hooks import (
    archive_package,
    jobs_of,
    list_normalized,
    package_tables,
    rewind_package,
    watched_load,
)
from loadsmith.engine.locks import retry
from loadsmith.engine.once.dataset_lock import is_in_flight
from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.ledger import Ledger, open_ledger
from loadsmith.engine.once.ledger_sql import SqlLedger
from loadsmith.engine.once.rows_held import RowsHeld, can_begin_anew
from loadsmith.engine.once.undo_sql import UNDEFINED
from loadsmith.errors import LoadsmithError, RunError, causes_of

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

T = TypeVar("T")

#: Times that a package is loaded, and a statement is sent, until the answer is there.
_TRIES = 3

#: Seconds before the second try, and twice as many before the third.
_PAUSE_SECONDS = 0.2

_SQL = "sql"


def until_answered(action: Callable[[], T], log: Callable[[str], None]) -> T:
    """Do what may be done twice, and again where the connection breaks before the answer."""

    def is_transient(error: Exception) -> bool:
        if not isinstance(error, DatabaseTransientException):
            return False
        log(f"the destination did not answer ({type(error.dbapi_exception).__name__}); again")
        return True

    return retry(action, tries=_TRIES, pause=_PAUSE_SECONDS, may_help=is_transient)


def ask_ledger(workspace: "Workspace", action: Callable[[Ledger], None]) -> None:
    """Do with the ledger what may be done twice, where the destination has one."""

    def ask() -> None:
        with open_ledger(workspace) as ledger:
            if ledger is not None:
                action(ledger)

    until_answered(ask, workspace.request.log)


def write_down(workspace: "Workspace", entries: Sequence[LedgerEntry]) -> None:
    """Write packages into the ledger, each once.

    Raises:
        PipelineStepFailed: The destination cannot be written to.
    """
    tried = False

    def write(ledger: Ledger) -> None:
        nonlocal tried
        if tried:
            with contextlib.suppress(*UNDEFINED):
                ledger.strike(entries)
        tried = True
        ledger.write(entries)

    with _failing_as_load(workspace, entries):
        ask_ledger(workspace, write)


def load_each_once(
    workspace: "Workspace",
    entries: Sequence[LedgerEntry],
    load: Callable[[], Any],
    *,
    name: str,
) -> list[Any]:
    """Load packages that are in the ledger, from their start where an answer was lost.

    Args:
        workspace: Where to.
        entries: The packages.
        load: Loads all that is pending with dlt, once.
        name: What the load is called.

    Returns:
        What dlt says of each load.

    Raises:
        PipelineStepFailed: What `load` raises, where loading again is of no use.
    """
    client = workspace.client()
    if isinstance(client, FSClientBase) or not isinstance(client, WithSqlClient):
        return [load()]
    infos: list[Any] = []
    for attempt in range(1, _TRIES + 1):
        answers = _Answers(workspace, entries, name)
        try:
            with watched_load(answers), _failing_as_load(workspace, entries):
                infos.append(load())
        except PipelineStepFailed as error:
            if attempt == _TRIES or not answers.were_lost(error):
                raise
            done = getattr(error.step_info, "load_packages", None) or ()
            infos.append(
                SimpleNamespace(load_packages=[one for one in done if one.state == "loaded"])
            )
            try:
                is_put_back = _put_back(workspace, entries)
            except DestinationTransientException:
                is_put_back = False
            if not is_put_back:
                raise
            reason = answers.told or f"the load broke off ({type(error.exception).__name__})"
            workspace.request.warn(
                f"{reason}; what package {', '.join(sorted(entry.load_id for entry in entries))}"
                " had appended was removed, and it is loaded again from its start"
            )
        else:
            return infos
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _failing_as_load(workspace: "Workspace", entries: Sequence[LedgerEntry]) -> Iterator[None]:
    """Say of what fails in the block, whatever the driver's words are, that it was the load."""
    try:
        yield
    except (InterruptedError, LoadsmithError, PipelineStepFailed):
        raise
    except Exception as error:
        load_id = entries[0].load_id
        raise PipelineStepFailed(workspace.pipeline, "load", load_id, error) from error


def _put_back(workspace: "Workspace", entries: Sequence[LedgerEntry]) -> bool:
    """Remove what packages have appended and put them back to where they began.

    Returns:
        Whether all of it could be removed.
    """
    kept: list[LedgerEntry] = []
    committed: set[str] = set()

    def undo(ledger: Ledger) -> None:
        kept.clear()
        for entry in entries:
            if ledger.is_committed(entry.load_id):
                committed.add(entry.load_id)
                continue
            if ledger.undo(entry) is None:
                kept.append(entry)
                continue
            # An undo says of an entry that nobody writes it any more.
            ledger.strike([entry])
            ledger.write([entry])

    ask_ledger(workspace, undo)
    if kept:
        return False
    for load_id in list_normalized(workspace.pipeline):
        finish = archive_package if load_id in committed else rewind_package
        finish(workspace.pipeline, load_id)
    return True


class _Answers:
    """Compares the rows of jobs that were done more than once with what the destination holds.

    Attributes:
        told: What was found, for people; None where nothing is there too often.
    """

    def __init__(self, workspace: "Workspace", entries: Sequence[LedgerEntry], name: str) -> None:
        self._workspace = workspace
        self._name = name
        self._pipeline = workspace.pipeline
        self._entries = {entry.load_id: entry for entry in entries}
        # Tables of jobs that were done more than once, and of those that move what others loaded.
        self._repeated: defaultdict[str, set[str]] = defaultdict(set)
        self._moved_again: defaultdict[str, set[str]] = defaultdict(set)
        self.told: str | None = None

    def before_repeat(self, load_id: str, job: ParsedLoadJobFileName) -> None:
        """See `LoadWatch`."""
        if not job.table_name.startswith("_dlt_"):
            kind = self._moved_again if job.file_format == _SQL else self._repeated
            kind[load_id].add(job.table_name)
        # Where nobody answers, the job will not get through either, and is looked at later.
        with contextlib.suppress(DestinationTransientException):
            self._look(load_id, lambda rows: self._look_before_repeat(rows, job))

    def before_followup(self, load_id: str, table: str) -> None:
        """See `LoadWatch`."""
        repeated = self._repeated[load_id]
        if repeated:
            self._look(load_id, lambda rows: self._look_at_staged(rows, repeated, table))

    def before_commit(self, load_id: str) -> None:
        """See `LoadWatch`."""
        repeated, moved = self._repeated[load_id], self._moved_again[load_id]
        if repeated or moved:
            self._look(load_id, lambda rows: self._look_at_loaded(rows, repeated, moved))
        if not is_in_flight(self._workspace):
            # An undo of another load may have taken nested rows for those of a dead one.
            appended = [one.name for one in self._entries[load_id].tables if one.appended]
            self._look(load_id, lambda rows: self._compare_exactly(rows, appended))

    def is_committed(self, load_id: str) -> bool:
        """See `LoadWatch`."""

        def ask() -> bool:
            # The client of the workspace holds the dataset meanwhile.
            with self._pipeline.destination_client() as client:
                return SqlLedger(client, self._workspace).is_committed(load_id)

        return until_answered(ask, self._workspace.request.log)

    def were_lost(self, error: BaseException) -> bool:
        """Tell whether loading the packages again from their start may end better."""
        if self.told is not None:
            return True
        chain = list(causes_of(error))
        if not any(isinstance(cause, LoadClientJobException) for cause in chain):
            return any(isinstance(cause, DestinationTransientException) for cause in chain) and all(
                can_begin_anew(self._pipeline, load_id) for load_id in self._pending()
            )
        # A job may be refused because it was done before.
        try:
            return any(self._was_done(load_id) for load_id in self._pending())
        except DestinationTransientException:
            return False

    def _look_before_repeat(self, rows: RowsHeld, job: ParsedLoadJobFileName) -> None:
        table = job.table_name
        if table == rows.schema.state_table_name:
            rows.forget_state()
        elif table.startswith("_dlt_"):
            return
        elif job.file_format != _SQL:
            held, known = rows.before(table), rows.of_jobs(table)
            if held is not None and known is not None and held > known:
                self._stop(rows, table, held, known)
        # A merge by key may be done twice.
        elif not rows.is_merged(table) and (held := rows.loaded(table)):
            self._stop(rows, table, held, 0)

    def _look_at_staged(self, rows: RowsHeld, repeated: set[str], table: str) -> None:
        for name in sorted(repeated.intersection(rows.chain(table))):
            if rows.is_staged(name):
                self._compare_with_package(rows, name, rows.staged(name))

    def _look_at_loaded(self, rows: RowsHeld, repeated: set[str], moved: set[str]) -> None:
        for name in sorted(repeated):
            if not rows.is_merged(name):
                self._compare_with_package(rows, name, rows.loaded(name))
        for root in sorted(moved):
            if not rows.is_merged(root):
                self._compare_exactly(rows, rows.chain(root))

    def _compare_exactly(self, rows: RowsHeld, tables: Sequence[str]) -> None:
        for name in tables:
            held, wanted = rows.loaded(name), rows.of_package(name)
            if held is not None and held != wanted:
                self._stop(rows, name, held, wanted)

    def _compare_with_package(self, rows: RowsHeld, table: str, held: int | None) -> None:
        most = rows.of_package(table)
        if held is not None and (most is None or held > most):
            self._stop(rows, table, held, most)

    def _stop(self, rows: RowsHeld, table: str, held: int, wanted: int | None) -> None:
        """End the load, for a table does not hold what it should.

        Raises:
            RunError: Always; it is shown where loading again has not helped.
        """
        self.told = (
            f"the answer to a commit was lost: table '{table}' holds {held} rows of package"
            f" {rows.load_id}, not {'a number that is known' if wanted is None else wanted}"
        )
        raise RunError(
            f"load '{self._name}', load, table '{table}': {self.told}. What the package has"
            " appended is removed. Check the connection to the destination and run again.",
            stage="load",
            load=self._name,
            table=table,
        )

    def _look(self, load_id: str, look: Callable[[RowsHeld], T]) -> T | None:
        """Look at the destination; None where a package could not be begun anew anyway."""
        if not can_begin_anew(self._pipeline, load_id):
            return None

        def ask() -> T:
            schema, _ = package_tables(self._pipeline, load_id)
            # Not the client of the workspace, which holds the dataset meanwhile.
            with self._pipeline.destination_client(schema.name) as client:
                return look(RowsHeld(client, self._pipeline, schema, self._entries[load_id]))

        return until_answered(ask, self._workspace.request.log)

    def _pending(self) -> list[str]:
        return [one for one in list_normalized(self._pipeline) if one in self._entries]

    def _was_done(self, load_id: str) -> bool:
        """Tell whether a job was refused that the destination has rows of."""
        refused = {
            job.table_name
            for job in jobs_of(self._pipeline, load_id)["new_jobs"]
            if job.retry_count > 1 and job.file_format != _SQL
        }

        def look(rows: RowsHeld) -> bool:
            return any((rows.before(name) or 0) > (rows.of_jobs(name) or 0) for name in refused)

        return bool(refused and self._look(load_id, look))
