"""One run of a load at a time, on whichever machines they are.

On one machine a lock file keeps two runs of the same load and partition apart (`workspace`). For
others, a run writes into the ledger that it has begun, before it reads a cursor, and strikes that
out when it has ended. Whoever finds it there waits as long as Dagster counts the other run as
running. A database file with one writer is on one machine.
"""

import random
import time
import uuid
from collections.abc import Sequence

from loadsmith.engine.once.entry import CLAIM, LedgerEntry, goes_on, this_process
from loadsmith.engine.once.ledger import Ledger
from loadsmith.engine.workspace import Workspace
from loadsmith.model import RunRequest

#: Seconds at most until a run looks again that began in the same moment as another one.
_MOST_JITTER = 0.5


class Turn:
    """The turn of this run.

    Attributes:
        claim: What says in the ledger that this run has begun, or may do so; None where nothing
            does.
    """

    def __init__(self, workspace: Workspace, request: RunRequest) -> None:
        self._workspace = workspace
        self._request = request
        self.claim: LedgerEntry | None = None

    def holder(self, entries: Sequence[LedgerEntry]) -> str | None:
        """Return whose turn it is, or None where it is nobody's.

        Args:
            entries: What the ledger says of this load.
        """
        others = {
            f"run {entry.run_id} on {entry.process.rpartition(':')[0]}"
            for entry in entries
            if not entry.reported
            and entry.run_id != self._request.run_id
            and goes_on(entry, self._request)
        }
        return ", ".join(sorted(others)) or None

    def take(self, ledger: Ledger) -> str | None:
        """Take the turn; return who has it instead, where somebody was as quick."""
        if self._workspace.traits.single_writer:
            return None
        if self.claim is None:
            self.claim = self._new_claim()
        else:
            # The answer to an earlier try was lost, and what it wrote may be there.
            ledger.strike([self.claim])
        ledger.write([self.claim])
        scopes = self._workspace.names.scopes
        found = self.holder([entry for scope in scopes for entry in ledger.written(scope)])
        if found is None:
            return None
        # Both see one another then, and both step back.
        self.give_back(ledger)
        time.sleep(random.uniform(0, _MOST_JITTER))  # noqa: S311 - no secret
        return found

    def _new_claim(self) -> LedgerEntry:
        request = self._request
        return LedgerEntry(
            load_id=f"{CLAIM}{uuid.uuid4().hex}",
            scope=self._workspace.scope,
            run_id=request.run_id,
            root_run_id=request.root_run_id or request.run_id,
            attempt=request.attempt,
            process=this_process(),
        )

    def give_back(self, ledger: Ledger) -> None:
        """Strike out that this run has begun."""
        if self.claim is not None:
            ledger.strike([self.claim])
            self.claim = None
