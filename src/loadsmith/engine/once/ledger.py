"""The ledger: which loads have begun and were not reported yet, kept in the dataset itself.

A load is written down before its first row is, and struck out when Dagster has its events. What
the next run of the same load and partition finds there was left by a run that died: rows of a
package that never got into dlt's `_dlt_loads` are removed, and a package that did is reported.
Claims stand beside it; see `claim`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.engine.dlt_hooks import Fence
from loadsmith.engine.once.claim import Claims
from loadsmith.engine.once.entry import LedgerEntry, Removal
from loadsmith.engine.once.ledger_files import FileLedger
from loadsmith.engine.once.ledger_sql import SqlLedger
from loadsmith.model import Window

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class Ledger(Claims, Protocol):
    """What a destination that can be read offers; see the module.

    Attributes:
        client: The open client of the destination.
    """

    client: Any

    def prepare(self) -> None:
        """Make the tables or the folder of the ledger, and add what 0.1 has not."""

    def entries(self, *scopes: str) -> list[LedgerEntry]:
        """Return what is written down of slices, in the order of writing.

        Whether dlt counts them as loaded is not looked for; see `is_committed`.
        """

    def entries_below(self, prefix: str) -> list[LedgerEntry]:
        """Return what is written down of all slices whose scope begins with a prefix."""

    def is_committed(self, load_id: str) -> bool:
        """Tell whether dlt counts the package as loaded."""

    def write(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """Write down packages before their first row is loaded; return them with their numbers.

        Packages that are there already are written anew.
        """

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """Strike out packages."""

    def retire(self, entry: LedgerEntry) -> None:
        """Strike out a package of another attempt that was undone, as soon as nothing follows."""

    def change(self, entry: LedgerEntry) -> None:
        """Write what is said of a package anew; its number stays."""

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """Remove what a package left in its tables; return the number of rows or files.

        None where other loads write at the moment and `wait` is False: not all is removed then.
        """

    def forget_jobs(self, load_id: str) -> None:
        """Strike out the jobs of a package, which is marked or undone."""

    def remove(self, removal: Removal) -> dict[str, int]:
        """Remove rows that a package replaces; return the number of rows or files by table."""

    def rows_of(self, table: str) -> int | None:
        """Return the number of rows of a table, 0 where there is none; None if nobody can tell."""

    def has_table(self, table: str) -> bool:
        """Tell whether the schema of the pipeline has a table."""

    def bounds_of(self, table: str, path: str, window: Window) -> tuple[str, str, str] | None:
        """Return the column of a cursor and its bounds in SQL; None where that cannot be told.

        Args:
            table: A root table.
            path: Path of the cursor.
            window: The window that the bounds are of.
        """

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        """Do the block as a whole or not at all, where the destination can."""

    def fence(self, lose: Callable[[], Exception], mark: Callable[[Any, str], None]) -> Fence:
        """Return what asks for the claim of this run before anything is changed.

        Args:
            lose: Takes notice that the claim is gone; returns the error to raise.
            mark: Marks a package with a client that is open.
        """

    def clear_staging(self, token: str) -> None:
        """Drop the staging dataset of an attempt."""


@contextlib.contextmanager
def open_ledger(workspace: "Workspace") -> Iterator[Ledger | None]:
    """Open the ledger in the pipeline's dataset; None where the destination cannot be read."""
    client: Any = workspace.client()
    if not _is_kept_by(client):
        yield None
        return
    with workspace.open_client() as opened:
        yield ledger_of(opened, workspace)


def ledger_of(client: Any, workspace: "Workspace") -> Ledger:
    """Return the ledger that an open client leads to."""
    return (FileLedger if isinstance(client, FSClientBase) else SqlLedger)(client, workspace)


def _is_kept_by(client: Any) -> bool:
    return isinstance(client, FSClientBase | WithSqlClient)
