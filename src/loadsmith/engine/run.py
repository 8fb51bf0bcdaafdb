"""A LoadDefinition and a RunRequest in, a LoadResult out: sync, extract, normalize, load.

A run first finishes or undoes what a dead run of the same load left behind (`recovery`), then
goes on from there.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from dlt.common.runtime.collector import NullCollector
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.pipeline import Pipeline

from loadsmith.engine.destinations import dataset_of, named_destination
from loadsmith.engine.dlt_hooks import (
    check_hooks,
    imports_schemas,
    redact_job_files,
    secrets_of_load,
    settle_packages,
    window_in_dlt,
)
from loadsmith.engine.memory import old_objects_set_aside
from loadsmith.engine.once import (
    LEDGER_TABLE,
    Recovery,
    Reload,
    RunPackages,
    Ways,
    is_token_given_up,
    names_by_table,
    watched,
)
from loadsmith.engine.process import import_for_threads, working_directory_kept
from loadsmith.engine.results import (
    LogProgress,
    cursor_results,
    cursors_in,
    discard_results,
    dropped_from,
    job_records,
    known_types,
    origins_of,
    run_error,
    run_error_of_all,
    schema_changes,
    table_results,
)
from loadsmith.engine.schema_files import Types, declared_tables
from loadsmith.engine.secrets import Redactor
from loadsmith.engine.snapshots import root_tables_of, write_seen
from loadsmith.engine.sources import (
    PanicError,
    bound_to_window,
    feeds_of,
    panics_as_errors,
    select_resources,
    values_of,
    watched_for_rows,
)
from loadsmith.engine.workspace import (
    Workspace,
    digest,
    open_workspace,
    own_cursors,
    restore_state,
)
from loadsmith.errors import ContractViolation, ResolveError, RunError, Verdict, one_of
from loadsmith.model import (
    NORMALIZERS,
    ON_EMPTY,
    ON_ERROR,
    CursorResult,
    Feeds,
    LoadDefinition,
    LoadResult,
    ResourceFailure,
    ResourceSelection,
    RunArguments,
    RunOptions,
    RunRequest,
    SourceReference,
    StageResult,
    TableResult,
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
    import_for_threads()
    canceled, cancelled = threading.Event(), request.cancelled
    request = replace(request, cancelled=lambda: canceled.is_set() or cancelled())
    with secrets_of_load(definition, request) as redactor:
        run: _Run | None = None
        reporting = False
        try:
            with (
                old_objects_set_aside(),
                open_workspace(definition, request, is_token_given_up) as workspace,
                watched(workspace, canceled),
            ):
                run = _Run(definition, workspace.request, workspace, redactor)
                try:
                    result = run.execute()
                    reporting = True
                    yield result
                    run.packages.acknowledge()
                    run.packages.drop_reported()
                except Exception as error:
                    if workspace.lost.is_set():
                        raise run.taken_over() from None
                    if request.cancelled() and not reporting:
                        raise InterruptedError("the run was cancelled") from error
                    raise
                finally:
                    run.packages.end()
        except BaseException as error:  # noqa: BLE001 - raised again, without secrets
            if reporting or not isinstance(error, Exception) or isinstance(error, InterruptedError):
                redactor.raise_clean(error)
            instead = run_error(
                error,
                load=definition.name,
                working_dir=run.pipeline.working_dir if run else None,
                selected=run.selected if run else (),
                redactor=redactor,
                stage=run.at if run else "sync",
                pages=getattr(run.pipeline.collector, "pages", None) if run else None,
                imported_from=imports_schemas(run.pipeline) if run else None,
                destination=lambda: named_destination(
                    definition, request, run.pipeline.destination if run else None
                ),
                source=definition.source,
                dropped=run.dropped if run else tuple,
            )
            redactor.raise_clean(error, instead)
        finally:
            if run is not None:
                redact_job_files(run.pipeline, redactor.redact)


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
        for destination in (self.pipeline.destination, self.pipeline.staging):
            if destination is not None:
                redactor.add_destination(destination.destination_type, destination.config_params)
        self.params = RunArguments(**{**definition.options.params, **request.params})
        options = definition.options
        self.keeps_others = self._chosen("on_error", options.on_error, ON_ERROR) == "keep"
        self.on_empty = self._chosen("on_empty", options.on_empty, ON_EMPTY)
        normalizer = self._chosen("normalizer", options.normalizer, NORMALIZERS)
        self.selected: tuple[str, ...] = request.resources or ()
        self.reload = Reload(definition, request, workspace)
        self.ways = Ways(
            definition,
            request,
            workspace.pipeline,
            self.reload.partition,
            self.params,
            self._zone_of,
        )
        self.packages = RunPackages(
            definition,
            request,
            workspace,
            by_column=normalizer == "arrow",
            reload=self.reload,
            on_empty=self._on_empty_if_said(),
        )
        self.recovery = Recovery(request, workspace, self.packages, self._stage)
        self._started = datetime.now(timezone.utc)
        self._stages: list[StageResult] = []
        self._failures: list[ResourceFailure] = []
        self._extracts: list[Any] = []
        self._empty: list[str] = []
        self._window_cursors: list[CursorResult] = []
        self._first_run = False
        self._feeds = Feeds(chains={})
        self.at = "sync"
        """The stage that the run is in."""
        if isinstance(self.pipeline.collector, NullCollector):
            self.pipeline.collector = LogProgress(request.log, request.cancelled)

    def execute(self) -> LoadResult:
        """Do the whole run and return its result."""
        with self._stage("sync"):
            traits = self.workspace.traits
            check_hooks(traits.destination_type, self.definition.name, self.request.warn)
            self._sync()
        self._first_run = self.pipeline.first_run
        before = known_types(self.pipeline)
        if self.recovery.finish_pending():
            # dlt's sync empties a working directory whose dataset is not there yet, what was
            # extracted included, so it has to wait until that is loaded.
            with self._stage("sync"), self.workspace.destination("sync"):
                self._restore_state()
        self.at = "extract"
        with working_directory_kept():
            source, self.selected = select_resources(self.definition, self.request)
            self._feeds = feeds_of(source)
        cursors = cursors_in(self.pipeline.state, source.name)
        self.at = "sync"
        self._plan_reload(source)
        with self._stage("extract"), working_directory_kept():
            self._extract(source)
        with self._stage("normalize"):
            self.packages.normalize()
        with self._stage("load"):
            self.packages.load()
        result = self._result(source, before, cursors)
        self._show(source)
        write_seen(
            self.definition,
            result,
            source,
            redact=self.redactor.redact_value,
            warn=self.request.warn,
        )
        return result

    def _show(self, source: Any) -> None:
        """Show the run to code of users: in their live pipeline, as if dlt had run it."""
        infos = self.packages.load_infos
        self.request.show_live(source, infos[-1] if infos else None, self.pipeline)
        given = self.request.pipeline
        live = getattr(self.definition.pipeline if given is None else given, "value", given)
        if not isinstance(live, Pipeline) or not self.pipeline.default_schema_name:
            return
        schemas: Any = live.schemas
        for name in self.pipeline.schema_names:
            schemas.set_live_schema(self.pipeline.schemas[name].clone())
        live.schema_names = list(self.pipeline.schema_names)
        live.default_schema_name = self.pipeline.default_schema_name
        live.first_run = False

    def dropped(self) -> list[str]:
        """Return what dlt has made in the destination and is not there any more, in words."""
        workspace = self.workspace
        workspace.set_fence(None)
        try:
            with workspace.destination("look for tables"), workspace.open_client() as client:
                return dropped_from(client, client.schema, LEDGER_TABLE)
        except Exception as error:  # noqa: BLE001 - the error of the load counts
            self.request.log(f"what the destination has is not known ({type(error).__name__})")
            return []

    def taken_over(self) -> RunError:
        """Return what is told where another run has taken over from this one."""
        # Who asks from here on has no claim.
        self.workspace.set_fence(None)
        return RunError(
            f"load '{self.definition.name}': run {self.request.run_id} was given up, and"
            f" {self.recovery.successor()} has taken over. Nothing of it is left, and nothing is"
            " to be done.",
            stage="load",
            load=self.definition.name,
        )

    def _chosen(self, name: str, default: str, choices: Sequence[str]) -> str:
        """Return what the arguments of `run` or the definition say of an option of ours.

        Raises:
            ConfigError: It is none of the choices.
        """
        place = f"load '{self.definition.name}', {name}"
        return one_of(choices, self.params.get(name, default), place)

    def _sync(self) -> None:
        settle_packages(self.pipeline)
        what = (
            f"the load {self.workspace.scope}, which is under way (if its machine is lost, until"
            " its lease has run out or Dagster says that it failed)"
        )
        self.workspace.wait_until_free(what, self._sync_in_turn)

    def _sync_in_turn(self) -> str | None:
        """Take the turn and what the destination knows; return whose turn it is instead."""
        with self.workspace.destination("sync"):
            holder = self.recovery.take_turn() if self.workspace.traits.can_read else None
            # Asked once nobody can take over unseen: from here on, whoever follows takes the claim.
            if self.request.has_ended():
                raise RunError(
                    f"load '{self.definition.name}': run {self.request.run_id} has ended, and its"
                    " step was begun after that, as by a queue that delivers late. Nothing was"
                    " loaded, and nothing is to be done.",
                    stage="sync",
                    load=self.definition.name,
                )
            if holder:
                return holder
            if self.workspace.traits.can_read:
                self.recovery.settle()
            if not self.pipeline.has_pending_data:
                self._restore_state()
        return None

    def _restore_state(self) -> None:
        resources = self.definition.resources
        restore_state(
            self.pipeline,
            names=self.workspace.names,
            owns=None if resources == ResourceSelection() else resources.matches,
            warn=self.request.warn,
        )

    def _extract(self, source: Any) -> None:
        arguments = self.params.to("extract")
        if self.reload.replaces:
            # The resources have it as a hint, those that are replaced another one.
            arguments.pop("write_disposition", None)
        wanted = [name for name in self.selected if not self._is_finished(source, name)]
        if not wanted:
            return
        if len(wanted) < len(self.selected):
            source = source.with_resources(*wanted)
        self._own_states(source, wanted)
        self._apply_hints(source, wanted)
        limit = self.params.limit or self.definition.options.limit
        if limit:
            self._warn_of_limit(source, wanted, limit)
            source.add_limit(limit)
        parts = [source]
        if self.keeps_others:
            # A feed is extracted once, with all that hangs from it.
            families = self._feeds.families(wanted, self.ways.tables_of(source, wanted))
            parts = [source.with_resources(*family) for family in families]
        for part in parts:
            try:
                with (
                    bound_to_window(
                        part,
                        part.resources.selected,
                        self.request,
                        self._zone_of,
                    ) as cursors,
                    window_in_dlt(self.request.window),
                    watched_for_rows(
                        part,
                        part.resources.selected,
                        self.on_empty,
                        self.request,
                        self.definition.name,
                    ) as empty,
                    panics_as_errors(),
                ):
                    self._extracts.append(self.pipeline.extract(part, **arguments))
                self._window_cursors.extend(cursors)
                self._empty.extend(empty)
            except (PipelineStepFailed, PanicError) as error:
                if not self.keeps_others:
                    raise
                self._keep_others(error, part)
        if self._failures and len(self._failures) == len(wanted):
            raise run_error_of_all(self._failures, self.definition.name)
        if self._failures and self.reload.rows_before:
            self.packages.give_up()
            raise RunError(
                f"load '{self.definition.name}', extract: partition {self.reload.partition.label}"
                f" is loaded already, and resource '{self._failures[0].resource}' failed, so"
                f" nothing was replaced. {self._failures[0].message}",
                stage="extract",
                load=self.definition.name,
                resources=[failure.resource for failure in self._failures],
                verdict=Verdict.of_all(failure.verdict for failure in self._failures),
            )

    def _warn_of_limit(self, source: Any, wanted: Sequence[str], limit: int) -> None:
        """Say which tables and cursors a part of the rows leaves as if it were all of them."""
        for name in wanted:
            told = f"resource '{name}': `limit: {limit}` reads so many pages at most, and its"
            if self.request.window is None and self._feeds.moved(name):
                self.request.warn(
                    f"{told} cursor may go past rows that were not read, which no later run loads."
                    " Forget it with `loadsmith state reset` before the first whole load."
                )
            if self.ways.disposition_of(source.resources[name]) == "replace":
                self.request.warn(f"{told} table is replaced by their rows.")

    def _plan_reload(self, source: Any) -> None:
        """Let the packages of this run replace the partition, where that is what is asked.

        Raises:
            ResolveError: The rows of the partition could not be replaced exactly.
        """
        if self.params.get("refresh") and not self.request.has_all_partitions:
            self._refuse_refresh(source)
        if not self.packages.has_ledger:
            return
        replaced = self.ways.replaced(source, self.selected)
        texts = self._arguments_of(source, [one.name for one in replaced])
        replaced = [
            one if (text := texts[one.name]) is None else replace(one, arguments=digest(text))
            for one in replaced
        ]
        self.ways.apply(source, self.selected, replaced)
        replaced = [one for one in replaced if not self._is_finished(source, one.name)]
        self.reload.replace(replaced)
        if not replaced or self.params.get("refresh"):
            return
        whole = self.definition.part_of or self.definition.resources
        limit = self.params.limit or self.definition.options.limit
        with self.workspace.destination("look at the ledger"):
            shared: dict[str | None, list[str]] = {}
            if any(one.by_window for one in replaced):
                left_out = set(source.resources).difference(self.selected)
                shared = names_by_table(root_tables_of(source, filter(whole.matches, left_out)))
            self.packages.refuse(limit=limit, shared=shared)
        self.ways.forget_own_state(source, self.selected, self.reload.again)

    def _refuse_refresh(self, source: Any) -> None:
        if self.ways.of_partition(source, self.selected):
            raise ResolveError(
                f"load '{self.definition.name}': `refresh` drops what other partitions hold, and"
                f" this run loads {self.reload.partition.label} alone. Run it without partitions,"
                " or over all of them."
            )

    def _on_empty_if_said(self) -> str | None:
        options = self.definition.options
        is_said = options.on_empty_is_said or options.on_empty != RunOptions().on_empty
        return self.on_empty if is_said or "on_empty" in self.params else None

    def _arguments_of(self, source: Any, names: Iterable[str]) -> dict[str, str | None]:
        """Return the arguments that resources were made with, as text; None where not known."""
        reference = self.definition.source
        if isinstance(reference, SourceReference) and self.request.source is None:
            values: Any = {name: [reference.module, dict(reference.params)] for name in names}
        else:
            values = values_of(source, names)
        redact = self.redactor.redact_value
        return {
            name: None if own is None else json.dumps(redact(own), sort_keys=True, default=str)
            for name, own in values.items()
        }

    def _own_states(self, source: Any, wanted: Sequence[str]) -> None:
        feeds = dict.fromkeys(feed for name in wanted for feed in self._feeds.chain(name))
        self.pipeline.change_state = own_cursors(
            self.pipeline,
            source.name,
            self._arguments_of(source, feeds),
            self.definition,
            self.request,
        )

    def _apply_hints(self, source: Any, wanted: Sequence[str]) -> None:
        hints = self.params.to("resources")
        for name in wanted if hints else ():
            source.resources[name].apply_hints(**hints)

    def _zone_of(self, resource: str) -> str | None:
        """Return what the load says of the time zone of a cursor, or of what is fed by it."""
        zone = self.params.cursor_timezone or self.definition.options.cursor_timezone
        if not isinstance(zone, Mapping):
            return zone
        fed = (name for name in zone if resource in self._feeds.chain(name))
        return zone.get(resource) or next((zone[name] for name in fed), None)

    def _is_finished(self, source: Any, name: str) -> bool:
        """Tell whether a package that was completed first holds all that this run would extract.

        That is so for what is appended without a cursor, and for the same window again.
        """
        if name in self.recovery.kept:
            return True
        if name not in self.recovery.finished:
            return False
        resource = source.resources[name]
        if self.ways.disposition_of(resource) != "append":
            return False
        return self.request.window is not None or not self._feeds.moved(name)

    def _keep_others(self, error: Any, part: Any) -> None:
        failure = run_error(
            error,
            load=self.definition.name,
            working_dir=None,
            selected=tuple(part.resources.selected),
            redactor=self.redactor,
            pages=getattr(self.pipeline.collector, "pages", None),
            source=self.definition.source,
            keeps_others=True,
        )
        breach = failure.breach if isinstance(failure, ContractViolation) else None
        verdict = failure.verdict if isinstance(failure, RunError) else None
        self._failures += [
            ResourceFailure(
                resource=name,
                stage="extract",
                message=str(failure),
                breach=breach,
                verdict=verdict,
            )
            for name in part.resources.selected
        ]
        self.request.warn(str(failure))

    def _result(
        self,
        source: Any,
        before: Types,
        cursors: Mapping[str, Mapping[str, Any]],
    ) -> LoadResult:
        schema_name = source.schema.name
        schema = self.pipeline.schemas.get(schema_name)
        resources = list(dict.fromkeys((*self.selected, *sorted(self.recovery.finished))))
        changes = []
        for info in self.packages.load_infos:
            changes.extend(schema_changes(info, before))
        destination = self.pipeline.destination
        told = (self._extracts, self.packages.load_infos)
        origins = origins_of(told, self._feeds, self.selected, source, self.redactor, self.request)
        return LoadResult(
            load=self.definition.name,
            pipeline_name=self.workspace.base_name,
            dataset_name=dataset_of(self.pipeline),
            destination_name=destination.destination_name,
            destination_type=destination.destination_type,
            load_ids=tuple(entry.load_id for entry in self.packages.entries),
            started_at=self._started,
            ended_at=datetime.now(timezone.utc),
            first_run=self._first_run,
            tables=self._with_details(
                schema,
                table_results(
                    self.pipeline,
                    schema,
                    resources,
                    self.packages.rows,
                    declared_tables(self.definition.schema_file_path),
                    self._client_of(schema) if schema is not None else None,
                    promised=self._promised_tables(source),
                    places=origins.places,
                ),
            ),
            stages=tuple(self._stages),
            schema_changes=tuple(dict.fromkeys(changes)),
            cursors=(
                tuple(self._window_cursors)
                if self.request.window is not None
                else cursor_results(self.pipeline.state, source.name, self.selected, cursors)
            ),
            failures=tuple(self._failures),
            discards=discard_results(
                self._extracts,
                self.packages.rows,
                source,
                schema,
                resources,
                is_all=not self.recovery.load_ids,
            ),
            empty_resources=tuple(self._empty),
            waits=tuple(self.workspace.waits),
            recovered_load_ids=tuple(self.recovery.load_ids),
            working_dir=self.pipeline.working_dir,
            inputs=origins.inputs,
            columns_read=origins.columns,
            jobs=tuple(
                self.redactor.redact_value(job)
                for info in self.packages.load_infos
                for job in job_records(info)
            ),
        )

    def _with_details(self, schema: Any, tables: Iterable[TableResult]) -> tuple[TableResult, ...]:
        """Add what the packages have replaced, and which columns had values."""
        replaced, before = self.packages.replaced, self.reload.rows_before
        filled = self.packages.filled
        # Of what another run has loaded, the files are gone.
        is_known = {entry.load_id for entry in self.packages.entries} == filled.load_ids
        return tuple(
            replace(
                table,
                rows_replaced=replaced.get(table.name),
                rows_before=before.get(table.name) if table.name in replaced else None,
                filled=filled.of(schema, table.name) if is_known and table.columns else None,
            )
            for table in tables
        )

    def _promised_tables(self, source: Any) -> dict[str, str]:
        """Return the table that each resource of this run loads into, where hints name one."""
        return self.ways.tables_of(source, self.selected)

    def _client_of(self, schema: Any) -> Any:
        is_default = schema.name == self.pipeline.default_schema_name
        return self.workspace.client() if is_default else None

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if self.request.cancelled():
            raise InterruptedError("the run was cancelled")
        self.at = name
        self.request.log(f"load '{self.definition.name}': {name}")
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._stages.append(StageResult(name=name, seconds=round(seconds, 3)))
