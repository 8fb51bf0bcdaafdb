"""A LoadDefinition and a RunRequest in, a LoadResult out: sync, extract, normalize, load.

A run first finishes or undoes what a dead run of the same load left behind, then goes on from
there. The order in which things are written down is what keeps each row once; see `ledger`.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from dlt.common.runtime.collector import NullCollector

from loadsmith.engine import _dlt, collect
from loadsmith.engine.arrow import arrow_normalizer
from loadsmith.engine.attempts import moment_of_package, this_process, was_left_by_attempt
from loadsmith.engine.failures import run_error, run_error_of_all
from loadsmith.engine.ledger import Ledger, LedgerEntry, in_flight, open_ledger
from loadsmith.engine.packages import load_beside_others, package_entry, undo_now
from loadsmith.engine.progress import LogProgress
from loadsmith.engine.redaction import Redactor, redacted_logs, redactor_of
from loadsmith.engine.schema_file import declared_tables
from loadsmith.engine.secrets import missing_secret, secrets_in_environment
from loadsmith.engine.settings import normalize_workers, old_objects_set_aside
from loadsmith.engine.sources import select_resources
from loadsmith.engine.state import restore_state
from loadsmith.engine.windows import bound_to_window, incremental_of
from loadsmith.engine.workspace import Workspace, open_workspace
from loadsmith.errors import LoadsmithError
from loadsmith.model import (
    CursorResult,
    LoadDefinition,
    LoadResult,
    ResourceFailure,
    ResourceSelection,
    RunRequest,
    SourceReference,
    StageResult,
)

#: Arguments of `pipeline.run` that go to dlt's extract; the others are the pipeline's.
_EXTRACT_ARGUMENTS = frozenset(
    {
        "table_name",
        "parent_table_name",
        "write_disposition",
        "columns",
        "primary_key",
        "schema",
        "table_format",
        "schema_contract",
        "refresh",
        "loader_file_format",
    }
)


@contextlib.contextmanager
def run_load(definition: LoadDefinition, request: RunRequest) -> Iterator[LoadResult]:
    """Run a load and yield its result; leaving the block without an error acknowledges it.

    Yield Dagster's events inside the block: a run that dies before its end is recovered by the
    next run of the same load and partition, which reports what had been loaded.

    Raises:
        RunError: The load failed; see `.stage`, `.resources`. Nothing is lost.
        ContractViolation: The source broke its schema contract.
        ResolveError: The source, a resource or the destination is not there.
        SecretNotFound: A secret is missing.
    """
    source = definition.source
    files = source.secrets_files if isinstance(source, SourceReference) else ()
    with secrets_in_environment(files) as variables:
        redactor = redactor_of(definition, request, variables)
        run: _Run | None = None
        reporting = False
        try:
            with redacted_logs(redactor), open_workspace(definition, request) as workspace:
                run = _Run(definition, request, workspace, redactor)
                with old_objects_set_aside():
                    result = run.execute()
                reporting = True
                yield result
                run.acknowledge()
        except Exception as error:
            if reporting:
                raise
            if isinstance(error, LoadsmithError | InterruptedError):
                raise
            told = missing_secret(error, files) or run_error(
                error,
                load=definition.name,
                working_dir=run.pipeline.working_dir if run else None,
                selected=run.selected if run else (),
                redactor=redactor,
                stage=None if run else "sync",
                pages=getattr(run.pipeline.collector, "pages", None) if run else None,
            )
            # Dagster stores the whole chain of causes, so one that holds a secret is cut off.
            raise told from (error if redactor.is_clean(error) else None)
        finally:
            if run is not None:
                _dlt.redact_trace(run.pipeline, redactor.redact_value)


class _Run:
    """One run in its workspace, stage by stage."""

    def __init__(
        self,
        definition: LoadDefinition,
        request: RunRequest,
        workspace: Workspace,
        redactor: Redactor,
    ) -> None:
        self.definition = definition
        self.request = request
        self.workspace = workspace
        self.redactor = redactor
        self.pipeline = workspace.pipeline
        self.params: dict[str, Any] = {**definition.options.params, **request.params}
        self.keeps_others = self.params.get("on_error", definition.options.on_error) == "keep"
        self.selected: tuple[str, ...] = request.resources or ()
        self._started = datetime.now(timezone.utc)
        self._stages: list[StageResult] = []
        self._entries: list[LedgerEntry] = []
        self._recovered: list[str] = []
        self._finished_resources: set[str] = set()
        # What an earlier attempt of this very run has loaded, whatever its disposition.
        self._kept_resources: set[str] = set()
        self._last_reported: LedgerEntry | None = None
        self._rows: dict[str, int | None] = {}
        self._load_infos: list[Any] = []
        self._failures: list[ResourceFailure] = []
        self._window_cursors: list[CursorResult] = []
        self._has_ledger = False
        self._may_have_staged = False
        self._first_run = False
        if isinstance(self.pipeline.collector, NullCollector):
            self.pipeline.collector = LogProgress(request.log, request.cancelled)

    def execute(self) -> LoadResult:
        """Do the whole run and return its result."""
        with self._stage("sync"):
            self._sync()
        self._first_run = self.pipeline.first_run
        before = collect.known_types(self.pipeline)
        if self._finish_pending():
            # dlt's sync empties a working directory whose dataset is not there yet, what was
            # extracted included, so it has to wait until that is loaded.
            with self._stage("sync"), self.workspace.destination("sync"):
                self._restore_state()
        source, self.selected = select_resources(self.definition, self.request)
        cursors = collect.cursors_in(self.pipeline.state, source.name)
        with self._stage("extract"):
            self._extract(source)
        with self._stage("normalize"):
            self._normalize()
        with self._stage("load"):
            self._load()
        return self._result(source, before, cursors)

    def acknowledge(self) -> None:
        """Strike the packages of this run from the ledger: Dagster knows of them."""
        if not self._entries or not self._has_ledger:
            return
        with self.workspace.destination("acknowledgement"), open_ledger(self.workspace) as ledger:
            if ledger is not None:
                self._report_to(ledger)
                if self._may_have_staged:
                    ledger.clear_staging()

    def _report_to(self, ledger: Ledger) -> None:
        # A package of resources that this run was not about waits for the run that is: that one
        # failed and is run again, and has to know that its rows are there.
        entries = sorted(filter(self._concerns_us, self._entries), key=lambda entry: entry.load_id)
        if not entries:
            return
        *others, last = entries
        mine = replace(last, **self._identity())
        ledger.report(mine.merged_with(others))
        ledger.strike(others)
        if self._last_reported is not None and self._last_reported.load_id != last.load_id:
            ledger.strike([self._last_reported])

    def _concerns_us(self, entry: LedgerEntry) -> bool:
        asked = self.request.resources
        return asked is None or not entry.resources or not set(asked).isdisjoint(entry.resources)

    def _identity(self) -> dict[str, Any]:
        request = self.request
        return {
            "run_id": request.run_id,
            "root_run_id": request.root_run_id or request.run_id,
            "attempt": request.attempt,
            "process": this_process(),
        }

    # -- sync -------------------------------------------------------------------------------

    def _sync(self) -> None:
        _dlt.settle_packages(self.pipeline)
        if self.workspace.is_blank():
            self._has_ledger = self.workspace.traits.can_read
            return
        with self.workspace.destination("sync"):
            if self.workspace.traits.can_read:
                self._recover()
            if not self.pipeline.has_pending_data:
                self._restore_state()

    def _restore_state(self) -> None:
        resources = self.definition.resources
        restore_state(
            self.pipeline,
            shared=self.workspace.shared,
            owns=None if resources == ResourceSelection() else resources.matches,
        )

    def _recover(self) -> None:
        """Undo what a dead run left unfinished; take over what it had finished."""
        with open_ledger(self.workspace) as ledger:
            if ledger is None:
                return
            self._has_ledger = True
            entries = ledger.entries(self.workspace.scope)
            self._last_reported = next((e for e in reversed(entries) if e.reported), None)
            committed = [entry.load_id for entry in entries if entry.committed]
            self._discard_superseded(max(committed, key=moment_of_package, default=""))
            pending = set(_dlt.list_normalized(self.pipeline))
            for entry in entries:
                if entry.reported:
                    if was_left_by_attempt(entry, self.request) and self._concerns_us(entry):
                        self._take_over(entry)
                elif not entry.committed:
                    removed = ledger.undo(entry)
                    ledger.strike([entry])
                    self.request.warn(
                        f"run {entry.run_id} died while it loaded package {entry.load_id}:"
                        f" {removed} rows of it were removed"
                        + (", and it is loaded again" if entry.load_id in pending else "")
                    )
                elif self._concerns_us(entry):
                    self._take_over(entry)
            for load_id in sorted(pending):
                if ledger.is_committed(load_id):
                    _dlt.archive_package(self.pipeline, load_id)
                else:
                    _dlt.rewind_package(self.pipeline, load_id)

    def _discard_superseded(self, last: str) -> None:
        """Discard packages that a run on another machine has loaded in their place since."""
        pending = {*_dlt.list_extracted(self.pipeline), *_dlt.list_normalized(self.pipeline)}
        if not any(moment_of_package(own) < moment_of_package(last) for own in pending):
            return
        gone = _dlt.discard_pending_packages(self.pipeline)
        self.request.warn(
            f"package(s) {', '.join(gone)} were left in {self.pipeline.working_dir} by a run that"
            f" died; package {last} of the same load came from elsewhere since, so they"
            " are discarded"
        )

    def _take_over(self, entry: LedgerEntry) -> None:
        self.request.warn(
            f"run {entry.run_id} had loaded package {entry.load_id} and did not end well; what it"
            " loaded is reported again, and not loaded twice"
        )
        if entry.root_run_id == (self.request.root_run_id or self.request.run_id):
            self._kept_resources.update(entry.resources)
        self._may_have_staged = True
        self._entries.append(entry)
        self._recovered.append(entry.load_id)
        self._finished_resources.update(entry.resources)
        self._count(entry.rows)

    def _finish_pending(self) -> bool:
        """Complete what an earlier run has extracted, so that it is not extracted again.

        Returns:
            Whether there was anything to complete.
        """
        extracted = _dlt.list_extracted(self.pipeline)
        normalized = _dlt.list_normalized(self.pipeline)
        if not extracted and not normalized:
            return False
        load_ids = sorted({*extracted, *normalized})
        self.request.log(f"completing {len(load_ids)} unfinished package(s) of an earlier run")
        try:
            if extracted:
                with self._stage("normalize"):
                    self._normalize()
            with self._stage("load"):
                self._load()
        except _dlt.PipelineStepFailed as error:
            if not _dlt.is_terminal(error):
                raise
            self._discard(load_ids, error)
        else:
            self._recovered.extend(load_ids)
            for entry in self._entries:
                if entry.load_id in load_ids:
                    self._finished_resources.update(entry.resources)
        return True

    def _discard(self, load_ids: Sequence[str], error: BaseException) -> None:
        """Give up packages that can never be loaded; their rows are extracted again."""
        self.request.warn(
            f"package(s) {', '.join(load_ids)} of an earlier run cannot be completed"
            f" ({type(error).__name__}); they are discarded and extracted again"
        )
        gone = [entry for entry in self._entries if entry.load_id in load_ids]
        if self._has_ledger:
            with self.workspace.destination("undo"), open_ledger(self.workspace) as ledger:
                if ledger is not None:
                    for entry in gone:
                        ledger.undo(entry)
                    ledger.strike(gone)
        self._entries = [entry for entry in self._entries if entry.load_id not in load_ids]
        self._rows = {}
        for entry in self._entries:
            self._count(entry.rows)
        _dlt.discard_pending_packages(self.pipeline)

    # -- extract ----------------------------------------------------------------------------

    def _extract(self, source: Any) -> None:
        arguments = {k: v for k, v in self.params.items() if k in _EXTRACT_ARGUMENTS}
        wanted = [name for name in self.selected if not self._is_finished(source, name)]
        if not wanted:
            return
        source = source.with_resources(*wanted)
        self._apply_hints(source, wanted)
        limit = self.request.limit or self.definition.options.limit
        if limit:
            source.add_limit(limit)
        parts = [source]
        if self.keeps_others:
            parts = [source.with_resources(name) for name in wanted]
        for part in parts:
            try:
                with (
                    bound_to_window(
                        part, part.resources.selected, self.request.window, self.request.warn
                    ) as cursors,
                    _dlt.window_in_dlt(self.request.window),
                    _dlt.load_ids_in_arrow(self.pipeline),
                ):
                    self.pipeline.extract(part, **arguments)
                self._window_cursors.extend(cursors)
            except _dlt.PipelineStepFailed as error:
                if not self.keeps_others:
                    raise
                self._keep_others(error, part)
        if self._failures and len(self._failures) == len(wanted):
            raise run_error_of_all(self._failures, self.definition.name)

    def _apply_hints(self, source: Any, wanted: Sequence[str]) -> None:
        merge_key = self.params.get("merge_key")
        for name in wanted if merge_key else ():
            source.resources[name].apply_hints(merge_key=merge_key)

    def _is_finished(self, source: Any, name: str) -> bool:
        """Tell whether a package that was completed first holds all that this run would extract.

        That is so for what is appended without a cursor, and for the same window again.
        """
        if name in self._kept_resources:
            return True
        if name not in self._finished_resources:
            return False
        resource = source.resources[name]
        disposition = self.params.get("write_disposition", resource.write_disposition)
        if isinstance(disposition, Mapping):
            disposition = disposition.get("disposition")
        table_format = self.params.get("table_format") or resource.table_format
        if disposition == "merge" and not _dlt.can_merge(self.pipeline, table_format):
            disposition = "append"
        if disposition not in (None, "append"):
            return False
        return self.request.window is not None or incremental_of(resource) is None

    def _keep_others(self, error: Any, part: Any) -> None:
        failure = run_error(
            error,
            load=self.definition.name,
            working_dir=None,
            selected=tuple(part.resources.selected),
            redactor=self.redactor,
            pages=getattr(self.pipeline.collector, "pages", None),
        )
        for name in part.resources.selected:
            self._failures.append(
                ResourceFailure(resource=name, stage="extract", message=str(failure))
            )
        self.request.warn(str(failure))

    # -- normalize and load -----------------------------------------------------------------

    def _normalize(self) -> None:
        if _dlt.list_extracted(self.pipeline):
            with arrow_normalizer(self.definition.options.normalizer == "arrow"):
                self.pipeline.normalize(workers=normalize_workers(self.pipeline, self.definition))

    def _load(self) -> None:
        load_ids = _dlt.list_normalized(self.pipeline)
        if not load_ids:
            return
        entries = []
        for load_id in load_ids:
            entry, may_stage = package_entry(self.workspace, load_id, self._identity())
            entries.append(entry)
            self._may_have_staged |= may_stage
        with self.workspace.destination("load"):
            if self._has_ledger:
                with open_ledger(self.workspace) as ledger:
                    if ledger is not None:
                        ledger.write(entries)
            self._entries.extend(entries)
            for entry in entries:
                self._count(entry.rows)
            try:
                with in_flight(self.workspace):
                    self._load_infos.append(load_beside_others(self.pipeline, self.request.log))
            except BaseException:
                if self._has_ledger:
                    undo_now(self.workspace, entries, self.request.log)
                raise

    # -- result -----------------------------------------------------------------------------

    def _result(
        self,
        source: Any,
        before: Mapping[str, Mapping[str, str]],
        cursors: Mapping[str, Mapping[str, Any]],
    ) -> LoadResult:
        schema_name = source.schema.name
        schema = self.pipeline.schemas.get(schema_name)
        declared = declared_tables(self.definition.schema_file_path)
        resources = list(dict.fromkeys((*self.selected, *sorted(self._finished_resources))))
        changes = []
        for info in self._load_infos:
            changes.extend(collect.schema_changes(info, before))
        destination = self.pipeline.destination
        return LoadResult(
            load=self.definition.name,
            pipeline_name=self.workspace.base_name,
            dataset_name=self.pipeline.dataset_name,
            destination_name=destination.destination_name,
            destination_type=destination.destination_type,
            load_ids=tuple(entry.load_id for entry in self._entries),
            started_at=self._started,
            ended_at=datetime.now(timezone.utc),
            first_run=self._first_run,
            tables=(
                collect.table_results(
                    self.pipeline, schema, resources, self._rows, declared, self._client_of(schema)
                )
                if schema is not None
                else ()
            ),
            stages=tuple(self._stages),
            schema_changes=tuple(dict.fromkeys(changes)),
            cursors=(
                tuple(self._window_cursors)
                if self.request.window is not None
                else collect.cursor_results(
                    self.pipeline.state, source.name, self.selected, cursors
                )
            ),
            failures=tuple(self._failures),
            waits=tuple(self.workspace.waits),
            recovered_load_ids=tuple(self._recovered),
            working_dir=self.pipeline.working_dir,
            jobs=tuple(job for info in self._load_infos for job in collect.job_records(info)),
        )

    def _client_of(self, schema: Any) -> Any:
        is_default = schema.name == self.pipeline.default_schema_name
        return self.workspace.client() if is_default else None

    def _count(self, rows: Mapping[str, int | None]) -> None:
        for table, count in rows.items():
            known = self._rows.get(table, 0)
            self._rows[table] = None if known is None or count is None else known + count

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if self.request.cancelled():
            raise InterruptedError("the run was cancelled")
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._stages.append(StageResult(name=name, seconds=round(seconds, 3)))
