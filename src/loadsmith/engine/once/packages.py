"""dlt's packages of a run: normalized, written down, loaded, and struck out once Dagster knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine.dlt_hooks import (
    LoadStopped,
    can_be_undone,
    discard_pending_packages,
    extracted_tables,
    failed_jobs_raise,
    is_appended,
    is_schema_race,
    list_extracted,
    list_normalized,
    moment_of_package,
    package_rows,
    package_tables,
    sources_of_package,
)
from loadsmith.engine.locks import retry, this_execution, this_process
from loadsmith.engine.memory import release_memory
from loadsmith.engine.normalizing import arrow_normalizer, normalize_workers, workers_of_run
from loadsmith.engine.once.answers import ask_ledger, load_each_once, mark, write_down
from loadsmith.engine.once.claim import Attempt
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable, Replaced, in_order
from loadsmith.engine.once.iceberg_lock import in_turn
from loadsmith.engine.once.ledger import Ledger
from loadsmith.engine.once.reload import PARTITION_HINT, Reload, finish_replacing, package_of
from loadsmith.engine.results import FilledColumns
from loadsmith.engine.schema_files import tables_by_resource
from loadsmith.engine.workspace import (
    LAST,
    Workspace,
    drop_older,
    drop_reported,
    fetch_state,
    leaves_of,
    read_stored,
    write_stored,
)
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, RunRequest, slice_of

#: Times that a load is tried again when two loads change the schema at the same moment.
_SCHEMA_RACES = 5


class RunPackages:
    """What one run brings to the destination, its own packages and those that it takes over.

    Each package is in the ledger before its first row is in the destination.

    Attributes:
        load_name: The name of the load.
        entries: The packages that are loaded, or being loaded.
        load_infos: What dlt says of each load.
        attempt: The claim of this run, which its end gives back.
        has_ledger: Whether the destination can keep a ledger.
        may_have_staged: Whether a package may have gone through a staging dataset.
        last_reported: The package that an earlier run reported last.
        found: Packages that an earlier run had extracted, and that this run loads.
        filled: Which columns of the packages that this run loads have values.
    """

    def __init__(
        self,
        definition: LoadDefinition,
        request: RunRequest,
        workspace: Workspace,
        *,
        by_column: bool,
        reload: Reload,
        on_empty: str | None = None,
    ) -> None:
        self._reload = reload
        self._on_empty = on_empty
        self._definition = definition
        self.load_name = definition.name
        self._request = request
        self._workspace = workspace
        self._by_column = by_column
        self._pipeline = workspace.pipeline
        self.entries: list[LedgerEntry] = []
        self.load_infos: list[Any] = []
        self.attempt = Attempt(workspace, reload.base, reload.partition)
        self._states: dict[str, dict[tuple[str, ...], Any]] = {}
        self.found: list[str] = []
        self.filled = FilledColumns()
        self.removed: LedgerEntry | None = None
        self.has_ledger = False
        self.may_have_staged = False
        self.last_reported: LedgerEntry | None = None

    @property
    def rows(self) -> dict[str, int | None]:
        """Rows of all packages by table; None where nobody has counted them."""
        counts: dict[str, int | None] = {}
        for entry in self.entries:
            for table, count in entry.rows.items():
                known = counts.get(table, 0)
                counts[table] = None if known is None or count is None else known + count
        return counts

    def normalize(self) -> None:
        """Normalize what is extracted."""
        if list_extracted(self._pipeline):
            if self._workspace.traits.destination_type == "filesystem":
                from loadsmith.engine.destinations import keep_file_formats

                keep_file_formats(self._pipeline, extracted_tables(self._pipeline))
            workers = normalize_workers(self._pipeline, by_column=self._by_column)
            with (
                arrow_normalizer(self._by_column),
                workers_of_run(self._workspace.names.workers_dir, by_column=self._by_column),
            ):
                self._pipeline.normalize(workers=workers)

    def load(self) -> None:
        """Load what is normalized. Where that fails, what was appended is removed at once."""
        load_ids = list_normalized(self._pipeline)
        if not load_ids:
            self._empty_partition()
            return
        entries: list[LedgerEntry] = []
        for load_id in load_ids:
            entry, may_stage = package_entry(self._workspace, load_id, self._identity())
            entries.append(entry)
            self.may_have_staged |= may_stage
            self.filled.add(self._pipeline, load_id)
            if self._workspace.traits.destination_type == "duckdb":
                from loadsmith.engine.destinations import make_room

                make_room(self._pipeline, load_id, entry.rows)
        release_memory()
        with self._workspace.destination("load"):
            if self.has_ledger:
                if entries[0].load_id in self.found and any(one.replacing for one in entries):
                    ask_ledger(self._workspace, lambda ledger: self._reload.adopt(ledger, entries))
                self._check_rows(entries)
                self._set_states(load_ids)
                entries = write_down(
                    self._workspace, self._with_removals(entries), self._store_states
                )
            self.entries.extend(entries)
            try:
                if self.has_ledger:
                    load_id = entries[0].load_id
                    self.load_infos += load_each_once(self._workspace, self._load_now, load_id)
                else:
                    self.load_infos.append(self._load_now())
            except BaseException:
                # Whoever has taken over undoes it; nothing of it is this run's any more.
                if self.has_ledger and not self._workspace.lost.is_set():
                    undo_now(self._workspace, entries, self._request.log)
                raise

    def _set_states(self, load_ids: Sequence[str]) -> None:
        """Take down which values of the state each package sets."""
        found: list[Any] = []

        def read(ledger: Ledger) -> None:
            found[:] = read_stored(ledger.client, self._workspace.names.state)

        ask_ledger(self._workspace, read)
        first: dict[tuple[str, ...], Any] = {}
        greatest = [str(one.value) for one in found if one.path == LAST]
        if not greatest:
            # What 0.1 or plain dlt has stored is stored anew.
            known = fetch_state(self._pipeline, self._workspace.names)
            first = known.leaves if known is not None else {}
        for load_id in load_ids:
            before, after = map(leaves_of, sources_of_package(self._pipeline, load_id))
            changed = {path: own for path, own in after.items() if own != before.get(path)}
            greatest.append(load_id)
            last = max(greatest, key=moment_of_package)
            self._states[load_id] = {**first, **changed, LAST: last}
            first = {}

    def _store_states(self, ledger: Ledger, entries: Sequence[LedgerEntry]) -> None:
        """Store the states that packages set, which count when they are marked as loaded."""
        name = self._workspace.names.state
        for entry in entries:
            values = self._states[entry.load_id]
            write_stored(ledger.client, name, entry.load_id, entry.sequence, values)

    def mark(self, client: Any, load_id: str) -> None:
        """Mark a package as loaded, when dlt has done all jobs of it; see `Fence`."""
        position = [one.load_id for one in self.entries].index(load_id)
        entry = self.entries[position]
        record = self._reload.record_of(entry)
        self.entries[position] = mark(self._workspace, client, entry, record)

    @property
    def replaced(self) -> dict[str, int]:
        """Rows, or files, that the packages have replaced, by table."""
        counts: dict[str, int] = {}
        for entry in (*self.entries, *((self.removed,) if self.removed else ())):
            for table, count in entry.replaced.items():
                counts[table] = counts.get(table, 0) + count
        return counts

    def _with_removals(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """Return the entries with what each of them replaces."""
        planned: list[LedgerEntry] = []

        def plan(ledger: Ledger) -> None:
            planned[:] = [
                replace(
                    entry,
                    replaces=tuple(
                        removal.to_dict()
                        for removal in self._reload.removals(
                            ledger, entry, is_last=entry is entries[-1]
                        )
                    ),
                )
                for entry in entries
            ]

        ask_ledger(self._workspace, plan)
        return planned

    def _empty_partition(self) -> None:
        """Remove what a partition holds for which no row came, if somebody said so."""
        if not self.has_ledger or not self._reload.replaces:
            return
        self._check_rows([])
        nothing = LedgerEntry(
            load_id="", scope=self._workspace.scope, resources=(), **self._identity()
        )

        def remove(ledger: Ledger) -> None:
            removals = self._reload.removals(ledger, nothing, is_last=True)
            replaces = tuple(removal.to_dict() for removal in removals)
            with ledger.transaction():
                self.removed = finish_replacing(ledger, replace(nothing, replaces=replaces))

        with self._workspace.destination("load"):
            ask_ledger(self._workspace, remove)

    def _check_rows(self, entries: Sequence[LedgerEntry]) -> None:
        options = self._definition.options
        try:
            self._reload.check_rows(entries, on_empty=self._on_empty, at_least=options.least_share)
            self._check_replaced(entries)
        except RunError:
            discard_pending_packages(self._pipeline)
            raise

    def _check_replaced(self, entries: Sequence[LedgerEntry]) -> None:
        """Refuse to replace tables as a whole by less than the share of rows that is asked for.

        Raises:
            RunError: Rows are missing, or nobody can count them.
        """
        share = self._definition.options.least_share
        if share is None or self._reload.partition:
            return
        after: dict[str, int | None] = {}
        for entry in entries:
            schema, _ = package_tables(self._pipeline, entry.load_id)
            for table in entry.tables:
                hints = schema.tables[table.name]
                if table.parent is None and hints.get("write_disposition") == "replace":
                    known, more = after.get(table.name, 0), entry.rows.get(table.name, 0)
                    after[table.name] = None if known is None or more is None else known + more
        before: dict[str, int | None] = {}
        ask_ledger(
            self._workspace,
            lambda ledger: before.update((name, ledger.rows_of(name)) for name in after),
        )
        for name, rows in after.items():
            there = before[name]
            if rows is not None and there is not None and rows >= share * there:
                continue
            what = (
                "the rows here, or those that came, cannot be counted"
                if rows is None or there is None
                else f"{rows} rows came for {there}, and `guard` wants at least {share:.0%} of them"
            )
            raise RunError(
                f"load '{self._definition.name}', load, table '{name}': {what}. Nothing was removed"
                " or loaded. Look at the source, or change the setting.",
                stage="load",
                load=self._definition.name,
                table=name,
            )

    def overlapping(self, ledger: Ledger) -> list[LedgerEntry]:
        """Return the records of packages that hold rows of this run's partition."""
        return [
            replace(record, load_id=package_of(record), committed=True)
            for record in self._reload.records(ledger)
            if record.slice.get("load") in (None, self._reload.load)
            and any(map(self._definition.resources.matches, record.resources))
        ]

    def refuse(self, *, limit: int | None, shared: Mapping[str | None, Sequence[str]]) -> None:
        """Refuse what `Reload.refuse` refuses."""
        ask_ledger(
            self._workspace,
            lambda ledger: self._reload.refuse(ledger, limit=limit, shared=shared),
        )

    def give_up(self) -> None:
        """Give up what was extracted; nothing of it is loaded."""
        discard_pending_packages(self._pipeline)

    def discard(self, load_ids: Sequence[str]) -> list[str]:
        """Give up all pending packages, `load_ids` among them, and what is loaded of them.

        Returns:
            Those of `load_ids` that were loaded as a whole before, and stay.
        """
        asked = [entry for entry in self.entries if entry.load_id in load_ids]
        loaded: set[str] = set()

        def undo(ledger: Ledger) -> None:
            loaded.update(entry.load_id for entry in asked if ledger.is_committed(entry.load_id))
            gone = [entry for entry in asked if entry.load_id not in loaded]
            for entry in gone:
                ledger.undo(entry)
            ledger.strike(gone)

        if self.has_ledger:
            with self._workspace.destination("undo"):
                ask_ledger(self._workspace, undo)
        given_up = set(load_ids) - loaded
        self.entries = [entry for entry in self.entries if entry.load_id not in given_up]
        discard_pending_packages(self._pipeline)
        return sorted(loaded)

    def acknowledge(self) -> None:
        """Strike the packages from the ledger: Dagster knows of them."""
        if not self.entries or not self.has_ledger:
            return

        def acknowledge(ledger: Ledger) -> None:
            with ledger.transaction():
                self._report_to(ledger)
                for entry in self.entries:
                    paths = self._states.get(entry.load_id, ())
                    drop_older(ledger.client, self._workspace.names.state, entry.sequence, paths)
            if self.may_have_staged:
                ledger.clear_staging(self.attempt.claim.token)
            self.attempt.release(ledger)

        with self._workspace.destination("acknowledgement"):
            ask_ledger(self._workspace, acknowledge)

    def drop_reported(self) -> None:
        """Delete what Dagster was told of from the working directory, but for the newest."""
        working_dir = Path(self._pipeline.working_dir)
        drop_reported(working_dir, [entry.load_id for entry in self.entries])

    def end(self) -> None:
        """Give back the claim, where the acknowledgement has not; what prevents it is logged."""
        attempt = self.attempt
        attempt.stop_keeping()
        self._workspace.set_fence(None)
        if not attempt.taken or self._workspace.lost.is_set():
            return

        def release(ledger: Ledger) -> None:
            if self.may_have_staged:
                ledger.clear_staging(attempt.claim.token)
            attempt.release(ledger)

        try:
            with self._workspace.destination("end"):
                ask_ledger(self._workspace, release)
        except Exception as error:  # noqa: BLE001 - what the run did is done, or its error is shown
            self._request.log(
                "the next run may wait for this one until its lease has run out"
                f" ({type(error).__name__})"
            )

    def concern_run(self, entry: LedgerEntry) -> bool:
        """Tell whether a package holds a resource that this run is about."""
        asked = self._request.resources
        return asked is None or not entry.resources or not set(asked).isdisjoint(entry.resources)

    def _load_now(self) -> Any:
        with in_turn(self._workspace), failed_jobs_raise() as setting:
            try:
                return load_beside_others(self._pipeline, self._request.log)
            except LoadStopped:
                raise InterruptedError("the run was cancelled") from None
            finally:
                if setting.overruled:
                    self._request.warn(
                        "dlt's setting `load.raise_on_failed_jobs = false` is ignored: a package"
                        " would count as loaded, and its cursor would move, without the rows of"
                        " the jobs that failed"
                    )

    def _report_to(self, ledger: Ledger) -> None:
        # A package of resources that this run was not about waits for the run that is: that one
        # failed and is run again, and has to know that its rows are there.
        entries = in_order(filter(self.concern_run, self.entries))
        if not entries:
            return
        *others, last = entries
        mine = replace(last, **self._identity())
        ledger.change(mine.merged_with(others))
        ledger.strike(others)
        if self.last_reported is not None and self.last_reported.load_id != last.load_id:
            ledger.strike([self.last_reported])

    def _identity(self) -> dict[str, Any]:
        request = self._request
        slice_ = slice_of(self._definition, request, self._workspace.base_name)
        window = slice_.window
        return {
            "slice": {
                "load": slice_.load,
                "pipeline": slice_.pipeline_name,
                "partition_keys": list(slice_.partition_keys),
                "window": window and [window.start.isoformat(), window.end.isoformat()],
            },
            "run_id": request.run_id,
            "root_run_id": request.root_run_id or request.run_id,
            "attempt": request.attempt,
            "process": this_process(),
            "execution": this_execution(),
            "token": self._workspace.token,
        }


def package_entry(
    workspace: Workspace, load_id: str, identity: Mapping[str, Any]
) -> tuple[LedgerEntry, bool]:
    """Describe a normalized package for the ledger.

    Returns:
        The entry, and whether the package may go through a staging dataset.
    """
    pipeline = workspace.pipeline
    schema, names = package_tables(pipeline, load_id)
    owned = tables_by_resource(schema)
    owner = {table: resource for resource, tables in owned.items() for table in tables}
    resources = tuple(sorted({owner[name] for name in names if name in owner}))
    # What is only appended goes straight to its table.
    may_stage = any(
        schema.tables[name].get("write_disposition", "append") != "append" for name in names
    )
    tables = tuple(
        LedgerTable(
            name=table,
            parent=schema.tables[table].get("parent"),
            appended=is_appended(pipeline, schema, table) and can_be_undone(schema, table),
        )
        for resource in resources
        for table in owned[resource]
    )
    hints = {
        owner[name]: hint
        for name in names
        if name in owner and (hint := schema.tables[name].get(PARTITION_HINT))
    }
    # Of resources that share a table, dlt's schema names one, and keeps the hint of another.
    sharing = {name: hint.get("sharing") or [name] for name, hint in hints.items()}
    replacing = {name: hint for owner, hint in hints.items() for name in sharing[owner]}
    owners = {table.name: sharing.get(owner[table.name], [owner[table.name]]) for table in tables}
    identity = {**identity, "slice": {**identity.get("slice", {}), "owners": owners}}
    entry = LedgerEntry(
        load_id=load_id,
        scope=workspace.scope,
        replacing=tuple(
            Replaced(**{**replacing[name], "name": name}) for name in sorted(replacing)
        ),
        resources=tuple(sorted({name for names in owners.values() for name in names})),
        tables=tables,
        rows=package_rows(pipeline, load_id, names),
        **identity,
    )
    return entry, may_stage


def load_beside_others(pipeline: Any, log: Callable[[str], None]) -> Any:
    """Load; where another load changes the same tables at the same moment, try again."""

    def is_race(error: Exception) -> bool:
        if not isinstance(error, PipelineStepFailed) or not is_schema_race(error):
            return False
        log("another load changed the schema at the same time; trying again")
        return True

    return retry(pipeline.load, tries=_SCHEMA_RACES, pause=0.2, may_help=is_race)


def undo_now(
    workspace: Workspace, entries: Sequence[LedgerEntry], log: Callable[[str], None]
) -> None:
    """Remove at once what a load that failed or was cancelled has appended.

    What is not reported is not left in the destination for longer than needed. Where that
    cannot be done, because the destination is down or busy, the next run does it.
    """

    def undo(ledger: Ledger) -> None:
        for entry in entries:
            if ledger.is_committed(entry.load_id):
                continue
            if ledger.undo(entry, wait=False) is not None:
                ledger.strike([entry])

    try:
        ask_ledger(workspace, undo)
    except Exception as error:  # noqa: BLE001 - the error of the load is the one to show
        log(f"what was loaded so far is removed by the next run ({type(error).__name__})")
