"""An undo that others are in the way of: who they are, and the wait until they have ended."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from loadsmith.engine.attempts import has_ended
from loadsmith.engine.ledger_entry import LedgerEntry, LedgerTable
from loadsmith.engine.locks import REPORT_SECONDS
from loadsmith.model import Wait

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

#: Seconds between two looks at what others hold.
_LOOK_SECONDS = 0.5


def writers_to(
    tables: Sequence[LedgerTable],
    entries: Iterable[LedgerEntry],
    workspace: "Workspace",
    is_committed: Callable[[str], bool],
) -> list[LedgerEntry]:
    """Return the packages of other loads that may be written to the tables at this moment.

    Args:
        tables: The tables that are asked about.
        entries: What the ledger says of all loads.
        workspace: That of the load that asks.
        is_committed: Tells whether dlt counts a package as loaded.
    """
    names = {table.name for table in tables}
    return [
        entry
        for entry in entries
        if entry.scope != workspace.scope
        and not entry.reported
        and not entry.abandoned
        and not names.isdisjoint(table.name for table in entry.tables)
        and not has_ended(entry, workspace.request)
        and not is_committed(entry.load_id)
    ]


def wait_for_writers(
    table: str,
    entry: LedgerEntry,
    writers: Callable[[], Sequence[LedgerEntry]],
    workspace: "Workspace",
    *,
    wait: bool,
) -> bool:
    """Wait until those who write to a table at this moment have ended, for a dead load's rows.

    Whoever begins later has written none of the rows that were seen before.

    Returns:
        Whether that is so; False where somebody writes and is not to be waited for.
    """
    first = {other.load_id for other in writers()}

    def holder() -> str | None:
        left = [other for other in writers() if other.load_id in first]
        return ", ".join(f"run {other.run_id} of {other.scope}" for other in left) or None

    what = f"the table {table}, for rows of the dead run {entry.run_id} are in it"
    return wait_until_free(what, holder, workspace, wait=wait)


def wait_until_free(
    what: str, ask: Callable[[], str | None], workspace: "Workspace", *, wait: bool
) -> bool:
    """Ask who holds something until nobody does; the wait and its reason are logged.

    Returns:
        Whether nobody holds it; False where somebody does and is not to be waited for.

    Raises:
        InterruptedError: The run was cancelled meanwhile.
    """
    log = workspace.request.log
    started = time.monotonic()
    reported = -REPORT_SECONDS
    holder: str | None = None
    while (found := ask()) is not None:
        if not wait:
            return False
        holder = found
        waited = time.monotonic() - started
        if waited - reported >= REPORT_SECONDS:
            reported = waited
            log(f"waiting for {what}, held by {holder} ({waited:.0f} s so far)")
        if workspace.request.cancelled():
            raise InterruptedError(f"cancelled while waiting for {what}")
        time.sleep(_LOOK_SECONDS)
    if holder is not None:
        seconds = time.monotonic() - started
        log(f"got {what} after {seconds:.1f} s; it was held by {holder}")
        workspace.waits.append(Wait(lock=what, seconds=round(seconds, 3), holder=holder))
    return True
