"""dlt's packages of a run in, their ledger entries out; and the load of a package beside others."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loadsmith.engine import _dlt, collect
from loadsmith.engine.ledger import LedgerEntry, LedgerTable, open_ledger
from loadsmith.engine.workspace import Workspace

#: Times that a load is tried again when two loads change the schema at the same moment.
_SCHEMA_RACES = 5


def package_entry(
    workspace: Workspace, load_id: str, identity: Mapping[str, Any]
) -> tuple[LedgerEntry, bool]:
    """Describe a normalized package for the ledger.

    Returns:
        The entry, and whether the package may go through a staging dataset.
    """
    pipeline = workspace.pipeline
    schema, names = _dlt.package_tables(pipeline, load_id)
    owned = collect.tables_by_resource(schema)
    owner = {table: resource for resource, tables in owned.items() for table in tables}
    resources = tuple(sorted({owner[name] for name in names if name in owner}))
    # What is only appended goes straight to its table.
    may_stage = any(
        schema.tables[name].get("write_disposition", "append") != "append" for name in names
    )
    tables = tuple(
        LedgerTable(
            name=table,
            parent=schema.tables[table].get("parent"),
            appended=_dlt.is_appended(pipeline, schema, table)
            and _dlt.can_be_undone(schema, table),
        )
        for resource in resources
        for table in owned[resource]
    )
    entry = LedgerEntry(
        load_id=load_id,
        scope=workspace.scope,
        resources=resources,
        tables=tables,
        rows=_dlt.package_rows(pipeline, load_id, names),
        **identity,
    )
    return entry, may_stage


def load_beside_others(pipeline: Any, log: Callable[[str], None]) -> Any:
    """Load; where another load changes the same tables at the same moment, try again."""
    for attempt in range(_SCHEMA_RACES):
        try:
            return pipeline.load()
        except _dlt.PipelineStepFailed as error:
            if attempt == _SCHEMA_RACES - 1 or not _dlt.is_schema_race(error):
                raise
            log("another load changed the schema at the same time; trying again")
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("unreachable")


def undo_now(
    workspace: Workspace, entries: Sequence[LedgerEntry], log: Callable[[str], None]
) -> None:
    """Remove at once what a load that failed or was cancelled has appended.

    What is not reported is not left in the destination for longer than needed. Where that
    cannot be done, because the destination is down or busy, the next run does it.
    """
    try:
        with open_ledger(workspace) as ledger:
            for entry in entries:
                if ledger is None or ledger.is_committed(entry.load_id):
                    continue
                if ledger.undo(entry, wait=False) is not None:
                    ledger.strike([entry])
    except Exception as error:  # noqa: BLE001 - the error of the load is the one to show
        log(f"what was loaded so far is removed by the next run ({type(error).__name__})")
