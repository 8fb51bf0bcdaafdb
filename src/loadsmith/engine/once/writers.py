"""An undo that others are in the way of: who they are, and the wait until they have ended."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from loadsmith.engine.once.entry import LedgerEntry, LedgerTable, has_ended

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


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
    if not wait and holder() is not None:
        return False
    workspace.wait_until_free(what, holder)
    return True
