"""Read Dagster settings that Python code gives as in files, or as objects of Dagster."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import dagster as dg
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from loadsmith.config.partition_params import PartitionParams
from loadsmith.config.settings import (
    AssetSettings,
    ResourceSettings,
    RetryPolicySettings,
    is_unknown_field,
)
from loadsmith.engine.sources import Live
from loadsmith.errors import ConfigError, did_you_mean


def _plain_condition(value: Any) -> Any:
    """Return a name unchanged, and a function that returns a live condition."""
    if isinstance(value, dg.AutomationCondition):
        return Live(value)
    if value is None or isinstance(value, str) or callable(value):
        return value
    raise ValueError("it is neither the name of a condition nor a dg.AutomationCondition")


def _plain_keys(value: Any) -> Any:
    """Return keys as text, from anything that Dagster accepts as a dependency."""
    if isinstance(value, (str, dg.AssetKey, dg.AssetSpec, dg.AssetsDefinition, dg.AssetDep)):
        value = [value]
    if not isinstance(value, (list, tuple, set)):
        return value
    try:
        return [
            dep
            if isinstance(dep, str)
            else dg.AssetDep.from_coercible(dep).asset_key.to_user_string()
            for dep in value
        ]
    except dg.DagsterError as error:
        raise ValueError(str(error)) from error


def _plain_retries(value: Any) -> Any:
    if not isinstance(value, dg.RetryPolicy):
        return value
    return {
        "max_retries": value.max_retries,
        "delay": value.delay,
        "backoff": value.backoff.name.lower() if value.backoff else None,
        "jitter": value.jitter.name.lower() if value.jitter else None,
    }


_Condition = Annotated[Any, BeforeValidator(_plain_condition)]
_Keys = Annotated[tuple[str, ...], BeforeValidator(_plain_keys)]


class AssetOptions(ResourceSettings):
    """Dagster's settings of the assets of a resource; the condition may be a live object."""

    automation_condition: _Condition = Field(default=None)
    deps: _Keys = Field(default=())


class OpOptions(AssetSettings):
    """Dagster's settings of the assets of a resource, and of the op that loads it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    automation_condition: _Condition = Field(default=None)
    deps: _Keys = Field(default=())
    retry_policy: Annotated[RetryPolicySettings | None, BeforeValidator(_plain_retries)] = None
    partitions_def: dg.PartitionsDefinition | PartitionParams | None = Field(default=None)


Options = TypeVar("Options", AssetOptions, OpOptions)


def read_options(kind: type[Options], given: Any, *, place: str) -> Options:
    """Read settings.

    Args:
        kind: The model of the settings.
        given: A mapping, or None for no settings.
        place: Where the settings are given, for errors.

    Raises:
        ConfigError: Fields are unknown or values are wrong. All mistakes are listed.
    """
    if given is None:
        return kind()
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: this takes a mapping, not {given!r}. Write one.")
    try:
        options = kind.model_validate(dict(given), strict=False)
    except ValidationError as error:
        mistakes = (_mistake(place, detail) for detail in error.errors(include_url=False))
        raise ConfigError("\n".join(dict.fromkeys(mistakes))) from error
    if options.automation_condition_config and callable(options.automation_condition):
        raise ConfigError(
            f"{place}.automation_condition_config: these are arguments of a condition that is "
            "named. Give them to the dg.AutomationCondition itself."
        )
    return options


@contextmanager
def known_options(place: str, function: Callable[..., Any]) -> Iterator[None]:
    """Name a misspelled option if Dagster's `multi_asset` refuses it.

    Dagster decides which options exist, so that options of later versions work.

    Args:
        place: Where the options are given, for the error.
        function: The function that got the options; its options may be close matches.

    Raises:
        ConfigError: An option is unknown.
    """
    try:
        yield
    except TypeError as error:
        unexpected = re.search(
            r"multi_asset\(?\)? got an unexpected keyword argument '(\w+)'", str(error)
        )
        if unexpected is None:
            raise
        known = [
            name
            for taken in (function, dg.multi_asset)
            for name, parameter in inspect.signature(taken).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        name = unexpected[1]
        hint = did_you_mean(name, known) or " See the options of Dagster's multi_asset."
        raise ConfigError(f"{place}: there is no option '{name}'.{hint}") from error


def _mistake(place: str, detail: Any) -> str:
    # If a field accepts several types, pydantic puts the type after the name of the field.
    if is_unknown_field(detail) and len(detail["loc"]) == 1:
        return f"{place}: {detail['ctx']['error']}"
    path = ".".join(map(str, detail["loc"]))
    return f"{place}.{path}: {detail['input']!r} is wrong ({detail['msg']}). Change it."
