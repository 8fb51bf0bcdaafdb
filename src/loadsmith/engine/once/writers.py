"""An undo that others are in the way of: who they are, and the wait until they have ended."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from loadsmith.engine.once.claim import Claims, is_given_up
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


def writers_to(
    tables: Sequence[LedgerTable],
    claims: Claims,
    entries_of: Callable[[str], Sequence[LedgerEntry]],
    workspace: "Workspace",
) -> list[LedgerEntry]:
    """Return the packages of other loads that may be written to the tables at this moment.

    An attempt that was given up writes no more once its claim is gone, so that it is taken away.

    Args:
        tables: The tables that are asked about.
        claims: Those of all loads.
        entries_of: Returns the entries of a scope.
        workspace: That of the load that asks.
    """
    names = {table.name for table in tables}
    found = []
    for one in claims.claims():
        claim = one.claim
        if claim.scope in workspace.names.scopes:
            continue
        if is_given_up(one, workspace.request):
            claims.remove_claim(claim)
            continue
        found += [
            entry
            for entry in entries_of(claim.scope)
            if entry.token == claim.token
            and not (entry.reported or entry.marked)
            and not names.isdisjoint(table.name for table in entry.tables)
        ]
    return found


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
