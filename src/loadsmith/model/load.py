"""LoadDefinition: the recipe of a load. Nothing in it is open, imported or connected yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, get_args

from loadsmith.errors import ConfigError, one_of
from loadsmith.model.arguments import RunArguments, guard_problem, timezone_problem

OnError = Literal["fail", "keep"]
"""What a load does when a resource fails."""

OnEmpty = Literal["truncate", "keep", "fail", "warn"]
"""What a load does when a resource yields no row."""

Normalizer = Literal["arrow", "dlt"]
"""How records become rows of tables."""

Granularity = Literal["source", "component", "table"]
"""How a load is split into ops."""

ON_ERROR: tuple[str, ...] = get_args(OnError)
ON_EMPTY: tuple[str, ...] = get_args(OnEmpty)
NORMALIZERS: tuple[str, ...] = get_args(Normalizer)
GRANULARITIES: tuple[str, ...] = get_args(Granularity)

#: What makes a shell pattern of a name.
_SPECIAL = frozenset("*?[")


#: What loading a partition again does with its rows, where it is not what the disposition says.
RELOADS = ("append", "replace", "window")


@dataclass(frozen=True, kw_only=True)
class SourceReference:
    """A dlt source by name, and the arguments that it is called with in the run.

    Attributes:
        module: `github.source` (a module with one `@dlt.source`), `github.source.github_source`
            (the function), or a name of dlt's own (`rest_api`, `sql_database`, `filesystem`,
            `filesystem.readers`).
        params: Arguments of the source function. Strings may hold `{{variables}}`, which the
            run's `RunRequest.variables` resolve.
        search_path: Absolute path of the folder that `module` is looked up in, or None for
            Python's own path.
        secrets_files: `secrets.toml` files, the one that wins last. Missing ones are fine.
    """

    module: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    search_path: str | None = None
    secrets_files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DestinationReference:
    """A dlt destination by name, and what its class is made with in the run.

    Attributes:
        name: `duckdb`, `postgres`, `filesystem`, ... or a dotted path to a destination.
        params: Settings as the front doors take them (`database`, `project`, `dataset`,
            `bucket_url`, `credentials`, ...). Strings may hold `{{variables}}`.
        base_path: Absolute path of the folder that relative paths in `params` start from.
        search_path: Absolute path of the folder that a dotted path is looked up in before
            Python's own path, or None.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    base_path: str | None = None
    search_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """What `dlt.pipeline` is called with in the run, beside the destination.

    Attributes:
        pipeline_name: Name of the state, too: who renames it starts without cursors.
        dataset_name: Dataset (schema, folder) of the tables.
        pipelines_dir: Folder of the working directories; dlt's own where None.
        params: All other arguments of `dlt.pipeline`, such as `dev_mode` or `staging`.
    """

    pipeline_name: str
    dataset_name: str | None = None
    pipelines_dir: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class ResourceSelection:
    """Which resources of a source a load takes: shell patterns, the excluded ones last."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def matches(self, name: str) -> bool:
        """Tell whether the resource `name` is loaded."""
        is_included = name in self._plain or any(
            fnmatchcase(name, pattern) for pattern in self._patterns
        )
        return is_included and not any(fnmatchcase(name, pattern) for pattern in self.exclude)

    @property
    def is_plain(self) -> bool:
        """Tell whether all names are written out, so that nobody needs to ask the source."""
        return not self.exclude and not self._patterns

    # Thousands of names may be written out, and each of them be asked for.

    @cached_property
    def _plain(self) -> frozenset[str]:
        return frozenset(self.include).difference(self._patterns)

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(pattern for pattern in self.include if not _SPECIAL.isdisjoint(pattern))


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run loads; the launchpad's values win over the definition's.

    Attributes:
        params: Arguments of dlt's `pipeline.run`.
        limit: At most so many pages of each resource (dlt's `add_limit`).
        on_error: `fail` ends the load with the first resource that fails; `keep` loads the
            others and retries the failed ones alone.
        on_empty: What becomes of a resource that yields no row in a run: `truncate` is what dlt
            does, which empties a replaced table; `keep` leaves its rows where they are; `fail`
            ends the load before anything is loaded; `warn` truncates and says so.
        on_empty_is_said: Whether the user has set `on_empty`; without it, a run does not empty a
            partition that has rows.
        partitioned: Whether a partition is a part of what the resources yield, so that loading it
            again replaces it; None to find out.
        reload: What loading a partition again does with what is appended or merged: `append` keeps
            dlt's way, `replace` removes rows of a merge that the source has no more.
        guard: The share of the rows that are there which a reload, or a `replace` without
            partitions, has to bring: `{"at_least": 0.8}`, or the number alone.
        normalizer: `arrow` takes plain records apart by column, which gives exactly what dlt's
            row normalizer gives and is faster; `dlt` takes that one for all records.
        cursor_timezone: Time zone of cursor values that have none, for windows that are not in UTC:
            `partition`, `UTC`, a name, or one of these by resource.

    Raises:
        ConfigError: An argument or a time zone is unknown.
    """

    params: RunArguments = field(default_factory=RunArguments, repr=False)
    limit: int | None = None
    on_error: str = "fail"
    on_empty: str = "truncate"
    on_empty_is_said: bool = False
    partitioned: bool | None = None
    reload: str | None = None
    guard: float | Mapping[str, float] | None = None
    normalizer: str = "arrow"
    cursor_timezone: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", RunArguments.of(self.params, "run_params"))
        if self.reload is not None:
            one_of(RELOADS, self.reload, "reload")
        if self.guard is not None and (problem := guard_problem(self.guard)):
            raise ConfigError(f"guard: {problem}")
        if self.cursor_timezone is not None:
            problem = timezone_problem(self.cursor_timezone)
            if problem:
                raise ConfigError(f"cursor_timezone: {problem}")

    @property
    def least_share(self) -> float | None:
        """The share of the rows that `guard` asks for; None without a guard."""
        return self.guard["at_least"] if isinstance(self.guard, Mapping) else self.guard


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Rows of a table that a run shows on the page of its asset.

    Attributes:
        rows: How many; none for 0.
        exclude: Columns that are left out, with all below them: names or shell patterns.
    """

    rows: int = 5
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AssetAttributes:
    """Dagster's settings of the assets of a load or a resource; plain data, merged by doors.

    Attributes:
        automation_condition: A name (`eager`, `on_cron`, `on_missing`, `on_schedule`), a function
            without arguments that returns a condition of Dagster's, or None.
        automation_condition_config: Arguments of it (`cron_schedule`, `cron_timezone`).
        freshness_lower_bound_delta_seconds: Age in seconds at which a freshness check fails.
        checks: Opt-in checks: `primary_key`, `row_count`, `schema_change`, `schema_contract`,
            each with its settings (an empty mapping for the defaults).
        partitioned: Like that of `RunOptions`, over which it wins.
        preview: The rows that a run shows on the asset's page; None for none.
    """

    group_name: str | None = None
    description: str | None = None
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    automation_condition: str | Callable[[], Any] | None = None
    automation_condition_config: Mapping[str, Any] = field(default_factory=dict)
    freshness_lower_bound_delta_seconds: float | None = None
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    partitioned: bool | None = None
    preview: Preview | None = None

    def merged_over(self, defaults: "AssetAttributes") -> "AssetAttributes":
        """Return these attributes, filled up with `defaults`; mappings are merged key by key."""
        return AssetAttributes(
            group_name=self.group_name or defaults.group_name,
            description=self.description or defaults.description,
            owners=self.owners or defaults.owners,
            tags={**defaults.tags, **self.tags},
            kinds=self.kinds or defaults.kinds,
            deps=tuple(dict.fromkeys((*defaults.deps, *self.deps))),
            metadata={**defaults.metadata, **self.metadata},
            automation_condition=self.automation_condition or defaults.automation_condition,
            automation_condition_config=(
                self.automation_condition_config
                if self.automation_condition
                else {**defaults.automation_condition_config, **self.automation_condition_config}
            ),
            freshness_lower_bound_delta_seconds=(
                self.freshness_lower_bound_delta_seconds
                if self.freshness_lower_bound_delta_seconds is not None
                else defaults.freshness_lower_bound_delta_seconds
            ),
            checks={**defaults.checks, **self.checks},
            partitioned=self.partitioned if self.partitioned is not None else defaults.partitioned,
            preview=self.preview if self.preview is not None else defaults.preview,
        )


def merged_tags(tags: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return op tags with others over them, as dagster-k8s merges its own configuration.

    Mappings are merged key by key; lists are joined, and hold each item once.
    """
    merged = dict(tags)
    for name, value in over.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[name] = merged_tags(before, value)
        elif isinstance(before, (list, tuple)) and isinstance(value, (list, tuple)):
            merged[name] = [*before, *(item for item in value if item not in before)]
        else:
            merged[name] = value
    return merged


@dataclass(frozen=True, kw_only=True)
class OpSettings:
    """How Dagster runs the op of a load.

    Attributes:
        max_retries: Retries after a failure; 0 for none.
        retry_delay_seconds: Time before the first retry.
        retry_backoff: `linear` or `exponential`, or None for the same delay each time.
        retry_jitter: `full` or `plus_minus`, or None.
        granularity: Ops that a load is split into: `source` is one for all of it (several where it
            has very many tables), `component` one for each resource with those that it feeds or
            shares its feed with, `table` one for each resource that no other of the load feeds.
        max_partitions_per_run: Partitions of a backfill that one run takes; None for all that
            are windows in one run, and one run each for the others.
    """

    pool: str | None = None
    op_tags: Mapping[str, Any] = field(default_factory=dict)
    max_retries: int = 0
    retry_delay_seconds: float | None = None
    retry_backoff: str | None = None
    retry_jitter: str | None = None
    max_partitions_per_run: int | None = None
    granularity: str = "source"


@dataclass(frozen=True, kw_only=True)
class PartitionSettings:
    """Partitions in plain data.

    Attributes:
        kind: `hourly`, `daily`, `weekly`, `monthly`, `cron`, `static`, `dynamic` or `multi`.
        start: First time, in `fmt` or ISO text; for the time kinds.
        end: First time that is not in it, or None.
        cron_schedule: For `cron`.
        fmt: Format of the partition keys; Dagster's own for the kind where None.
        keys: For `static`.
        name: For `dynamic`.
        dimensions: For `multi`: two partitions by name.
    """

    kind: str
    start: str | None = None
    end: str | None = None
    cron_schedule: str | None = None
    timezone: str | None = None
    fmt: str | None = None
    minute_offset: int = 0
    hour_offset: int = 0
    day_offset: int = 0
    end_offset: int = 0
    keys: tuple[str, ...] = ()
    name: str | None = None
    dimensions: Mapping[str, "PartitionSettings"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LoadDefinition:
    """One source into one dataset by one pipeline: the recipe.

    Attributes:
        name: Unique among the loads of a code location; letters, digits and `_` only.
        source: A reference, or a function without arguments that makes the dlt source. A door
            that was handed a live source gives a function that returns it.
        pipeline: Settings, or a function without arguments that makes the dlt pipeline.
        destination: Needed with `PipelineSettings`, absent with a pipeline function.
        resources: Which resources of the source are loaded.
        schema_file_path: Absolute path of dlt's exported schema, the snapshot of this load.
        snapshot_path: Absolute path of a stored `LoadSnapshot` (JSON), where there is one.
        options: How a run loads.
        attributes: Dagster settings of every asset of the load.
        resource_attributes: Dagster settings by resource name, over `attributes`.
        op: How Dagster runs the op.
        resource_ops: How Dagster runs the op of a resource, by its name, where that is not how it
            runs the load's; such resources have ops of their own.
        partitions: The partitions of every asset of the load.
        nested_tables: Whether a nested table is an asset of its own.
        owns_pipeline_name: False where other definitions load by the same pipeline name, so
            that this one needs a working directory of its own.
        part_of: The resources of the whole load, where this is a part that has an op of its own.
        whole: Name of the whole load, where this is a part of it.
        whole_owns_pipeline_name: The same as `owns_pipeline_name` for the whole load.
        place: `file:line:column` that the definition comes from, for errors.
    """

    name: str
    source: SourceReference | Callable[[], Any]
    pipeline: PipelineSettings | Callable[[], Any]
    destination: DestinationReference | None = None
    resources: ResourceSelection = ResourceSelection()
    schema_file_path: str | None = None
    snapshot_path: str | None = None
    options: RunOptions = RunOptions()
    attributes: AssetAttributes = AssetAttributes()
    resource_attributes: Mapping[str, AssetAttributes] = field(default_factory=dict)
    op: OpSettings = OpSettings()
    resource_ops: Mapping[str, OpSettings] = field(default_factory=dict)
    partitions: PartitionSettings | None = None
    nested_tables: bool = True
    owns_pipeline_name: bool = True
    part_of: ResourceSelection | None = None
    whole: str | None = None
    whole_owns_pipeline_name: bool = True
    place: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the whole load owns the pipeline name, also where this is a part of it."""
        return self.owns_pipeline_name if self.whole is None else self.whole_owns_pipeline_name

    def attributes_of(self, resource_name: str) -> AssetAttributes:
        """Return the Dagster settings of one resource, the load's defaults merged in."""
        own = self.resource_attributes.get(resource_name)
        return own.merged_over(self.attributes) if own else self.attributes


_DEFINED: set[str] = set()


def note_defined(definition: LoadDefinition) -> None:
    """Note that this process defines a load; see `defined_loads`."""
    _DEFINED.add(definition.whole or definition.name)


def defined_loads() -> frozenset[str]:
    """Return the names of the loads that this process defines, as a code location does."""
    return frozenset(_DEFINED)
