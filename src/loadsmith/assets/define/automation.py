"""Build automation conditions from settings, and check schedules, time zones and seconds."""

import inspect
import math
import zoneinfo
from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from loadsmith.assets._dagster import is_cron
from loadsmith.errors import ConfigError, did_you_mean

# Dagster's `on_cron` waits until every upstream asset was updated since the tick. The upstream of a
# load is an external system that reports no updates, so schedules need another condition.
_ON_SCHEDULE = "on_schedule"


@cache
def automation_names() -> tuple[str, ...]:
    """Return every name that `build_automation_condition` accepts."""
    names = (
        name
        for name in vars(dg.AutomationCondition)
        if not name.startswith("_")
        and isinstance(inspect.getattr_static(dg.AutomationCondition, name), staticmethod)
        and _plain_parameters(name) is not None
    )
    return tuple(sorted({_ON_SCHEDULE, *names}))


def build_automation_condition(
    name: str, config: Mapping[str, Any] | None = None, *, where: str = "automation"
) -> dg.AutomationCondition[Any]:
    """Build a condition by name: `on_schedule`, or a constructor of Dagster's.

    Args:
        name: `eager`, `on_cron`, `on_missing`, `on_schedule`, ...
        config: Arguments of the condition, such as `cron_schedule` and `cron_timezone`.
        where: The resource, for errors.

    Raises:
        ConfigError: The name, an argument, the schedule or the time zone is wrong.
    """
    config = dict(config or {})
    names = automation_names()
    if name not in names:
        hint = did_you_mean(name, names) or " Take 'eager', 'on_missing' or 'on_schedule'."
        raise ConfigError(f"{where}, automation_condition: there is no condition '{name}'.{hint}")
    parameters = (
        {"cron_schedule": True, "cron_timezone": False}
        if name == _ON_SCHEDULE
        else _plain_parameters(name) or {}
    )
    field = f"{where}, automation_condition_config"
    for given in config:
        if given not in parameters:
            hint = did_you_mean(given, parameters) or f" '{name}' takes no settings."
            raise ConfigError(f"{field}: '{name}' does not take '{given}'.{hint}")
    for parameter, needed in parameters.items():
        if needed and config.get(parameter) is None:
            raise ConfigError(f"{field}: '{name}' needs '{parameter}'. Add it.")
    if "cron_schedule" in config:
        config["cron_schedule"] = check_cron(
            config["cron_schedule"], where=f"{field}.cron_schedule"
        )
    if config.get("cron_timezone") is not None:
        config["cron_timezone"] = check_timezone(
            config["cron_timezone"], where=f"{field}.cron_timezone"
        )
    if name == _ON_SCHEDULE:
        tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(
            config["cron_schedule"], config.get("cron_timezone") or "UTC"
        )
        latest: dg.AutomationCondition[Any] = dg.AutomationCondition.in_latest_time_window()
        return (latest & tick.since_last_handled()).with_label(
            f"on_schedule({config['cron_schedule']})"
        )
    condition: dg.AutomationCondition[Any] = getattr(dg.AutomationCondition, name)(**config)
    return condition


def check_cron(value: Any, *, where: str) -> str:
    """Return a cron schedule unchanged.

    Raises:
        ConfigError: It is no cron schedule.
    """
    if not isinstance(value, str) or not is_cron(value):
        raise ConfigError(
            f"{where}: {value!r} is no cron schedule. Write five fields, as in '0 6 * * *', "
            "or '@daily'."
        )
    return value


def check_timezone(value: Any, *, where: str) -> str:
    """Return the name of a time zone in its official spelling; case is ignored.

    Raises:
        ConfigError: There is no such time zone.
    """
    known = _timezones()
    name = known.get(str(value).lower())
    if name is None:
        hint = did_you_mean(str(value), known.values()) or " Take 'UTC' or 'Europe/Berlin'."
        raise ConfigError(f"{where}: there is no time zone {value!r}.{hint}")
    return name


def check_seconds(value: Any, *, where: str) -> float:
    """Return a number of seconds above zero.

    Raises:
        ConfigError: The value is no such number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{where}: {value!r} is no number of seconds. Write one above 0.")
    return float(value)


@cache
def _timezones() -> dict[str, str]:
    """Return the time zones by name in lower case. Cached, because Python reads many folders."""
    return {name.lower(): name for name in zoneinfo.available_timezones()} | {"utc": "UTC"}


def _plain_parameters(name: str) -> dict[str, bool] | None:
    """Return the parameters of a constructor, and whether each is required.

    None for constructors that require other conditions, because plain data cannot express those.
    """
    parameters = inspect.signature(getattr(dg.AutomationCondition, name)).parameters.values()
    plain = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None
        needed = parameter.default is parameter.empty
        if needed and "str" not in str(parameter.annotation):
            return None
        plain[parameter.name] = needed
    return plain
