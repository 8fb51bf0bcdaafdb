"""The ledger: which loads have begun and were not reported yet, kept in the dataset itself.

A load is written down before its first row is, and struck out when Dagster has its events. What
the next run of the same load and partition finds there was left by a run that died: rows of a
package that never got into dlt's `_dlt_loads` are removed, and a package that did is reported.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.ledger_files import FileLedger
from loadsmith.engine.once.ledger_sql import SqlLedger

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class Ledger(Protocol):
    """What a destination that can be read offers; see the module."""

    def written(self, scope: str) -> list[LedgerEntry]:
        """Return what is written down of a load, without a look at what dlt counts as loaded."""

    def entries(self, scope: str) -> list[LedgerEntry]:
        """Return the packages of a load that are written down, the oldest first."""

    def is_committed(self, load_id: str) -> bool:
        """Tell whether dlt counts the package as loaded."""

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """Write down packages before their first row is loaded."""

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """Strike out packages that were undone."""

    def report(self, entry: LedgerEntry) -> None:
        """Write down that a package was reported; its entry stays."""

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """Remove what a package left in its tables; return the number of rows or files.

        None where other loads write at the moment and `wait` is False: not all is removed then.
        """

    def clear_staging(self) -> None:
        """Drop the staging dataset of this load alone; see `workspace`."""


@contextlib.contextmanager
def open_ledger(workspace: "Workspace") -> Iterator[Ledger | None]:
    """Open the ledger in the pipeline's dataset; None where the destination cannot be read."""
    client: Any = workspace.client()
    ledger: type[FileLedger] | type[SqlLedger] | None = None
    if isinstance(client, FSClientBase):
        ledger = FileLedger
    elif isinstance(client, WithSqlClient):
        ledger = SqlLedger
    if ledger is None:
        yield None
        return
    with workspace.open_client() as opened:
        yield ledger(opened, workspace)
