"""What is done where an entry of the ledger is not as a run has written it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loadsmith.engine.dlt_hooks import can_be_undone, is_appended
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable
from loadsmith.errors import RunError

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


def entry_from_tables(
    workspace: "Workspace",
    client: Any,
    is_committed: Callable[[str], bool],
    *,
    place: str,
    load_id: str,
    scope: str,
    sequence: int,
) -> LedgerEntry:
    """Return an entry that removes a package that is not marked as loaded, whatever its tables.

    Args:
        workspace: Whose log tells of it.
        client: The client of the destination, which knows the tables.
        is_committed: Tells whether dlt counts a package as loaded.
        place: The damaged file or row, for messages.
        load_id: The package; empty where it is not known.
        scope: Whose package that is; empty where it is not known.
        sequence: Its number.

    Raises:
        RunError: Nobody can know what the entry said.
    """
    schema = client.schema
    tables = schema.data_tables(include_incomplete=False)
    if not (load_id and scope and tables) or is_committed(load_id):
        raise damaged_error(workspace, place, load_id)
    workspace.request.warn(
        f"{place} is damaged. Package {load_id} is not marked as loaded, so what it brought is"
        " removed, and extracted again where it is not kept"
    )
    return LedgerEntry(
        load_id=load_id,
        scope=scope,
        run_id="that is not known",
        sequence=sequence,
        tables=tuple(
            LedgerTable(
                name=table["name"],
                parent=table.get("parent"),
                appended=is_appended(workspace.pipeline, schema, table["name"])
                and can_be_undone(schema, table["name"]),
            )
            for table in tables
        ),
    )


def damaged_error(workspace: "Workspace", place: str, load_id: str) -> RunError:
    """Return the error for what cannot be read and cannot be derived from anything else."""
    what = f"package {load_id}" if load_id else "a package"
    return RunError(
        f"load '{workspace.scope}', sync: {place} is damaged: it is not what a run has written. It"
        f" says what {what} brought and whether Dagster knows of it, so that no row is loaded twice"
        " or removed in error. Restore it from a backup; or look whether the rows of the package"
        " are right (its id is in their `_dlt_load_id`), remove those that are not, delete what is"
        " damaged, and run again.",
        stage="sync",
        load=workspace.base_name,
    )
