"""Count the rows that schema contracts discarded: rows extracted less rows normalized."""

from collections.abc import Iterable, Mapping
from typing import Any

from dlt.common.schema import Schema
from dlt.common.storages.load_package import ParsedLoadJobFileName

from loadsmith.engine.schema_files import tables_by_resource
from loadsmith.model import DiscardResult

#: Files of records. dlt applies a contract to rows in other files before it counts them.
_RECORDS = "typed-jsonl"

#: Contracts under which a row of a root table is loaded whole or not at all.
_COUNTED = {("columns", "discard_row"), ("data_type", "discard_row")}


def discard_results(
    extracts: Iterable[Any],
    loaded: Mapping[str, int | None],
    source: Any,
    schema: Any,
    resources: Iterable[str],
    *,
    is_all: bool,
) -> tuple[DiscardResult, ...]:
    """Return what the contracts of `resources` discarded, for each contract that discards.

    Args:
        extracts: What dlt tells of each extract of the run.
        loaded: Rows of the run by table; None where nobody has counted them.
        source: The dlt source after the run.
        schema: Its schema in the pipeline after the run.
        resources: Names of the resources that were loaded.
        is_all: False where packages of another run are among `loaded`.
    """
    schema = source.schema if schema is None else schema
    extracted, others = _extracted_rows(extracts)
    owned = tables_by_resource(schema)
    found = []
    for name in resources:
        tables = owned.get(name, [])
        resource = source.resources.get(name)
        modes = _discarding_modes(schema, tables, resource.schema_contract if resource else None)
        if not modes:
            continue
        is_counted = is_all and all(loaded.get(table, 0) is not None for table in tables)
        rows = {table: extracted.get(table, 0) - (loaded.get(table) or 0) for table in tables}
        found.append(
            DiscardResult(
                resource=name,
                rows={table: n for table, n in rows.items() if is_counted and n > 0},
                is_complete=is_counted
                and modes <= _COUNTED
                and others.isdisjoint(tables)
                and not any(schema.tables[table].get("parent") for table in tables)
                # A Pydantic model discards rows before dlt counts them.
                and (resource is None or resource.validator is None),
            )
        )
    return tuple(found)


def _discarding_modes(schema: Any, tables: Iterable[str], declared: Any) -> set[tuple[str, str]]:
    """Return the entities that a contract of a resource or its tables discards, with the mode."""
    if callable(declared):
        # It may say another thing for each row.
        return {("tables", "discard_row")}
    if declared is None:
        declared = schema.settings.get("schema_contract") or {}
    contracts = [
        Schema.expand_schema_contract_settings(declared),
        *(schema.resolve_contract_settings_for_table(table) for table in tables),
    ]
    return {
        (entity, str(mode))
        for contract in contracts
        for entity, mode in contract.items()
        if str(mode).startswith("discard")
    }


def _extracted_rows(extracts: Iterable[Any]) -> tuple[dict[str, int], set[str]]:
    """Return the extracted rows by table, and the tables that have other files than records."""
    files = {
        counted.file_path: counted.items_count
        for info in extracts
        for packages in info.metrics.values()
        for metrics in packages
        for counted in metrics["job_metrics"].values()
    }
    rows: dict[str, int] = {}
    others = set()
    for path, count in files.items():
        job = ParsedLoadJobFileName.parse(path)
        rows[job.table_name] = rows.get(job.table_name, 0) + count
        if job.file_format != _RECORDS:
            others.add(job.table_name)
    return rows, others
