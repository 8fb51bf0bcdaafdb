"""Read what the launchpad and the tags of a run ask of a load."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loadsmith.assets._dagster import op_config_of
from loadsmith.config.load_params import WRITE_DISPOSITIONS, LoadOptions
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.model import NORMALIZERS, ON_EMPTY, RELOADS, Window, read_time

TAG_PREFIX = "loadsmith/"


class Refresh(Enum):
    """What dlt forgets before the load."""

    drop_sources = "drop_sources"
    drop_resources = "drop_resources"
    drop_data = "drop_data"


def _enum(name: str, choices: Iterable[str]) -> Any:
    """Return the enum that Dagster's launchpad needs for choices that are known as text."""
    return Enum(name, {choice: choice for choice in choices})


if TYPE_CHECKING:
    WriteDisposition = Enum
    OnEmpty = Enum
    Normalizer = Enum
    Reload = Enum
else:
    WriteDisposition = _enum("WriteDisposition", WRITE_DISPOSITIONS)
    OnEmpty = _enum("OnEmpty", ON_EMPTY)
    Normalizer = _enum("Normalizer", NORMALIZERS)
    Reload = _enum("Reload", RELOADS)


class WindowConfig(dg.Config):
    """The half-open range of time that a run loads."""

    start: str = Field(description="First time that is loaded: ISO text, UTC unless it says so.")
    end: str = Field(description="First time that is not loaded any more: ISO text.")


class DltRunConfig(dg.Config):
    """What a run does differently; everything is optional."""

    refresh: Refresh | None = Field(
        default=None,
        description="Start over: `drop_sources` or `drop_resources` drop tables and cursors, "
        "`drop_data` empties tables and resets cursors.",
    )
    write_disposition: WriteDisposition | None = Field(
        default=None, description="How rows are written, for all resources of the run."
    )
    on_empty: OnEmpty | None = Field(
        default=None,
        description=LoadOptions.model_fields["on_empty"].description,
    )
    normalizer: Normalizer | None = Field(
        default=None,
        description=LoadOptions.model_fields["normalizer"].description,
    )
    reload: Reload | None = Field(
        default=None,
        description=LoadOptions.model_fields["reload"].description,
    )
    limit: int | None = Field(
        default=None, description="Load at most so many pages of each resource, to try a load out."
    )
    window: WindowConfig | None = Field(
        default=None, description="Load this range of time; it wins over that of the partition."
    )
    loader_file_format: str | None = Field(
        default=None, description="Format of the files that are loaded, such as `parquet`."
    )


@dataclass(frozen=True, kw_only=True)
class RunChoices:
    """The choices for a run: arguments of `run`, and the window."""

    params: Mapping[str, Any] = field(default_factory=dict)
    window: Window | None = None


_PARAMS = ("refresh", "write_disposition", "on_empty", "normalizer", "reload", "loader_file_format")
_FIELDS = (*_PARAMS, "limit")
_TAGS = (*_FIELDS, "window_start", "window_end", "row_count")
_CHOICES: Mapping[str, type[Enum]] = {
    "refresh": Refresh,
    "write_disposition": WriteDisposition,
    "on_empty": OnEmpty,
    "normalizer": Normalizer,
    "reload": Reload,
}


def read_choices(context: Any, *, config_is_ours: bool) -> RunChoices:
    """Read the choices of a run: its tags `loadsmith/refresh` and so on, then its configuration.

    Args:
        context: The context of an asset or an op.
        config_is_ours: Whether the run configuration of the op has the fields of `DltRunConfig`.
            Another configuration may use the same names for something else.

    Raises:
        ConfigError: A value cannot be used.
    """
    values: dict[str, Any] = {}
    for tag, value in _tags_of(context).items():
        name = tag.removeprefix(TAG_PREFIX)
        if not tag.startswith(TAG_PREFIX):
            continue
        if name not in _TAGS:
            raise ConfigError(
                f"run tag '{tag}': there is no such choice.{did_you_mean(name, _TAGS)}"
            )
        values[name] = value
    if config_is_ours:
        config = op_config_of(context)
        values.update({name: config[name] for name in _FIELDS if config.get(name) is not None})
        window = config.get("window")
        if window:
            values["window_start"], values["window_end"] = window["start"], window["end"]
    params: dict[str, Any] = {}
    for name in _PARAMS:
        if values.get(name) is not None:
            params[name] = _checked(name, values[name])
    if (limit := _limit(values.get("limit"))) is not None:
        params["limit"] = limit
    return RunChoices(params=params, window=_window(values))


def has_our_config(op: dg.OpDefinition) -> bool:
    """Tell whether a hand-written op takes `config: DltRunConfig`, or a subclass of it."""
    field_of_op = op.config_schema.as_field() if op.config_schema else None
    fields = getattr(field_of_op.config_type, "fields", None) if field_of_op else None
    return fields is not None and set(DltRunConfig.model_fields) <= set(fields)


def asks_for_row_counts(context: Any) -> bool:
    """Tell whether the tag `loadsmith/row_count` asks for the row count of each table."""
    return _tags_of(context).get(f"{TAG_PREFIX}row_count") == "true"


def _tags_of(context: Any) -> Mapping[str, str]:
    tags: Mapping[str, str] = context.run.tags
    return tags


def _checked(name: str, value: Any) -> str:
    text = value.value if isinstance(value, Enum) else str(value)
    choices = _CHOICES.get(name)
    if choices is not None and text not in choices.__members__:
        hint = did_you_mean(text, choices.__members__)
        raise ConfigError(f"run configuration, {name}: '{text}' is no choice.{hint}")
    return text


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"run configuration, limit: {value!r} is no number. Write a whole one above 0."
        ) from error
    if number < 1:
        raise ConfigError(f"run configuration, limit: {number} loads nothing. Write one above 0.")
    return number


def _window(values: Mapping[str, Any]) -> Window | None:
    start, end = values.get("window_start"), values.get("window_end")
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "window_start" if start is None else "window_end"
        raise ConfigError(f"run configuration: a window needs '{missing}', too. Give both.")
    try:
        return Window(start=_time(start), end=_time(end))
    except ValueError as error:
        raise ConfigError(f"run configuration, window: {error}. Write ISO times.") from error


def _time(text: str) -> datetime:
    time = read_time(str(text))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
