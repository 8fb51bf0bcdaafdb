"""What a dead run of the same load left behind in, finished or undone out.

A run looks here first, then goes on from there. The order in which things are written down is
what keeps each row once; see `ledger`.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.dlt_hooks import (
    archive_package,
    describe_packages,
    discard_pending_packages,
    is_begun,
    is_terminal,
    list_extracted,
    list_normalized,
    rewind_package,
)
from loadsmith.engine.once.answers import ask_ledger, until_answered
from loadsmith.engine.once.blocked import watched
from loadsmith.engine.once.claim import is_given_up
from loadsmith.engine.once.damaged import entry_from_tables
from loadsmith.engine.once.entry import LedgerEntry, in_order, was_left_by_attempt
from loadsmith.engine.once.ledger import Ledger, ledger_of, open_ledger
from loadsmith.engine.once.packages import RunPackages
from loadsmith.engine.once.reload import finish_replacing
from loadsmith.engine.workspace import Workspace
from loadsmith.errors import causes_of
from loadsmith.model import RunRequest

#: Characters that are shown of an error for which a package is given up.
_SHOWN = 300


def is_token_given_up(workspace: Workspace, token: str) -> bool:
    """Tell whether nobody counts on an attempt any more, and its directory can be done without."""
    if not workspace.traits.can_read or not workspace.pipeline.config.restore_from_destination:
        return False
    with (
        watched(workspace),
        workspace.destination("look at claims"),
        open_ledger(workspace) as ledger,
    ):
        found = [] if ledger is None else ledger.claims()
        return any(
            one.claim.token == token and is_given_up(one, workspace.request) for one in found
        )


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

    def take_turn(self) -> str | None:
        """Claim the slice; return the run that works on it instead.

        Claims of runs that were given up are gone then, and no commit of them follows.
        """
        return until_answered(self._take_turn, self._request)

    def settle(self) -> None:
        """Undo what a dead run left unfinished; take over what it had finished."""
        until_answered(self._settle, self._request)

    def successor(self) -> str:
        """Return who has taken over from this run, for messages."""
        found: list[str] = []

        def ask(ledger: Ledger) -> None:
            holder = self._packages.attempt.successor(ledger)
            entries = self._entries(ledger)
            token = self._workspace.token
            last = [entry.run_id for entry in entries if entry.token != token][-1:]
            found.extend([holder] if holder else [f"run {run_id}" for run_id in last])

        try:
            with self._workspace.destination("look at claims"):
                ask_ledger(self._workspace, ask)
        except Exception as error:  # noqa: BLE001 - that it was taken over is what counts
            self._request.log(f"who has taken over is not known ({type(error).__name__})")
        return found[0] if found else "another run"

    def _take_turn(self) -> str | None:
        packages, workspace = self._packages, self._workspace
        attempt = packages.attempt
        # It is opened by the thread that renews the lease, and asks for no claim.
        own_client = self._pipeline.destination_client()
        with open_ledger(workspace) as ledger:
            if ledger is None:
                return None
            packages.has_ledger = True
            ledger.prepare()
            for entry in self._entries(ledger):
                # 0.1 knows no claims; Dagster says whether its run goes on.
                root = self._request.root_run_id or self._request.run_id
                is_of_run = entry.is_begun_run or not (entry.token or entry.reported)
                is_of_other = is_of_run and entry.root_run_id != root
                if is_of_other and self._request.outcome_of(entry.run_id) == "running":
                    return f"run {entry.run_id} on {entry.process.rpartition(':')[0]}"
            taken = attempt.take(ledger)
            if isinstance(taken, str):
                return taken
            for claim in taken:
                self._request.warn(f"{claim.holder} was given up; this run has taken over from it")
                ledger.clear_staging(claim.token)
            workspace.set_fence(ledger.fence(attempt.lose, packages.mark))

        def renew() -> None:
            with own_client as opened:
                renewed = ledger_of(opened, workspace)
                if not renewed.has_claim(workspace.token):
                    raise attempt.lose()
                renewed.renew_lease(workspace.token)

        attempt.keep(renew)
        return None

    def _settle(self) -> None:
        self._forget()
        with open_ledger(self._workspace) as ledger:
            if ledger is None:
                return
            packages = self._packages
            found = self._entries(ledger)
            ledger.strike([entry for entry in found if entry.is_begun_run])
            entries = [
                replace(entry, committed=ledger.is_committed(entry.load_id))
                for entry in found
                if not entry.is_begun_run
            ]
            packages.last_reported = next((e for e in reversed(entries) if e.reported), None)
            overlapping = packages.overlapping(ledger)
            self._discard_superseded([*entries, *overlapping])
            pending = set(list_normalized(self._pipeline))
            for entry in entries:
                if entry.committed and entry.replaces:
                    # Without transactions, a run may die between the mark and the removal.
                    ledger.change(finish_replacing(ledger, entry))
                if entry.undone:
                    ledger.undo(entry)
                    ledger.retire(entry)
                elif entry.reported:
                    if (
                        entry.committed
                        and packages.concern_run(entry)
                        and was_left_by_attempt(entry, self._request)
                    ):
                        self._take_over(entry)
                elif not entry.committed:
                    self._undo(ledger, entry, pending)
                elif packages.concern_run(entry):
                    self._take_over(entry)
            for load_id in sorted(pending):
                if ledger.is_committed(load_id):
                    archive_package(self._pipeline, load_id)
                else:
                    if load_id not in {entry.load_id for entry in entries}:
                        self._undo_unknown(ledger, load_id)
                    rewind_package(self._pipeline, load_id)
            known = [entry.sequence for entry in (*entries, *overlapping)]
            self._workspace.note_sequence(max(known, default=0))

    def _undo_unknown(self, ledger: Ledger, load_id: str) -> None:
        """Undo a package that was begun and that the ledger has lost; it is loaded again."""
        if not is_begun(self._pipeline, load_id):
            return
        place = f"the ledger, which does not know package {load_id} of the working directory,"
        entry = entry_from_tables(
            self._workspace,
            ledger.client,
            ledger.is_committed,
            place=place,
            load_id=load_id,
            scope=self._workspace.scope,
            sequence=0,
        )
        ledger.undo(entry)

    def _undo(self, ledger: Ledger, entry: LedgerEntry, pending: Collection[str]) -> None:
        removed = ledger.undo(entry)
        if removed is None:
            return
        if entry.load_id in pending:
            ledger.strike([entry])
        else:
            ledger.retire(entry)
        self._request.warn(
            f"run {entry.run_id} died while it loaded package {entry.load_id}:"
            f" {removed} rows of it were removed"
            + (", and it is loaded again" if entry.load_id in pending else "")
        )

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
                if not (entry.token or entry.is_begun_run)
                and (
                    entry.root_run_id == root
                    or (
                        not (entry.reported or ledger.is_committed(entry.load_id))
                        and request.outcome_of(entry.run_id) == "failed"
                    )
                )
            ]
        return in_order(found)

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
        packages.found = load_ids
        try:
            if extracted:
                with self._stage("normalize"):
                    packages.normalize()
            with self._stage("load"):
                packages.load()
        except PipelineStepFailed as error:
            # What a refresh drops is extracted again anyway.
            if not is_terminal(error) and not self._request.params.get("refresh"):
                raise
            load_ids = self._give_up(load_ids, error)
        self.load_ids.extend(load_ids)
        for entry in packages.entries:
            if entry.load_id in load_ids and self._is_own(entry):
                self.finished.update(entry.resources)
        return True

    def _is_own(self, entry: LedgerEntry) -> bool:
        """Tell whether an entry is of this load; another one may have its pipeline name."""
        return entry.slice.get("load") in (None, self._packages.load_name)

    def _discard_superseded(self, entries: Sequence[LedgerEntry]) -> None:
        """Discard packages that were left here, where the slice was loaded from elsewhere since."""
        pending = {*list_extracted(self._pipeline), *list_normalized(self._pipeline)}
        if not pending:
            return
        known, token = self._workspace.noted_sequence()
        newer = [
            entry
            for entry in entries
            if entry.committed
            and entry.load_id not in pending
            and entry.token not in ("", token)
            and entry.sequence > known
        ]
        if not newer:
            return
        gone = discard_pending_packages(self._pipeline)
        self._request.warn(
            f"package(s) {', '.join(gone)} were left in {self._pipeline.working_dir} by a run that"
            f" died; package {newer[-1].load_id} of the same load came from elsewhere since, so"
            " they are discarded"
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
        if self._is_own(entry):
            self.finished.update(entry.resources)

    def _give_up(self, load_ids: Sequence[str], error: BaseException) -> list[str]:
        """Give up packages that can never be loaded; return those that were loaded before."""
        cause = list(causes_of(error))[-1]
        text = " ".join(str(cause).split())[:_SHOWN]
        self._request.warn(
            f"what an earlier run has extracted cannot be loaded:"
            f" {type(cause).__name__}: {text}. It is given up, and extracted"
            f" again from where it began: {describe_packages(self._pipeline)}"
        )
        return self._packages.discard(load_ids)
