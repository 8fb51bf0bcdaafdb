"""The models of a load in files: the `params` of a dlt asset and an entry of the component."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from loadsmith.config.settings import Names, Settings
from loadsmith.errors import did_you_mean
from loadsmith.model import (
    Granularity,
    Normalizer,
    OnEmpty,
    OnError,
    guard_problem,
    timezone_problem,
)

WRITE_DISPOSITIONS = ("append", "replace", "merge", "skip")
"""dlt's write dispositions; a mapping with `disposition` and `strategy` is one, too."""


class RunParams(Settings):
    """Arguments of dlt's `pipeline.run`; those that are not given are left to dlt."""

    write_disposition: str | dict[str, Any] | None = Field(
        default=None,
        description="`append`, `replace`, `merge` or `skip`, or a mapping with the merge strategy.",
    )
    primary_key: str | list[str] | None = Field(
        default=None, description="Columns that identify a row."
    )
    merge_key: str | list[str] | None = Field(
        default=None, description="Columns whose values are replaced together; for `merge`."
    )
    columns: dict[str, Any] | list[Any] | None = Field(
        default=None, description="Column hints of dlt: data types, nullability and more, by name."
    )
    table_name: str | None = Field(
        default=None, description="Name of the table, where it is not the resource's."
    )
    table_format: Any = Field(
        default=None, description="`delta`, `iceberg`, `hive` or `native`, where it can be chosen."
    )
    loader_file_format: str | None = Field(
        default=None,
        description="`parquet`, `jsonl`, `insert_values`, `csv`, ...; the fastest if left out.",
    )
    schema_contract: str | dict[str, Any] | None = Field(
        default=None,
        description="`evolve`, `freeze`, `discard_value` or `discard_row`, or by entity.",
    )
    refresh: str | None = Field(
        default=None,
        description="`drop_sources`, `drop_resources` or `drop_data` before the load.",
    )
    staging: Any = Field(
        default=None, description="Destination that files are put to before they are loaded."
    )
    credentials: Any = Field(default=None, description="Credentials of the destination.")

    @field_validator("write_disposition")
    @classmethod
    def _know_disposition(cls, value: Any) -> Any:
        name = value.get("disposition") if isinstance(value, dict) else value
        if isinstance(name, str) and "{{" not in name and name not in WRITE_DISPOSITIONS:
            hint = did_you_mean(name, WRITE_DISPOSITIONS)
            raise ValueError(f"there is no write disposition {name!r}.{hint}")
        return value


class PipelineParams(Settings):
    """Arguments of `dlt.pipeline`; those that are not given are left to dlt."""

    pipeline_name: str | None = Field(
        default=None,
        description="Name of the pipeline and of its state; from the asset key if left out.",
    )
    dataset_name: str | None = Field(
        default=None,
        description="Dataset (schema, folder) of the tables; else `<pipeline_name>_dataset`.",
    )
    pipelines_dir: str | None = Field(
        default=None, description="Folder of the working directories; dlt's own if left out."
    )
    dev_mode: bool | None = Field(
        default=None, description="Load into a dataset of its own in each run."
    )
    refresh: str | None = Field(
        default=None,
        description="`drop_sources`, `drop_resources` or `drop_data` before each load.",
    )
    staging: Any = Field(
        default=None, description="Destination that files are put to before they are loaded."
    )
    progress: str | None = Field(
        default=None, description="dlt's progress: `log`, `tqdm`, `enlighten`, `alive_progress`."
    )
    import_schema_path: str | None = Field(
        default=None, description="Folder that dlt reads schemas from before a load."
    )
    export_schema_path: str | None = Field(
        default=None, description="Folder that dlt writes schemas to after a load."
    )
    pipeline_salt: str | None = Field(
        default=None, description="dlt's secret for hashing names; name it, do not write it."
    )


class ProfileParams(Settings):
    """What differs in one deployment; mappings are merged with the load's own, key by key."""

    destination: str | None = Field(default=None, description="Destination in this profile.")
    destination_params: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the destination in this profile."
    )
    pipeline_params: PipelineParams = Field(
        default_factory=PipelineParams, description="Pipeline settings in this profile."
    )
    source_params: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the source in this profile."
    )
    run_params: RunParams = Field(default_factory=RunParams, description="How this profile loads.")
    limit: int | None = Field(
        default=None, ge=1, description="At most so many pages of each resource in this profile."
    )


class LoadOptions(Settings):
    """All options of a load, none of them needed: what `defaults` may hold."""

    source_params: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the source function. Strings may hold `{{variables}}`.",
    )
    resources: Names | None = Field(
        default=None,
        description="Names of the resources to load; `*` and `?` stand for any characters.",
    )
    exclude: Names = Field(
        default=(), description="Names of resources that are not loaded, in the same patterns."
    )
    destination: str | None = Field(
        default=None,
        description="dlt's name of the destination, such as `duckdb`, or a dotted path to one.",
    )
    destination_params: dict[str, Any] = Field(
        default_factory=dict,
        description=(
            "Settings of the destination: `database` for DuckDB, `project` and `dataset` for "
            "BigQuery, `bucket_url` for the file system, and whatever its dlt class takes."
        ),
    )
    pipeline_params: PipelineParams = Field(
        default_factory=PipelineParams, description="Arguments of `dlt.pipeline`."
    )
    run_params: RunParams = Field(
        default_factory=RunParams, description="Arguments of dlt's `pipeline.run`."
    )
    schema_file_path: str | None = Field(
        default=None,
        description="Schema file exported by dlt, relative to `project_dir`; tells the tables.",
    )
    on_error: OnError = Field(
        default="fail",
        description="`fail` with the first resource that fails, or `keep` what the others loaded.",
    )
    on_empty: OnEmpty = Field(
        default="truncate",
        description=(
            "Where a resource yields no row in a run: `truncate` a replaced table, as dlt does, "
            "`keep` its rows, `fail` before anything is loaded, or truncate and `warn`."
        ),
    )
    granularity: Granularity = Field(
        default="source",
        description=(
            "Ops of the load, each with its own retries: one for the whole `source`, for each "
            "`component` of resources that feed one another, or for each `table`."
        ),
    )
    normalizer: Normalizer = Field(
        default="arrow",
        description=(
            "`arrow` takes plain records apart by column, with the same result as dlt's row "
            "normalizer; `dlt` takes that one for all records."
        ),
    )
    cursor_timezone: str | dict[str, str] | None = Field(
        default=None,
        description=(
            "Time zone of cursor values that have none, where partitions are not in UTC: "
            "`partition`, `UTC`, the name of a zone, or one of these by resource."
        ),
    )
    partitioned: bool | None = Field(
        default=None,
        description=(
            "Whether loading a partition again replaces its rows; found out if left out: the cursor"
            " took the window, or an argument of the source names the partition."
        ),
    )
    reload: Literal["append", "replace", "window"] | None = Field(
        default=None,
        description=(
            "What loading a partition again does: `append` as dlt does, `replace` also removes rows"
            " of a merge that the source no longer has, `window` removes all rows of the window."
        ),
    )
    guard: dict[str, float] | float | None = Field(
        default=None,
        description=(
            "`{at_least: 0.8}` fails a run that would leave a partition, or a table that it"
            " replaces, with less than this share of its rows; nothing is removed then."
        ),
    )
    limit: int | None = Field(
        default=None, ge=1, description="At most so many pages of each resource; for trying out."
    )
    profiles: dict[str, ProfileParams] = Field(
        default_factory=dict,
        description=(
            "What differs by deployment: settings by profile name. `LOADSMITH_PROFILE` chooses; "
            "without it, the deployment's name does, and `dev` on a machine of one's own."
        ),
    )

    @field_validator("cursor_timezone")
    @classmethod
    def _know_zone(cls, value: Any) -> Any:
        problem = None if value is None else timezone_problem(value)
        if problem:
            raise ValueError(problem)
        return value

    @field_validator("guard")
    @classmethod
    def _know_share(cls, value: Any) -> Any:
        problem = None if value is None else guard_problem(value)
        if problem:
            raise ValueError(problem)
        return value


_SOURCE_MODULE = (
    "Python path of the source relative to `project_dir` (`github.source`, or "
    "`github.source.github_source` for the function), or dlt's own `rest_api`, "
    "`sql_database`, `filesystem`."
)


class DefaultParams(LoadOptions):
    """Options of the dlt assets of a file."""

    source_module: str | None = Field(default=None, min_length=1, description=_SOURCE_MODULE)


class LoadParams(LoadOptions):
    """One source into one dataset by one pipeline, as files describe it."""

    source_module: str = Field(min_length=1, description=_SOURCE_MODULE)

    @model_validator(mode="after")
    def _go_somewhere(self) -> "LoadParams":
        without = [name for name, profile in self.profiles.items() if not profile.destination]
        if self.destination is None and (without or not self.profiles):
            where = f" in the profile {without[0]!r}" if without else ""
            raise ValueError(
                f"there is no `destination`{where}. Add one, such as `destination: duckdb`."
            )
        return self
