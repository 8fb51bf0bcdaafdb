"""What a dead run of the same load left behind in, finished or undone out.

A run looks here first, then goes on from there. The order in which things are written down is
what keeps each row once; see `ledger`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.dlt_hooks import (
    archive_package,
    discard_pending_packages,
    is_terminal,
    list_extracted,
    list_normalized,
    moment_of_package,
    rewind_package,
)
from loadsmith.engine.once.answers import until_answered
from loadsmith.engine.once.entry import LedgerEntry, has_ended, was_left_by_attempt
from loadsmith.engine.once.ledger import Ledger, open_ledger
from loadsmith.engine.once.packages import RunPackages
from loadsmith.engine.workspace import Workspace
from loadsmith.model import RunRequest


class Recovery:
    """What this run finds of runs before it.

    Attributes:
        load_ids: Packages that earlier runs began and that are loaded now.
        finished: Resources that those packages hold rows of.
        kept: Resources that an earlier attempt of this very run has loaded, whatever their write
            disposition.
    """

    def __init__(
        self,
        request: RunRequest,
        workspace: Workspace,
        packages: RunPackages,
        stage: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._request = request
        self._workspace = workspace
        self._pipeline = workspace.pipeline
        self._packages = packages
        self._stage = stage
        self.load_ids: list[str] = []
        self.finished: set[str] = set()
        self.kept: set[str] = set()

    def settle(self) -> str | None:
        """Undo what a dead run left unfinished; take over what it had finished.

        Returns:
            The run whose turn it is, where one is at it on another machine; nothing is done then.
        """
        return until_answered(self._settle, self._request.log)

    def take_turn(self) -> str | None:
        """Tell other machines that this run has begun; return the run that was as quick."""

        def take() -> str | None:
            with open_ledger(self._workspace) as ledger:
                return None if ledger is None else self._packages.turn.take(ledger)

        return until_answered(take, self._request.log)

    def _settle(self) -> str | None:
        self._forget()
        with open_ledger(self._workspace) as ledger:
            if ledger is None:
                return None
            packages = self._packages
            packages.has_ledger = True
            found = self._entries(ledger)
            if holder := packages.turn.holder(found):
                return holder
            ledger.strike([entry for entry in found if entry.is_claim])
            entries = [entry for entry in found if not entry.is_claim]
            packages.last_reported = next((e for e in reversed(entries) if e.reported), None)
            committed = [entry.load_id for entry in entries if entry.committed]
            self._discard_superseded(max(committed, key=moment_of_package, default=""))
            pending = set(list_normalized(self._pipeline))
            for entry in entries:
                if entry.reported:
                    if was_left_by_attempt(entry, self._request) and packages.concern_run(entry):
                        self._take_over(entry)
                elif not entry.committed:
                    removed = ledger.undo(entry)
                    if removed is None:
                        continue
                    ledger.strike([entry])
                    self._request.warn(
                        f"run {entry.run_id} died while it loaded package {entry.load_id}:"
                        f" {removed} rows of it were removed"
                        + (", and it is loaded again" if entry.load_id in pending else "")
                    )
                elif packages.concern_run(entry):
                    self._take_over(entry)
            for load_id in sorted(pending):
                if ledger.is_committed(load_id):
                    archive_package(self._pipeline, load_id)
                else:
                    rewind_package(self._pipeline, load_id)
        return None

    def _entries(self, ledger: Ledger) -> list[LedgerEntry]:
        """Return the entries of the slice, the oldest first."""
        names, request = self._workspace.names, self._request
        found = [entry for scope in names.scopes for entry in ledger.entries(scope)]
        if names.window_scope is not None:
            # Nobody knows their windows: those of this run, and what is garbage in any case.
            root = request.root_run_id or request.run_id
            found += [
                entry
                for entry in ledger.entries(names.window_scope)
                if entry.root_run_id == root
                or (
                    not (entry.is_claim or entry.reported or entry.committed)
                    and has_ended(entry, request)
                )
            ]
        return sorted(found, key=lambda entry: entry.load_id)

    def finish_pending(self) -> bool:
        """Complete what an earlier run has extracted, so that it is not extracted again.

        Returns:
            Whether there was anything to complete.
        """
        extracted = list_extracted(self._pipeline)
        normalized = list_normalized(self._pipeline)
        if not extracted and not normalized:
            return False
        load_ids = sorted({*extracted, *normalized})
        self._request.log(f"completing {len(load_ids)} unfinished package(s) of an earlier run")
        packages = self._packages
        try:
            if extracted:
                with self._stage("normalize"):
                    packages.normalize()
            with self._stage("load"):
                packages.load()
        except PipelineStepFailed as error:
            if not is_terminal(error):
                raise
            self._discard(load_ids, error)
        else:
            self.load_ids.extend(load_ids)
            for entry in packages.entries:
                if entry.load_id in load_ids:
                    self.finished.update(entry.resources)
        return True

    def _discard_superseded(self, last: str) -> None:
        """Discard packages that a run on another machine has loaded in their place since."""
        pending = {*list_extracted(self._pipeline), *list_normalized(self._pipeline)}
        if not any(moment_of_package(own) < moment_of_package(last) for own in pending):
            return
        gone = discard_pending_packages(self._pipeline)
        self._request.warn(
            f"package(s) {', '.join(gone)} were left in {self._pipeline.working_dir} by a run that"
            f" died; package {last} of the same load came from elsewhere since, so they"
            " are discarded"
        )

    def _forget(self) -> None:
        """Begin anew where the connection broke in the middle; what was undone stays so."""
        for found in (self.load_ids, self.finished, self.kept, self._packages.entries):
            found.clear()

    def _take_over(self, entry: LedgerEntry) -> None:
        self._request.warn(
            f"run {entry.run_id} had loaded package {entry.load_id} and did not end well; what it"
            " loaded is reported again, and not loaded twice"
        )
        if entry.root_run_id == (self._request.root_run_id or self._request.run_id):
            self.kept.update(entry.resources)
        self._packages.may_have_staged = True
        self._packages.entries.append(entry)
        self.load_ids.append(entry.load_id)
        self.finished.update(entry.resources)

    def _discard(self, load_ids: Sequence[str], error: BaseException) -> None:
        """Give up packages that can never be loaded; their rows are extracted again."""
        self._request.warn(
            f"package(s) {', '.join(load_ids)} of an earlier run cannot be completed"
            f" ({type(error).__name__}); they are discarded and extracted again"
        )
        self._packages.discard(load_ids)
