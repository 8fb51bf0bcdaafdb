"""Run a load in the context of an asset or an op."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeAlias

import dagster as dg

from loadsmith.assets._dagster import differences, ended_with_run
from loadsmith.assets.define import (
    AssetTarget,
    DagsterDltTranslator,
    RunPartitions,
    build_live_specs,
    has_all_partitions,
    live_definition,
    loads_in,
    read_partitions,
    targets_of,
)
from loadsmith.assets.run.outcome import has_ended, is_canceled, outcome_of
from loadsmith.assets.run.report import LoadEvent, ResultEvents
from loadsmith.assets.run_config import asks_for_row_counts, has_our_config, read_choices
from loadsmith.config.templates import names_in
from loadsmith.engine.results import notify_schema_changes
from loadsmith.engine.sources import ByPartition, live_resources, recipe_of
from loadsmith.errors import (
    ConfigError,
    ContractViolation,
    LoadsmithError,
    ResolveError,
    RunError,
    SecretNotFound,
    SelectionError,
    Verdict,
    did_you_mean,
)
from loadsmith.model import LoadDefinition, RunArguments, RunRequest, SourceReference, Window
from loadsmith.resolve import render_definition, run_variables, used_variables

Context: TypeAlias = "dg.AssetExecutionContext | dg.OpExecutionContext"


@dataclass(frozen=True, kw_only=True)
class CurrentLoad:
    """The load of the running asset function."""

    definition: LoadDefinition
    config_is_ours: bool = False
    translator: DagsterDltTranslator | None = None


_ATTRIBUTE = "loadsmith_load"
"""Attribute of the function of an op, in which commands find the load that it runs."""


def mark_load(function: Callable[..., Any], definition: LoadDefinition) -> None:
    """Note on the function of an op which load it runs, for `load_of`."""
    setattr(function, _ATTRIBUTE, definition)


def load_of(assets: dg.AssetsDefinition) -> LoadDefinition | None:
    """Return the load that the op of assets runs, or None if it is no load of a front door."""
    if not assets.is_executable:
        return None
    function = getattr(getattr(assets.node_def, "compute_fn", None), "decorated_fn", None)
    definition: LoadDefinition | None = getattr(function, _ATTRIBUTE, None)
    return definition


_CURRENT: ContextVar[CurrentLoad | None] = ContextVar("loadsmith_current_load", default=None)


@contextmanager
def current_load(current: CurrentLoad) -> Iterator[None]:
    """Make a load known to `DagsterDltResource.run` during the block."""
    token = _CURRENT.set(current)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _load_of_specs(context: Context) -> CurrentLoad | None:
    """Return the load of the specs of a hand-written `multi_asset`, if they are of one.

    Raises:
        SelectionError: They are of several.
    """
    if not context.has_assets_def:
        return None
    names = loads_in(context.assets_def.metadata_by_key.values())
    if not names:
        return None
    if len(names) > 1:
        raise SelectionError(
            f"{context.op_def.name}: its specs are of several loads. Give dlt_source= and "
            "dlt_pipeline= to run(), or each load a multi_asset of its own."
        )
    (name,) = names
    return CurrentLoad(
        definition=name.definition,
        config_is_ours=has_our_config(context.op_def),
        translator=name.translator,
    )


class LoadEvents(Iterator[LoadEvent]):
    """The events of a run. The load begins with the first event."""

    def __init__(self, run: "_StepRun") -> None:
        self._run = run
        self._events = run.events()

    def __iter__(self) -> "LoadEvents":
        return self

    def __next__(self) -> LoadEvent:
        return next(self._events)

    def fetch_row_count(self) -> "LoadEvents":
        """Add `dagster/row_count`, the rows of each table in the destination.

        If the destination cannot count them, the load warns and does not fail.
        """
        self._run.fetches_row_counts = True
        return self


@dataclass
class _Shown:
    """What a run shows to an overridden `extract_resource_metadata`: dlt's live objects."""

    resource: "DagsterDltResource"
    context: Context
    live: tuple[Any, Any, Any] | None = None

    def take(self, *live: Any) -> None:
        self.live = live

    def metadata(self, resource: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of an asset as the override has it."""
        source, load_info, pipeline = self.live or (None, None, None)
        known = source.resources.get(resource) if source is not None else None
        if known is None or load_info is None:
            return metadata
        token = _METADATA.set(metadata)
        try:
            return dict(
                self.resource.extract_resource_metadata(self.context, known, load_info, pipeline)
            )
        finally:
            _METADATA.reset(token)


_METADATA: ContextVar[dict[str, Any] | None] = ContextVar("loadsmith_metadata", default=None)


class DagsterDltResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Runs loads: `yield from dlt.run(context=context)` in a `dlt_assets` function or an op."""

    def run(
        self,
        context: Context,
        dlt_source: Any = None,
        dlt_pipeline: Any = None,
        dagster_dlt_translator: DagsterDltTranslator | None = None,
        **kwargs: Any,
    ) -> LoadEvents:
        """Run a load and return its events.

        Args:
            context: The context of the asset or the op.
            dlt_source: A dlt source, or a function that makes it, for this run; required in an op.
            dlt_pipeline: A dlt pipeline, or a function that makes it, for this run; required in
                an op.
            dagster_dlt_translator: Decides the keys of the assets in an op.
            kwargs: Arguments of dlt's `pipeline.run`; the launchpad wins over them.

        Raises:
            SelectionError: Source or pipeline is missing outside of a `dlt_assets` function.
        """
        is_own = type(self).extract_resource_metadata is not (
            DagsterDltResource.extract_resource_metadata
        )
        current = _CURRENT.get()
        if current is None and (dlt_source is None or dlt_pipeline is None):
            current = _load_of_specs(context)
        if current is None:
            if dlt_source is None or dlt_pipeline is None:
                missing = "dlt_source" if dlt_source is None else "dlt_pipeline"
                raise SelectionError(
                    f"{context.op_def.name}: no load is known here. Use @dlt_assets, or give "
                    f"{missing}= to run()."
                )
            current = CurrentLoad(
                definition=live_definition(dlt_source, dlt_pipeline, nested_tables=False),
                config_is_ours=has_our_config(context.op_def),
            )
            dlt_source = dlt_pipeline = None
        return run_load_in_context(
            context,
            current.definition,
            translator=dagster_dlt_translator or current.translator,
            config_is_ours=current.config_is_ours,
            source=dlt_source,
            pipeline=dlt_pipeline,
            params=kwargs,
            shown=_Shown(self, context) if is_own else None,
        )

    def extract_resource_metadata(
        self, context: Context, resource: Any, load_info: Any, dlt_pipeline: Any
    ) -> Mapping[str, Any]:
        """Return the metadata of the materialization of an asset; made for overriding.

        Call `super().extract_resource_metadata(...)` and change what it gives.

        Args:
            context: The context of the asset or the op.
            resource: The live dlt resource.
            load_info: What dlt says of the last package of the run.
            dlt_pipeline: The live pipeline of the run.
        """
        return dict(_METADATA.get() or {})


def run_load_in_context(
    context: Context,
    definition: LoadDefinition,
    *,
    translator: DagsterDltTranslator | None = None,
    config_is_ours: bool = False,
    source: Any = None,
    pipeline: Any = None,
    params: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    shown: "_Shown | None" = None,
) -> LoadEvents:
    """Run a load in the context of an asset or an op.

    Args:
        context: The context.
        definition: The load.
        translator: Decides the keys, if the metadata of the assets does not name resources.
        config_is_ours: Whether the run configuration is a `DltRunConfig`.
        source: A source, or a function that makes it, instead of the definition's.
        pipeline: A pipeline, or a function that makes it, instead of the definition's.
        params: Arguments of dlt's `run`.
        variables: Values of `{{variables}}` in addition to those of the context.
        shown: Takes dlt's live objects, and gives metadata to the assets.
    """
    return LoadEvents(
        _StepRun(
            context=context,
            definition=definition,
            translator=translator,
            config_is_ours=config_is_ours,
            source=source,
            pipeline=pipeline,
            params=dict(RunArguments.of(params or {}, "run()")),
            variables=dict(variables or {}),
            shown=shown,
        )
    )


@dataclass(kw_only=True)
class _StepRun:
    context: Any
    definition: LoadDefinition
    translator: DagsterDltTranslator | None
    config_is_ours: bool
    source: Any
    pipeline: Any
    params: dict[str, Any]
    variables: dict[str, Any]
    shown: _Shown | None = None
    fetches_row_counts: bool = False

    def events(self) -> Iterator[LoadEvent]:
        """Run the load and yield its events.

        Raises:
            dagster.Failure: The load failed, or a resource failed and the others were kept.
        """
        try:
            yield from self._events()
        except ContractViolation as error:
            yield from self.report.broken_contract(error.breach, str(error), error.resources)
            _raise_failure(error, self.definition.place)
        except LoadsmithError as error:
            _raise_failure(error, self.definition.place)

    def _events(self) -> Iterator[LoadEvent]:
        partitions = read_partitions(self.context)
        targets = self._targets()
        selected = self._of_source(targets, self._selected(targets))
        self.report = ResultEvents(
            context=self.context,
            definition=self.definition,
            targets=targets,
            selected=selected,
            partitions=partitions,
            table_name=self.params.get("table_name"),
        )
        if self.shown is not None:
            self.report.extract = self.shown.metadata
        if not selected:
            self.context.log.warning(
                "load '%s': no asset is selected, so nothing is loaded", self.definition.name
            )
            return
        if len(partitions.keys) > 1 and partitions.window is None and self.source is None:
            raise SelectionError(
                f"load '{self.definition.name}': partitions {partitions.label} are no range of "
                "time, and each keeps a cursor of its own. Load them one by one: "
                "backfill_policy=dg.BackfillPolicy.multi_run(1)."
            )
        request = self._request(targets, selected, partitions)
        request.log(f"load '{self.definition.name}': starting")
        # Only runs import dlt; definitions do not need it.
        from loadsmith.engine.run import run_load

        definition = render_definition(self.definition, request.variables)
        for difference in differences():
            request.warn(difference)
        with ended_with_run(), run_load(definition, request) as result:
            told = self.report.with_missing(result)
            notify_schema_changes(self.definition.name, told.schema_changes, request.warn)
            self.report.fetches_row_counts = self.fetches_row_counts or asks_for_row_counts(
                self.context
            )
            yield from self.report.events(told)
        request.log(f"load '{self.definition.name}': {result.summary()}")
        if result.failures:
            raise RunError(
                f"load '{self.definition.name}': {len(result.failures)} of its resources failed, "
                "the others are loaded.\n"
                + "\n".join(
                    f"- {failure.resource} ({failure.stage}): {failure.message}"
                    for failure in result.failures
                )
                + "\nFix them and run their assets again.",
                stage=result.failures[0].stage,
                load=self.definition.name,
                resources=[failure.resource for failure in result.failures],
                verdict=Verdict.of_all(failure.verdict for failure in result.failures),
            )

    def _targets(self) -> dict[dg.AssetKey, AssetTarget]:
        """Return what each asset stands for, from its metadata or else from the translator."""
        if self.context.has_assets_def:
            targets = targets_of(self.context.assets_def.metadata_by_key)
            if targets:
                return targets
        specs = build_live_specs(self.definition, self.translator)
        return targets_of({spec.key: spec.metadata for spec in specs})

    def _selected(self, targets: Mapping[dg.AssetKey, AssetTarget]) -> list[dg.AssetKey]:
        """Return the selected keys in the order in which Dagster needs them: upstream assets first.

        Raises:
            SelectionError: A selected asset belongs to no resource of the load.
        """
        if not self.context.has_assets_def:
            return list(targets)
        assets = self.context.assets_def
        selected = set(self.context.selected_asset_keys)
        known = [key.to_user_string() for key in targets]
        for key in selected:
            if key not in targets:
                name = key.to_user_string()
                raise SelectionError(
                    f"asset '{name}': no resource of the load '{self.definition.name}' makes it."
                    f"{did_you_mean(name, known)}"
                )
        return _upstream_first(
            [key for key in targets if key in selected],
            {spec.key: [dep.asset_key for dep in spec.deps] for spec in assets.specs},
        )

    def _of_source(
        self, targets: Mapping[dg.AssetKey, AssetTarget], selected: list[dg.AssetKey]
    ) -> list[dg.AssetKey]:
        """Return the keys whose resources are in the source that was given for this run, if any.

        Raises:
            SelectionError: An asset that was selected by name is not among them.
        """
        if self.source is None:
            return selected
        self.source, _ = live_resources(recipe_of(self.source))
        names = set(self.source.resources.selected)
        known = [key for key in selected if targets[key].resource in names]
        if self.context.has_assets_def and self.context.is_subset and known != selected:
            lost = next(key for key in selected if key not in known)
            raise SelectionError(
                f"asset '{lost.to_user_string()}': the source of this run has no resource "
                f"'{targets[lost].resource}'.{did_you_mean(targets[lost].resource, names)}"
            )
        return known

    def _arguments_hold_window(self) -> bool:
        """Tell whether the arguments of the source say which partition or window is loaded."""
        source = self.definition.source
        used = names_in(source.params) if isinstance(source, SourceReference) else set()
        return self.source is None and any(name.startswith("context.partition") for name in used)

    def _of_partition(self, given: Any, recipe: Any, partitions: RunPartitions) -> Any:
        """Return the source or the pipeline of this run, where it is not the definition's.

        Raises:
            SelectionError: A function of the partition makes it, and there are several.
        """
        if given is not None or not isinstance(recipe, ByPartition):
            return given
        if len(partitions.keys) != 1:
            raise SelectionError(
                f"load '{self.definition.name}': a function of `partition_key` makes its source or"
                " pipeline, so each partition needs a run of its own. Use"
                " backfill_policy=dg.BackfillPolicy.multi_run(1)."
            )
        return partial(recipe.function, partitions.keys[0])

    def _request(
        self,
        targets: Mapping[dg.AssetKey, AssetTarget],
        selected: Iterable[dg.AssetKey],
        partitions: RunPartitions,
    ) -> RunRequest:
        context = self.context
        choices = read_choices(context, config_is_ours=self.config_is_ours)
        params = {**self.params, **choices.params}
        window = _in_zone_of(choices.window, partitions.window) or partitions.window
        is_subset = context.has_assets_def and context.is_subset
        chosen = [targets[key] for key in selected]
        tables = tuple(target.table for target in chosen if target.table is not None)
        return RunRequest(
            run_id=context.run.run_id,
            root_run_id=context.run.root_run_id,
            attempt=context.retry_number,
            outcome_of=partial(outcome_of, context, self.definition.name),
            has_ended=partial(has_ended, context),
            is_canceled=partial(is_canceled, context),
            resources=tuple(dict.fromkeys(target.resource for target in chosen)),
            tables=tables if is_subset and len(tables) == len(chosen) else None,
            partition_key=partitions.keys[0] if len(partitions.keys) == 1 else None,
            partition_keys=partitions.keys,
            has_all_partitions=bool(params.get("refresh"))
            and has_all_partitions(context, partitions),
            window=window,
            window_is_chosen=choices.window is not None,
            variables={
                **run_variables(
                    used_variables(self.definition),
                    run_id=context.run.run_id,
                    partition_key=partitions.key,
                    window=window,
                ),
                **self.variables,
            },
            source=self._of_partition(self.source, self.definition.source, partitions),
            pipeline=self._of_partition(self.pipeline, self.definition.pipeline, partitions),
            params=RunArguments.of(params),
            arguments_hold_window=self._arguments_hold_window(),
            log=context.log.info,
            warn=context.log.warning,
            show_live=self.shown.take if self.shown is not None else _ignore,
        )


def _ignore(*_live: Any) -> None:
    """Take what nobody asks for."""


def _in_zone_of(chosen: Window | None, window: Window | None) -> Window | None:
    """Return a window that was chosen for a run, in the time zone of the partitions."""
    if chosen is None or window is None:
        return chosen
    zone = window.start.tzinfo
    return Window(start=chosen.start.astimezone(zone), end=chosen.end.astimezone(zone))


def _upstream_first(
    keys: list[dg.AssetKey], deps: Mapping[dg.AssetKey, list[dg.AssetKey]]
) -> list[dg.AssetKey]:
    wanted, ordered = set(keys), dict[dg.AssetKey, None]()
    for key in keys:
        waiting = [key]
        while waiting:
            current = waiting[-1]
            before = [dep for dep in deps.get(current, ()) if dep in wanted and dep not in ordered]
            if before and current not in before and not set(before) & set(waiting):
                waiting.extend(before)
                continue
            ordered[waiting.pop()] = None
    return list(ordered)


def _raise_failure(error: LoadsmithError, place: str | None) -> NoReturn:
    """Raise Dagster's failure for an error; it allows retries if they may help.

    The text of a mistake in a file begins with the place of the load.

    Raises:
        dagster.Failure: The load failed.
        dagster.RetryRequested: The load failed, and its source has asked for a retry.
    """
    text = str(error)
    is_mistake = isinstance(error, (ConfigError, ResolveError))
    if place and is_mistake and not isinstance(error, SecretNotFound) and place not in text:
        text = f"{place}: {text}"
    metadata: dict[str, Any] = {"load": "", "stage": "", "table": ""}
    if isinstance(error, RunError):
        metadata = {"load": error.load, "stage": error.stage, "table": error.table or ""}
        if error.resources:
            metadata["resources"] = list(error.resources)
    may_help = isinstance(error, RunError) and not isinstance(error, ContractViolation)
    verdict = (error.verdict if isinstance(error, RunError) else None) or Verdict()
    failure = dg.Failure(
        description=text,
        metadata={
            **{name: value for name, value in metadata.items() if value},
            **verdict.metadata,
        },
        allow_retries=may_help and verdict.allow_retries,
    )
    if isinstance(error, SecretNotFound):
        # The text says all; the hundreds of lines of dlt's own would hide it.
        raise failure from None
    if verdict.max_retries is None:
        raise failure from error
    failure.__cause__ = error
    raise dg.RetryRequested(verdict.max_retries, verdict.seconds_to_wait) from failure
