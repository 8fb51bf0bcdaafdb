"""A load whose connection may break between a commit and its answer in, each row once out.

Statements of the ledger may be sent twice. The mark of a package is looked for, and a job that was
committed is not done again.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from dlt.common.destination.exceptions import DestinationTransientException
from dlt.destinations.exceptions import DatabaseException, DatabaseTransientException
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.locks import retry
from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.ledger import Ledger, ledger_of, open_ledger
from loadsmith.engine.once.reload import finish_replacing
from loadsmith.engine.once.undo_sql import is_lock_of_another
from loadsmith.errors import LoadsmithError, causes_of
from loadsmith.model import RunRequest

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

T = TypeVar("T")

#: Times that a package is loaded, and a statement is sent, until the answer is there.
_TRIES = 3

#: Seconds before the second try, and twice as many before the third.
_PAUSE_SECONDS = 0.2


def until_answered(action: Callable[[], T], request: RunRequest) -> T:
    """Do what may be done twice, and again where the connection breaks before the answer."""

    def is_transient(error: Exception) -> bool:
        if request.cancelled():
            return False
        # dlt takes an error for final if a word in the parameters of the statement sounds like it.
        if not isinstance(error, DatabaseException) or not (
            isinstance(error, DatabaseTransientException) or is_lock_of_another(error)
        ):
            return False
        request.log(
            f"the destination did not answer ({type(error.dbapi_exception).__name__}); again"
        )
        return True

    return retry(action, tries=_TRIES, pause=_PAUSE_SECONDS, may_help=is_transient)


def ask_ledger(workspace: "Workspace", action: Callable[[Ledger], None]) -> None:
    """Do with the ledger what may be done twice, where the destination has one."""

    def ask() -> None:
        with open_ledger(workspace) as ledger:
            if ledger is not None:
                action(ledger)

    until_answered(ask, workspace.request)


def write_down(
    workspace: "Workspace",
    entries: Sequence[LedgerEntry],
    beside: Callable[[Ledger, Sequence[LedgerEntry]], None],
) -> list[LedgerEntry]:
    """Write packages into the ledger, each once; return them with their numbers.

    Args:
        workspace: Where to.
        entries: The packages.
        beside: Writes what belongs to the packages in the same transaction.

    Raises:
        PipelineStepFailed: The destination cannot be written to.
    """
    written: list[LedgerEntry] = []

    def write(ledger: Ledger) -> None:
        with ledger.transaction():
            written[:] = ledger.write(entries)
            beside(ledger, written)

    with _failing_as_load(workspace, entries[0].load_id):
        ask_ledger(workspace, write)
    return written


def mark(
    workspace: "Workspace", client: Any, entry: LedgerEntry, record: LedgerEntry | None
) -> LedgerEntry:
    """Mark a package as loaded and say so in the ledger, in one transaction, where there are any.

    What the package replaces is removed in the same transaction; without transactions, the next
    run finishes that. A mark whose answer was lost is looked for, and made where it is missing.

    Args:
        workspace: Where to.
        client: An open client that knows the claim of this run.
        entry: The package.
        record: The ledger's record that the package holds a partition, where it does.

    Returns:
        The entry as it stands in the ledger.
    """
    opened = [client]
    marked: list[LedgerEntry] = []

    def write() -> None:
        with contextlib.ExitStack() as stack:
            if not opened:
                fresh = workspace.pipeline.destination.client(client.schema, client.config)
                opened.append(stack.enter_context(fresh))
            own = opened.pop()
            ledger = ledger_of(own, workspace)
            with ledger.transaction():
                if not ledger.is_committed(entry.load_id):
                    own.complete_unasked(entry.load_id)
                    if record is not None:
                        ledger.write([record])
                marked[:] = [replace(finish_replacing(ledger, entry), marked=True)]
                ledger.change(marked[0])
                ledger.forget_jobs(entry.load_id)

    until_answered(write, workspace.request)
    return marked[0]


def load_each_once(workspace: "Workspace", load: Callable[[], Any], load_id: str) -> list[Any]:
    """Load what is pending, and go on where the connection broke outside of a job.

    A job that was done is not done again: it is written down in the transaction that it commits
    in; see `SqlFence`.

    Args:
        workspace: Where to.
        load: Loads all that is pending with dlt, or goes on with it.
        load_id: A package, for errors.

    Returns:
        What dlt says of each load.

    Raises:
        PipelineStepFailed: What `load` raises, where going on is of no use.
    """
    infos: list[Any] = []

    def go_on() -> None:
        with _failing_as_load(workspace, load_id):
            infos.append(load())

    def is_cut_off(error: Exception) -> bool:
        causes = list(causes_of(error))
        if (
            workspace.request.cancelled()
            or any(isinstance(one, LoadClientJobException) for one in causes)
            or not any(isinstance(one, DestinationTransientException) for one in causes)
        ):
            return False
        done = getattr(getattr(error, "step_info", None), "load_packages", None) or ()
        infos.append(SimpleNamespace(load_packages=[one for one in done if one.state == "loaded"]))
        workspace.request.log("the connection broke while the package was loaded; it goes on")
        return True

    retry(go_on, tries=_TRIES, pause=_PAUSE_SECONDS, may_help=is_cut_off)
    return infos


@contextlib.contextmanager
def _failing_as_load(workspace: "Workspace", load_id: str) -> Iterator[None]:
    """Say of what fails in the block, whatever the driver's words are, that it was the load."""
    try:
        yield
    except (InterruptedError, LoadsmithError, PipelineStepFailed):
        raise
    except Exception as error:
        raise PipelineStepFailed(workspace.pipeline, "load", load_id, error) from error
