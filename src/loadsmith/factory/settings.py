"""What a resource's `meta["dagster"]` says in, the settings of its asset out."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import ValidationError

from loadsmith.config.settings import ResourceSettings
from loadsmith.errors import ConfigError, did_you_mean

#: Where Dagster's settings are in `meta`.
META_KEY = "dagster"


def read_settings(name: str, given: Any) -> ResourceSettings:
    """Read `meta["dagster"]`.

    Raises:
        ConfigError: A field is unknown, or a value is wrong; all mistakes of the resource at once.
    """
    place = f"resource '{name}', meta['{META_KEY}']"
    if given is None:
        return ResourceSettings()
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: this takes a mapping, not {given!r}. Write one.")
    values = dict(given)
    if isinstance(values.get("deps"), (list, tuple)):
        values["deps"] = [
            dep.to_user_string() if isinstance(dep, dg.AssetKey) else dep for dep in values["deps"]
        ]
    try:
        return ResourceSettings.model_validate(values, strict=False)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_mistake(place, detail) for detail in error.errors(include_url=False))
        ) from error


def _mistake(place: str, detail: Any) -> str:
    field_name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(field_name, ResourceSettings.model_fields)
        known = f" There is: {', '.join(sorted(ResourceSettings.model_fields))}."
        return f"{place}: there is no field '{field_name}'.{hint or known}"
    return f"{place}.{field_name}: {detail['input']!r} is wrong ({detail['msg']}). Change it."
