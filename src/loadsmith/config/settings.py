"""The Dagster settings of a load and of its resources.

Workflow files, their `defaults` and the component use the same models, so that a setting has the
same name, description and JSON Schema everywhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails

from loadsmith.errors import did_you_mean
from loadsmith.model import AssetAttributes, OpSettings, Preview, merged_tags


class NoSuchField(ValueError):
    """A model does not have a field of that name; the message names the nearest one."""

    def __init__(self, name: str, fields: Iterable[str]) -> None:
        known = sorted(fields)
        hint = did_you_mean(name, known) or f" There is: {', '.join(known)}."
        super().__init__(f"there is no field '{name}' here.{hint}")


def is_unknown_field(detail: Mapping[str, Any]) -> bool:
    """Tell whether an error of pydantic is about a field that a model does not have."""
    is_ours = isinstance(detail.get("ctx", {}).get("error"), NoSuchField)
    return is_ours or detail["type"] == "extra_forbidden"


class Settings(BaseModel):
    """Base of all models of files: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_field(cls, value: Any, validate: ModelWrapValidatorHandler[Any]) -> Any:
        """Validate `value`; an unknown field is told with the nearest one, on every door."""
        try:
            return validate(value)
        except ValidationError as error:
            details = [_with_nearest_field(detail, cls) for detail in error.errors()]
            raise ValidationError.from_exception_data(error.title, details) from None


def _with_nearest_field(detail: ErrorDetails, model: type[BaseModel]) -> InitErrorDetails:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden" and len(detail["loc"]) == 1:
        # Dagster makes the errors anew, which pydantic allows for its own types alone.
        kind = "value_error"
        context = {"error": NoSuchField(str(detail["loc"][-1]), model.model_fields)}
    return InitErrorDetails(type=kind, loc=detail["loc"], input=detail["input"], ctx=context)


def _as_text(value: Any) -> Any:
    """Return dates and numbers of YAML as text, such as `start: 2024-01-01`."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


Text = Annotated[str, BeforeValidator(_as_text)]
"""A string that may be written without quotes, as a date or a number."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
"""A list of names, or a single name."""


def merged(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` over `defaults`; mappings are merged key by key."""
    result = dict(defaults)
    for name, value in settings.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


CHECKS = ("primary_key", "row_count", "schema_change", "schema_contract")
"""Names of the checks that a load can ask for."""


class RetryPolicySettings(Settings):
    """How often a failed load is tried again, and when."""

    max_retries: int = Field(default=1, ge=0, description="Retries after a failure.")
    delay: float | None = Field(
        default=None, ge=0, description="Seconds before the first retry; at once if left out."
    )
    backoff: Literal["linear", "exponential"] | None = Field(
        default=None, description="How the delay grows; the same each time if left out."
    )
    jitter: Literal["full", "plus_minus"] | None = Field(
        default=None, description="How much chance there is in the delay; none if left out."
    )

    def to_retries(self) -> dict[str, Any]:
        """Return the policy as fields of `OpSettings`."""
        return {
            "max_retries": self.max_retries,
            "retry_delay_seconds": self.delay,
            "retry_backoff": self.backoff,
            "retry_jitter": self.jitter,
        }


class PreviewSettings(Settings):
    """Rows that a run shows on the page of the asset."""

    rows: int = Field(default=5, ge=0, le=100, description="How many rows are shown.")
    exclude: Names = Field(
        default=(),
        description="Columns that are left out, with all below them; `*` is any text.",
    )


class ResourceSettings(Settings):
    """Dagster's settings of the assets of one dlt resource."""

    group_name: str | None = Field(default=None, description="Dagster group of the assets.")
    description: str | None = Field(default=None, description="Text on the asset's page.")
    owners: Names = Field(
        default=(), description="E-mail addresses, or teams as `team:name`, that own the assets."
    )
    tags: dict[str, Text] = Field(
        default_factory=dict, description="Dagster tags of the assets: text by name."
    )
    kinds: Names = Field(
        default=(), description="Kinds shown on the assets, beside dlt and the destination."
    )
    deps: Names = Field(
        default=(),
        description="Keys of assets that these come from, such as assets of another project.",
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Further metadata of the assets: plain values by name."
    )
    automation_condition: str | None = Field(
        default=None,
        description=(
            "When Dagster materializes the assets by itself: `eager`, `on_cron`, `on_missing` or "
            "`on_schedule`."
        ),
    )
    automation_condition_config: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the condition: `cron_schedule` and `cron_timezone`.",
    )
    freshness_lower_bound_delta_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Age in seconds from which a freshness check of the assets fails.",
    )
    checks: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description=(
            "Asset checks to make: `primary_key`, `row_count`, `schema_change`, `schema_contract`, "
            "as a list of names or with settings by name."
        ),
    )

    partitioned: bool | None = Field(
        default=None,
        description=(
            "Whether loading a partition again replaces its rows; wins over that of the load."
        ),
    )

    preview: Annotated[int, Field(ge=0, le=100)] | PreviewSettings | None = Field(
        default=None,
        description=(
            "So many rows of the table are shown on the asset's page after a run; or `rows`, and "
            "columns that are left out as `exclude`."
        ),
    )

    @field_validator("preview", mode="before")
    @classmethod
    def _take_switch(cls, value: Any) -> Any:
        return {True: {}, False: 0}[value] if isinstance(value, bool) else value

    @field_validator("checks", mode="before")
    @classmethod
    def _name_checks(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            value = {name: {} for name in value}
        if isinstance(value, Mapping):
            value = {name: {} if given in (None, True) else given for name, given in value.items()}
            for name in value:
                if name not in CHECKS:
                    raise ValueError(f"there is no check {name!r}.{did_you_mean(name, CHECKS)}")
        return value

    def to_attributes(self) -> AssetAttributes:
        """Return the settings of the assets as plain data."""
        values = {field.name: getattr(self, field.name) for field in fields(AssetAttributes)}
        asked = self.preview
        if asked is not None:
            shown = PreviewSettings(rows=asked) if isinstance(asked, int) else asked
            values["preview"] = Preview(rows=shown.rows, exclude=shown.exclude)
        return AssetAttributes(**values)


class ResourceOpSettings(ResourceSettings):
    """Dagster's settings of the assets of one dlt resource, and of a separate op for it."""

    pool: str | None = Field(
        default=None, description="Dagster pool that limits how many such loads run at once."
    )
    op_tags: dict[str, Any] = Field(
        default_factory=dict, description="Tags of the op, such as `dagster-k8s/config`."
    )
    retry_policy: RetryPolicySettings | None = Field(
        default=None, description="What happens after a failure; nothing if left out."
    )

    def own_op(self, of_load: OpSettings) -> OpSettings | None:
        """Return the settings of the resource's separate op, or None if it needs no separate op.

        Args:
            of_load: The settings of the load, which fill what is missing here; tags
                are merged deeply.
        """
        if not (self.pool or self.op_tags or self.retry_policy):
            return None
        retries = self.retry_policy.to_retries() if self.retry_policy else {}
        return replace(
            of_load,
            pool=self.pool or of_load.pool,
            op_tags=merged_tags(of_load.op_tags, self.op_tags),
            **retries,
        )


class AssetSettings(ResourceOpSettings):
    """Dagster's settings of the assets of a load, and of the op that loads them."""

    max_partitions_per_run: int | None = Field(
        default=None,
        ge=1,
        description="Partitions of a backfill that one run takes; as many as fit if left out.",
    )

    def to_op_settings(self) -> OpSettings:
        """Return the settings of the op as plain data."""
        return OpSettings(
            pool=self.pool,
            op_tags=dict(self.op_tags),
            max_partitions_per_run=self.max_partitions_per_run,
            **(self.retry_policy.to_retries() if self.retry_policy else {}),
        )
