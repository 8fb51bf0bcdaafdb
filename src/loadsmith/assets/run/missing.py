"""Tell which columns a source no longer sends, from what earlier runs saw of their values.

What runs saw is in the metadata of the asset, because every machine that runs a load can read it.
"""

from collections.abc import Collection, Mapping
from datetime import timezone
from typing import Any

from loadsmith.assets.define import RunPartitions
from loadsmith.model import LoadResult, SchemaChange, TableResult

#: Name in the metadata of what runs saw of the columns, by table.
SEEN_COLUMNS = "loadsmith/columns"

#: Runs in a row without a value after which a column is missing.
RUNS_WITHOUT = 2

#: What runs saw of the columns of a table: those that had a value in every row (`full`), those of
#: them without a value since a run (`absent`), and the end of the newest partition (`until`).
Columns = Mapping[str, Any]


def columns_after(
    before: Columns | None, table: TableResult, result: LoadResult, partitions: RunPartitions
) -> Columns | None:
    """Return what is known of the columns of a table after a run.

    Nothing changes after a run without rows of the table, of an older partition, or of a partition
    that is no time: other partitions may have other columns.
    """
    until = _end_of(partitions)
    known = before or {"full": [], "absent": {}, "until": None}
    is_judged = until is not None or not partitions.keys
    if table.filled is None or not is_judged or (until or "") < (known["until"] or until or ""):
        return before
    if before is None:
        new: Collection[str] = table.filled
    else:
        new = {
            change.column or "" for change in result.schema_changes if change.table == table.name
        }
    is_again = until is not None and until == known["until"]
    full: list[str] = []
    absent: dict[str, dict[str, Any]] = {}
    for name, state in table.filled.items():
        was = known["absent"].get(name, {"runs": 0})
        if state == "none" and name in known["full"]:
            since = was.get("since") or f"load {('?', *result.load_ids)[-1]}, {result.ended_at}"
            absent[name] = {"since": since, "runs": max(1, was["runs"] + (not is_again))}
        elif state != "all" or not (name in new or name in known["full"]):
            continue
        elif 0 < was["runs"] < RUNS_WITHOUT:
            # It is only sometimes NULL.
            continue
        full.append(name)
    return {"full": full, "absent": absent, "until": until or known["until"]}


def missing_columns(columns: Columns | None) -> dict[str, str]:
    """Return the columns that are missing, and since when."""
    absent = columns["absent"] if columns else {}
    return {name: str(one["since"]) for name, one in absent.items() if one["runs"] >= RUNS_WITHOUT}


def newly_missing(
    before: Columns | None, after: Columns | None, table: TableResult
) -> list[SchemaChange]:
    """Return a change for each column that is missing since this run told it so."""
    known = missing_columns(before)
    types = {column.name: column.type_text for column in table.columns}
    return [
        SchemaChange(
            table=table.name, kind="missing", column=name, before=types.get(name), since=since
        )
        for name, since in missing_columns(after).items()
        if name not in known
    ]


def read_seen_columns(metadata: Mapping[str, Any]) -> dict[str, Columns]:
    """Return what the metadata of a materialization says of columns, by table."""
    value = getattr(metadata.get(SEEN_COLUMNS), "value", None)
    if not isinstance(value, Mapping):
        return {}
    names = {"full", "absent", "until"}
    return {
        table: columns
        for table, columns in value.items()
        # Another version may have written something else.
        if isinstance(columns, Mapping) and names <= set(columns)
    }


def _end_of(partitions: RunPartitions) -> str | None:
    """Return the end of the partitions, in an order; None for those that are no time alone."""
    if partitions.window is None or any("|" in key for key in partitions.keys):
        return None
    return partitions.window.end.astimezone(timezone.utc).isoformat()
