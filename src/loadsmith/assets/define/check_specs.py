"""Build the specs of the checks of a load, and read their settings."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from loadsmith.assets.define.spec_metadata import RESOURCE_KEY
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.model import CHANGE_KINDS, LoadDefinition

# The settings of each check, with their defaults.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "primary_key": {"severity": "ERROR"},
    "row_count": {"severity": "ERROR", "min": 1, "max": None},
    "schema_change": {"severity": "WARN", "allow": ()},
    "schema_contract": {"severity": "ERROR"},
}


def build_check_specs(
    definition: LoadDefinition, specs: Iterable[dg.AssetSpec]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that the run of a load evaluates.

    A load whose options set a contract always has the check `schema_contract`.

    Raises:
        ConfigError: A check or a setting is unknown.
    """
    return [
        dg.AssetCheckSpec(name=name, asset=spec.key, description=_DESCRIPTIONS[name])
        for spec in specs
        for name in _checks_of(definition, str(spec.metadata.get(RESOURCE_KEY, "")))
    ]


def settings_of(definition: LoadDefinition, resource: str, check: str) -> dict[str, Any]:
    """Return the settings of a check of a resource, including defaults.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
    """
    where = f"resource '{resource}', checks.{check}"
    given = definition.attributes_of(resource).checks.get(check) or {}
    known = _SETTINGS[check]
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: there is no setting '{name}'.{did_you_mean(name, known)}")
    merged = {**known, **given}
    merged["severity"] = str(merged["severity"]).upper()
    if merged["severity"] not in ("WARN", "ERROR"):
        raise ConfigError(f"{where}.severity: take 'warn' or 'error', not {merged['severity']!r}.")
    if "allow" in merged:
        merged["allow"] = _change_kinds(merged["allow"], where)
    for name in ("min", "max"):
        value = merged.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise ConfigError(f"{where}.{name}: {value!r} is no number of rows. Write a whole one.")
    return merged


def _change_kinds(value: Any, where: str) -> tuple[str, ...]:
    """Return the kinds of schema changes that a check allows.

    Raises:
        ConfigError: A kind is unknown.
    """
    given = [value] if isinstance(value, str) else list(value or ())
    kinds = [str(kind).replace("_", " ") for kind in given]
    for kind in kinds:
        if kind not in CHANGE_KINDS:
            raise ConfigError(
                f"{where}.allow: there is no schema change {kind!r}."
                f"{did_you_mean(kind, CHANGE_KINDS)}"
            )
    return tuple(kinds)


def _checks_of(definition: LoadDefinition, resource: str) -> list[str]:
    asked = dict(definition.attributes_of(resource).checks)
    if "schema_contract" in definition.options.params:
        asked.setdefault("schema_contract", {})
    for name in asked:
        if name not in _SETTINGS:
            raise ConfigError(
                f"resource '{resource}', checks: there is no check '{name}'."
                f"{did_you_mean(name, _SETTINGS)}"
            )
        settings_of(definition, resource, name)
    return list(asked)


_DESCRIPTIONS = {
    "primary_key": "The primary key has neither duplicates nor nulls in the destination.",
    "row_count": "The destination holds as many rows as it should.",
    "schema_change": "The run did not change the table.",
    "schema_contract": "The source kept its schema contract.",
}
