"""Build the results of the checks that a run evaluates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from loadsmith.assets.run.metadata import ResultIndex, schema_changes_markdown
from loadsmith.engine.results import KeyCounts
from loadsmith.errors import ContractBreach
from loadsmith.model import DiscardResult, TableResult

#: Changes in the description of a check; the metadata has all of them.
_SHOWN_CHANGES = 5

_NOT_COUNTED = (
    "Not counted: values, rows of nested tables, rows of Arrow tables and rows of tables that may"
    " not be created. The contract may have discarded some of these."
)


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """The primary keys of the root tables of an asset.

    Attributes:
        counts: Duplicates and nulls in the key of each table that has one.
        keyless: Tables with columns and without a primary key.
        unread: Tables whose key could not be read from the destination.
    """

    counts: tuple[KeyCounts, ...] = ()
    keyless: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def schema_change_result(
    key: dg.AssetKey, index: ResultIndex, tables: Sequence[TableResult], settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Fail if the run changed tables that existed before.

    A new nested table is a change of an existing table.

    Args:
        key: The asset.
        index: The result.
        tables: The tables of the asset, including nested tables without an asset.
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
        # A nested table is no change if its parent is new as well.
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
    key: dg.AssetKey, discards: DiscardResult | None, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Pass if nothing broke a contract; warn of what it discarded or may have discarded.

    Args:
        key: The asset.
        discards: What the contract of the asset's resource discarded; None if it never discards.
        settings: Settings of the check.
    """
    if discards is None or (discards.is_complete and not discards.rows):
        return _result("schema_contract", key, True, settings, {})
    texts, metadata = [], {}
    if discards.rows:
        metadata["discarded_rows"] = sum(discards.rows.values())
        places = ", ".join(f"{table}: {rows}" for table, rows in discards.rows.items())
        texts.append(f"The contract discarded {metadata['discarded_rows']} rows ({places}).")
    if not discards.is_complete:
        texts.append(_NOT_COUNTED)
    warning = {**settings, "severity": "WARN"}
    return _result("schema_contract", key, False, warning, metadata, description=" ".join(texts))


def contract_violation_result(
    key: dg.AssetKey, breach: ContractBreach, message: str, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Report which table, column and value broke the contract."""
    metadata = {
        name: value
        for name in ("table", "column", "value")
        if (value := getattr(breach, name)) is not None
    }
    return _result("schema_contract", key, False, settings, metadata, description=message)


def row_count_result(
    key: dg.AssetKey, rows: int | None, settings: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Fail if the destination has too few or too many rows, or they could not be counted."""
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
    """Fail if the primary key of a table has duplicates or nulls in the destination.

    A table without a primary key fails with a warning, because there is nothing to check.
    """
    if state.unread:
        text = f"The key of {_tables(state.unread)} could not be read."
        return _result("primary_key", key, False, settings, {}, description=text)
    metadata: dict[str, Any] = {}
    if state.counts:
        metadata = {
            "columns": list(dict.fromkeys(name for key in state.counts for name in key.columns)),
            "duplicates": sum(key.duplicates for key in state.counts),
            "nulls": sum(key.nulls for key in state.counts),
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
    description = None if state.counts else nothing
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
