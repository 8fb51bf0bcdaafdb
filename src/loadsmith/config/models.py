"""The files of a project as pydantic models, which also give their JSON Schema."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from loadsmith.config.load_params import (
    DefaultParams,
    LoadParams,
)
from loadsmith.config.partition_params import PartitionParams, check_cron
from loadsmith.config.settings import (
    AssetSettings,
    Names,
    ResourceOpSettings,
    Settings,
)

SHORT_DLT_KEY = "DLT asset key must contain at least one '/'"
"""The text that the page of reference 1 quotes for a dlt asset key of one part."""


_KEY = re.compile(r"[\w./-]+", re.ASCII)


class _AssetEntry(AssetSettings):
    asset_key: str = Field(
        min_length=1, description="Key of the asset, its parts joined by `/`; unique in a project."
    )
    depends_on: Names = Field(
        default=(),
        description=(
            "Keys of assets of this project that come first; their metadata are variables here."
        ),
    )

    @field_validator("asset_key")
    @classmethod
    def _have_parts(cls, value: str) -> str:
        if not all(part.strip() for part in value.split("/")):
            raise ValueError(
                f"the asset key {value!r} has an empty part. Join the parts with one '/' each."
            )
        if not _KEY.fullmatch(value):
            raise ValueError(
                f"the asset key {value!r} has characters that Dagster does not take. Write letters "
                "(a to z), digits, '_', '-' and '.', and '/' between the parts."
            )
        return value


class DltAsset(_AssetEntry):
    """A load: the tables of a dlt resource, an asset each."""

    task_type: Literal["dlt"] = Field(description="What makes the asset: `dlt`.")
    params: LoadParams = Field(description="The load: source, destination and how it runs.")
    resource_settings: dict[str, ResourceOpSettings] = Field(
        default_factory=dict,
        description=(
            "Settings by dlt resource, where `params.resources` names several; `pool`, `op_tags` "
            "and `retry_policy` give it an op of its own."
        ),
    )

    @field_validator("asset_key")
    @classmethod
    def _have_a_source(cls, value: str) -> str:
        if "/" not in value:
            raise ValueError(
                f"{SHORT_DLT_KEY}, as in 'github/{value}'. Put the name of the source in front."
            )
        return value


class TaskAsset(_AssetEntry):
    """An asset that any other task makes; the task's own model checks `params`."""

    task_type: str = Field(
        min_length=1,
        json_schema_extra={"not": {"const": "dlt"}},
        description=(
            "What makes the asset: `duckdb_query`, a task of this project, or the import path of "
            "one, such as `my_project.tasks.Export`."
        ),
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of the task. Strings may hold `{{variables}}`.",
    )


Asset = DltAsset | TaskAsset
"""An entry of `assets`; `task_type` decides which of the two."""


class Defaults(AssetSettings):
    """What every asset of a file has unless it says otherwise; mappings are merged key by key."""

    params: DefaultParams = Field(
        default_factory=DefaultParams, description="Options of the dlt assets of this file."
    )


class PartitionEntry(Settings):
    """Which assets have which partitions."""

    assets: Names = Field(
        min_length=1,
        description=(
            "Keys of the assets that are partitioned so; `*` and `?` stand for any characters, and "
            "leave out assets that another entry names."
        ),
    )
    params: PartitionParams = Field(description="The partitions.")


class ScheduleParams(Settings):
    """When a schedule starts its job."""

    cron_schedule: str | None = Field(
        default=None, description="Cron expression, such as `0 6 * * *`; for the kind `cron`."
    )
    timezone: str | None = Field(
        default=None, description="Time zone of the expression, such as `Europe/Berlin`; else UTC."
    )
    minute_of_hour: int | None = Field(
        default=None, ge=0, le=59, description="Minute at which a partition's run starts."
    )
    hour_of_day: int | None = Field(
        default=None, ge=0, le=23, description="Hour at which a partition's run starts."
    )
    day_of_week: int | None = Field(
        default=None, ge=0, le=6, description="Day at which a weekly run starts; 0 is Sunday."
    )
    day_of_month: int | None = Field(
        default=None, ge=1, le=31, description="Day at which a monthly run starts."
    )

    @field_validator("cron_schedule")
    @classmethod
    def _look_like_cron(cls, value: str | None) -> str | None:
        return check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _know_timezone(cls, value: str | None) -> str | None:
        return PartitionParams._know_timezone(value)


class ScheduleTriggerParams(Settings):
    """The schedule of a trigger."""

    schedule_kind: Literal["cron", "partition"] = Field(
        description="`cron`, or `partition` for a run at the end of each partition of the job."
    )
    schedule_params: ScheduleParams = Field(
        default_factory=ScheduleParams, description="When it starts."
    )

    @model_validator(mode="after")
    def _have_a_time(self) -> "ScheduleTriggerParams":
        if self.schedule_kind == "cron" and not self.schedule_params.cron_schedule:
            raise ValueError(
                "a schedule of the kind cron needs `cron_schedule`. Add it to `schedule_params`."
            )
        return self


class TriggerParams(Settings):
    """What starts a job."""

    trigger_id: str = Field(
        pattern=r"^\w+$", description="Name of the schedule; unique in a project."
    )
    trigger_type: Literal["schedule"] = Field(description="`schedule`.")
    description: str | None = Field(default=None, description="Text on the schedule's page.")
    default_status: Literal["RUNNING", "STOPPED"] = Field(
        default="STOPPED", description="Whether the schedule runs before anybody starts it."
    )
    params: ScheduleTriggerParams = Field(description="The schedule.")


class ExecutorEntry(Settings):
    """What runs the steps of runs."""

    name: str = Field(
        min_length=1,
        description=(
            "`in_process`, `multiprocess`, or the import path of an executor of Dagster, such as "
            "`dagster_celery.celery_executor`."
        ),
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Configuration of the executor; `{env: NAME}` takes a value from there.",
    )


class JobParams(Settings):
    """Assets that are materialized together."""

    job_id: str = Field(pattern=r"^\w+$", description="Name of the job; unique in a project.")
    description: str | None = Field(default=None, description="Text on the job's page.")
    asset_selection: Names = Field(
        min_length=1,
        description="Asset keys, or selections as Dagster has them (`key*`, `+key`, `group:x`).",
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the job's runs.")
    executor: ExecutorEntry | None = Field(
        default=None, description="What runs the steps of the job; the project's if left out."
    )
    triggers: tuple[TriggerParams, ...] = Field(default=(), description="What starts the job.")


class WorkflowFile(Settings):
    """A file of the folder `workflows`. Files may refer to one another."""

    defaults: Defaults = Field(
        default_factory=Defaults, description="What every asset of this file has."
    )
    assets: tuple[Asset, ...] = Field(default=(), description="The assets.")
    partitions: tuple[PartitionEntry, ...] = Field(
        default=(), description="Which assets have which partitions."
    )
    jobs: tuple[JobParams, ...] = Field(default=(), description="Jobs and what starts them.")


class DltResourceParams(Settings):
    """Parameters of the resource kind `dlt`."""

    project_dir: str = Field(
        min_length=1,
        description="Folder of the dlt code, relative to the folder that holds this configuration.",
    )
    pipelines_dir: str | None = Field(
        default=None, description="Folder of dlt's working directories; dlt's own if left out."
    )


class DuckdbResourceParams(Settings):
    """Parameters of the resource kind `duckdb`."""

    database_path: str = Field(
        min_length=1,
        description="The database file, relative to the folder that holds this configuration.",
    )


class ResourceEntry(Settings):
    """A Dagster resource; its parameters are the variables `{{resource.<kind>.<param>}}`."""

    resource_kind: str = Field(
        min_length=1,
        description=(
            "`dlt`, `duckdb`, a kind of this project, or the import path of a "
            "`ConfigurableResource`."
        ),
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the resource, such as `project_dir`."
    )


class DagsterConfigFile(Settings):
    """The file `dagster_config.yaml`."""

    resources: tuple[ResourceEntry, ...] = Field(
        default=(), description="The Dagster resources of the project; one of each kind."
    )
    executor: ExecutorEntry | None = Field(
        default=None, description="What runs the steps of runs; Dagster's own if left out."
    )


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a file, for editors that complete and check while one types.

    Args:
        kind: `workflow` for the files of `workflows/`, `config` for `dagster_config.yaml`.

    Raises:
        ValueError: `kind` is neither.
    """
    models: dict[str, type[Settings]] = {"workflow": WorkflowFile, "config": DagsterConfigFile}
    if kind not in models:
        raise ValueError(f"there is no file of the kind {kind!r}, only {', '.join(models)}")
    schema = models[kind].model_json_schema()
    for definition in schema["$defs"].values():
        # The defaults of a file may give all of the parameters.
        definition["required"] = [n for n in definition.get("required", ()) if n != "params"]
    if kind == "config":
        schema["$defs"]["ResourceEntry"]["allOf"] = [
            {
                "if": {"properties": {"resource_kind": {"const": name}}},
                "then": {"properties": {"params": model.model_json_schema()}},
            }
            for name, model in (("dlt", DltResourceParams), ("duckdb", DuckdbResourceParams))
        ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
