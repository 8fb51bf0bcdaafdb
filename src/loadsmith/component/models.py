"""The YAML of the component as pydantic models."""

from typing import Any, Literal

from dagster.components.resolved.core_models import AssetAttributesModel
from pydantic import Field, create_model, model_validator

from loadsmith.config.load_params import LoadOptions
from loadsmith.config.partition_params import PartitionParams
from loadsmith.config.settings import AssetSettings, ResourceOpSettings, Settings

_DAGSTER_NAMES = {"start_date": "start", "end_date": "end", "partition_keys": "keys"}


class PartitionsEntry(PartitionParams):
    """Partitions in loadsmith's words, or in those of Dagster's own components."""

    type: str | None = Field(
        default=None,
        description=(
            "`hourly`, `daily`, `weekly`, `monthly`, `cron`, `static`, `dynamic` or `multi`; "
            "`time_window` is the same as `cron`."
        ),
    )
    start_date: str | None = Field(default=None, description="The same as `start`.")
    end_date: str | None = Field(default=None, description="The same as `end`.")
    partition_keys: tuple[str, ...] | None = Field(default=None, description="The same as `keys`.")
    dimensions: dict[str, "PartitionsEntry"] = Field(  # type: ignore[assignment]  # dict is invariant
        default_factory=dict, description="Two partitions by name; kind `multi`."
    )

    @model_validator(mode="before")
    @classmethod
    def _translate_dagsters_words(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {_DAGSTER_NAMES.get(name, name): given for name, given in value.items()}
        if own.get("type") == "time_window":
            own["type"] = "cron"
        return own


class BackfillPolicyEntry(Settings):
    """How many partitions of a backfill one run takes."""

    type: Literal["single_run", "multi_run"] = Field(
        description="`single_run`: all in one; `multi_run`: so many as `max_partitions_per_run`."
    )
    max_partitions_per_run: int | None = Field(
        default=None, ge=1, description="For `multi_run`: partitions that one run takes; else 1."
    )


class LoadSettings(LoadOptions, AssetSettings):
    """All options of a load, none of them needed: what `defaults` may hold."""

    nested_tables: bool = Field(
        default=False,
        description=(
            "Whether a nested table that is known (`schema_file_path`) is an asset of its own; "
            "else its columns are metadata of its root's asset."
        ),
    )


class LoadEntry(LoadSettings):
    """One entry of `loads`: a source into a dataset by a pipeline."""

    name: str | None = Field(
        default=None,
        description="Name of the load in logs and of its op; from source and dataset if left out.",
    )
    source: str | None = Field(
        default=None,
        description=(
            "Python reference to a dlt source, or to a function that makes one: `.loads.x` for x "
            "in the loads.py beside this file, or the full path. Instead of `source_module`."
        ),
    )
    pipeline: str | None = Field(
        default=None,
        description=(
            "Python reference to a dlt pipeline, or to a function that makes one. Instead of "
            "`destination` and `pipeline_params`."
        ),
    )
    source_module: str | None = Field(
        default=None,
        description=(
            "Source that is declared here, without Python: dlt's `rest_api`, `sql_database`, "
            "`filesystem.readers`, or the dotted path of a source, `.` first for this folder."
        ),
    )
    translation: str | AssetAttributesModel | None = Field(  # type: ignore[valid-type]  # Dagster makes it
        default=None,
        description=(
            "Asset attributes over the default ones, as templates of `data`, `resource`, "
            "`pipeline` and `spec`: `key: raw/{{ resource.name }}`."
        ),
    )
    partitions_def: str | PartitionsEntry | None = Field(
        default=None, description="The partitions of all assets of the load."
    )
    backfill_policy: str | BackfillPolicyEntry | None = Field(
        default=None, description="How many partitions of a backfill one run takes."
    )
    resource_settings: dict[str, ResourceOpSettings] = Field(
        default_factory=dict,
        description=(
            "Dagster settings by dlt resource, over the load's own; `pool`, `op_tags` and "
            "`retry_policy` give it an op of its own."
        ),
    )
    snapshot_path: str | None = Field(
        default=None,
        description=(
            "JSON file beside this one that keeps what the source was known to have when it was "
            "last asked. Commit it; `dg utils refresh-defs-state` writes it."
        ),
    )

    @model_validator(mode="after")
    def _come_from_one_place_and_go_to_one(self) -> "LoadEntry":
        if self.source and self.source_module:
            raise ValueError("`source` and `source_module` are two sources. Keep one of them.")
        if self.pipeline and self.destination:
            raise ValueError(
                "`pipeline` has a destination of its own. Keep it, or `destination` with "
                "`pipeline_params`."
            )
        return self


def without_string_alternative(derived: type, **fields: Any) -> Any:
    """Return a model like `derived` whose `fields` accept their own type and no template.

    Dagster lets a template stand for any field. Then it reports a misspelled key deep in a list as
    a mistake of the whole list.
    """
    return create_model(derived.__name__, __base__=derived, **fields)
