"""Settings in, asset checks out: their specs before a run, their results after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from loadsmith.assets._dagster import build_freshness_checks, build_freshness_sensor
from loadsmith.assets.define.automation import check_seconds
from loadsmith.assets.run.metadata import (
    RESOURCE_KEY,
    ResultIndex,
    discards_markdown,
    schema_changes_markdown,
)
from loadsmith.errors import ConfigError, ContractViolation, did_you_mean
from loadsmith.model import CHANGE_KINDS, DiscardResult, LoadDefinition, TableResult

# Settings that each check takes, with what they are when nothing is said.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "primary_key": {"severity": "ERROR"},
    "row_count": {"severity": "ERROR", "min": 1, "max": None},
    "schema_change": {"severity": "WARN", "allow": ()},
    "schema_contract": {"severity": "ERROR"},
}

#: Changes that the description of a check names; all of them are in its metadata.
_SHOWN_CHANGES = 5


@dataclass(frozen=True, kw_only=True)
class KeyProblems:
    """What is wrong with the primary key of a table in the destination."""

    columns: tuple[str, ...]
    duplicates: int
    nulls: int


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """The primary keys of the root tables of an asset.

    Attributes:
        problems: What was found in the tables with a key.
        keyless: Tables that hold columns and no primary key.
        unread: Tables whose key the destination did not tell.
    """

    problems: tuple[KeyProblems, ...] = ()
    keyless: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def build_check_specs(
    definition: LoadDefinition, specs: Iterable[dg.AssetSpec]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that the run of a load answers.

    `schema_contract` is there without asking where the load's options set a contract.

    Raises:
        ConfigError: A check, or a setting of one, is not known.
    """
    found: list[dg.AssetCheckSpec] = []
    for spec in specs:
        resource = str(spec.metadata.get(RESOURCE_KEY, ""))
        found.extend(
            dg.AssetCheckSpec(name=name, asset=spec.key, description=_DESCRIPTIONS[name])
            for name in _checks_of(definition, resource)
        )
    return found


def settings_of(definition: LoadDefinition, resource: str, check: str) -> dict[str, Any]:
    """Return the settings of a check of a resource, the defaults filled in.

    Raises:
        ConfigError: A setting is not known, or its value is of no use.
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
    """Return the kinds of schema changes that a check lets pass.

    Raises:
        ConfigError: A kind is not known.
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


def build_freshness(
    definition: LoadDefinition, specs: Iterable[dg.AssetSpec]
) -> tuple[list[dg.AssetChecksDefinition], list[dg.SensorDefinition]]:
    """Build the freshness checks of a load, and the sensor that evaluates them when they are due.

    Raises:
        ConfigError: A number of seconds is none.
    """
    by_seconds: dict[float, list[dg.AssetKey]] = {}
    for spec in specs:
        resource = str(spec.metadata.get(RESOURCE_KEY, ""))
        seconds = definition.attributes_of(resource).freshness_lower_bound_delta_seconds
        if seconds is None:
            continue
        where = f"resource '{resource}', freshness_lower_bound_delta_seconds"
        by_seconds.setdefault(check_seconds(seconds, where=where), []).append(spec.key)
    checks = [
        check
        for seconds, keys in by_seconds.items()
        for check in build_freshness_checks(keys, seconds)
    ]
    if not checks:
        return [], []
    return checks, [build_freshness_sensor(checks, f"{definition.name}_freshness")]


def schema_change_result(
    key: dg.AssetKey, index: ResultIndex, tables: Sequence[TableResult], settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Fail when the run changed tables that the destination had before.

    A new table nested in one of those is a change of it.

    Args:
        key: The asset.
        index: The result.
        tables: The tables of the asset, nested ones without an asset of their own included.
        settings: Settings of the check; `allow` names kinds of changes that pass.
    """
    new = {
        table.name
        for table in tables
        if any(change.kind == "new table" for change in index.changes_of.get(table.name, ()))
    }
    changes = [
        change
        for table in tables
        # With its parent, a nested table is as new as that one.
        if table.name not in new or (table.parent in index.tables and table.parent not in new)
        for change in index.changes_of.get(table.name, ())
        if change.kind not in settings["allow"]
    ]
    metadata = {"changes": dg.MetadataValue.md(schema_changes_markdown(changes))} if changes else {}
    places = dict.fromkeys(
        f"{change.kind} {change.table}" + (f".{change.column}" if change.column else "")
        for change in changes
    )
    shown = ", ".join(list(places)[:_SHOWN_CHANGES])
    left = len(places) - _SHOWN_CHANGES
    text = f"{shown}{f' and {left} more' if left > 0 else ''}." if changes else None
    return _result("schema_change", key, not changes, settings, metadata, description=text)


def contract_kept_result(
    key: dg.AssetKey, discards: Sequence[DiscardResult] | None, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Say that nothing broke a contract, and warn of what it left out.

    Args:
        key: The asset.
        discards: What the contract left out of the asset's tables; None where nobody counted.
        settings: Settings of the check.
    """
    if discards is None:
        text = "Nothing broke the contract. Whether it left anything out was not counted."
        return _result("schema_contract", key, True, settings, {}, description=text)
    if not discards:
        return _result("schema_contract", key, True, settings, {})
    rows, values = sum(one.rows for one in discards), sum(one.values for one in discards)
    metadata = {
        "discarded_rows": rows,
        "discarded_values": values,
        "discarded": dg.MetadataValue.md(discards_markdown(discards)),
    }
    places = dict.fromkeys(
        f"{one.table}.{one.column}" if one.column else one.table for one in discards
    )
    text = f"The contract left out rows: {rows}, values: {values} ({', '.join(places)})."
    warning = {**settings, "severity": "WARN"}
    return _result("schema_contract", key, False, warning, metadata, description=text)


def contract_violation_result(
    key: dg.AssetKey, error: ContractViolation, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Say which table, column and value broke the contract."""
    metadata = {
        name: value
        for name, value in (
            ("table", error.table),
            ("column", error.column),
            ("value", error.value),
        )
        if value is not None
    }
    return _result("schema_contract", key, False, settings, metadata, description=str(error))


def row_count_result(
    key: dg.AssetKey, rows: int | None, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Fail when the destination holds fewer or more rows than it may, or nobody could count."""
    least, most = settings["min"], settings["max"]
    metadata: dict[str, Any] = {
        name: value
        for name, value in (("rows", rows), ("min", least), ("max", most))
        if value is not None
    }
    if rows is None:
        return _result(
            "row_count",
            key,
            False,
            settings,
            metadata,
            description="The rows could not be counted.",
        )
    passed = (least is None or rows >= least) and (most is None or rows <= most)
    return _result("row_count", key, passed, settings, metadata)


def primary_key_result(
    key: dg.AssetKey, state: KeyState, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Fail when the primary key of a table holds duplicates or nulls in the destination.

    A table without a primary key does not pass, as there is nothing to look at, and that is never
    more than a warning. It is the same whether the check is asked of a resource or of a load.
    """
    if state.unread:
        text = f"The key of {_tables(state.unread)} could not be read."
        return _result("primary_key", key, False, settings, {}, description=text)
    metadata: dict[str, Any] = {}
    if state.problems:
        metadata = {
            "columns": list(dict.fromkeys(name for one in state.problems for name in one.columns)),
            "duplicates": sum(one.duplicates for one in state.problems),
            "nulls": sum(one.nulls for one in state.problems),
        }
        if metadata["duplicates"] or metadata["nulls"]:
            return _result("primary_key", key, False, settings, metadata)
    if state.keyless:
        text = (
            f"{_tables(state.keyless)} has no primary key. Give its resource one, or ask for the "
            "check where there is one."
        )
        warning = {**settings, "severity": "WARN"}
        return _result("primary_key", key, False, warning, metadata, description=text)
    nothing = "There is nothing to look at: a nested table, or one without rows."
    description = None if state.problems else nothing
    return _result("primary_key", key, True, settings, metadata, description=description)


def _tables(names: Sequence[str]) -> str:
    return ", ".join(f"table '{name}'" for name in names)


def _result(
    name: str,
    key: dg.AssetKey,
    passed: bool,
    settings: Mapping[str, Any],
    metadata: Mapping[str, Any],
    description: str | None = None,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=passed,
        severity=dg.AssetCheckSeverity[settings["severity"]],
        metadata=dict(metadata),
        description=description,
    )


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
