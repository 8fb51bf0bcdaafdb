"""Iceberg tables whose catalog dlt keeps in memory: one load of a machine writes at a time.

Such a catalog begins with the newest metadata in a table's folder. Of two commits that begin with
the same, readers see one, and the rows of the other are lost without an error. A lock keeps them
apart in a folder of a machine; a catalog that all share refuses the second commit by itself.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.destinations.fs_client import FSClientBase

from loadsmith.engine.locks import exclusive
from loadsmith.engine.once.entry import LEDGER_TABLE

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


@contextlib.contextmanager
def in_turn(workspace: "Workspace") -> Iterator[None]:
    """Keep other loads of this machine from the Iceberg tables of the dataset, for a load step."""
    client = workspace.client()
    has_files = isinstance(client, FSClientBase)
    tables = (
        table for schema in workspace.pipeline.schemas.values() for table in schema.tables.values()
    )
    if not has_files or not any(table.get("table_format") == "iceberg" for table in tables):
        yield
        return
    if not client.config.is_local_filesystem and _is_unshared(client):
        workspace.request.warn(
            f"the Iceberg tables of {client.dataset_name} have no catalog that others share: where"
            " two loads commit at once, the rows of one are lost. Configure a catalog for dlt"
            " (`[iceberg_catalog]`), or give their assets a `pool`."
        )
    with alone_with_iceberg(client, workspace, wait=True):
        yield


@contextlib.contextmanager
def alone_with_iceberg(client: Any, workspace: "Workspace", *, wait: bool) -> Iterator[bool]:
    """Keep other loads of this machine from committing to Iceberg tables of the dataset.

    Yields False, and keeps nobody out, where another load writes and `wait` is False. A block
    inside of another one of the same workspace keeps them out already.

    Raises:
        InterruptedError: The run was cancelled meanwhile.
    """
    if workspace.is_alone_with_iceberg or not _needs_lock(client):
        yield True
        return
    request = workspace.request
    held = exclusive(
        Path(client.dataset_path) / LEDGER_TABLE / "iceberg.lock",
        what=f"the Iceberg tables of {client.dataset_name}",
        who=f"the load of {workspace.scope}",
        log=request.log if wait else lambda _line: None,
        cancelled=request.cancelled if wait else lambda: True,
    )
    with contextlib.ExitStack() as stack:
        try:
            waited = stack.enter_context(held)
        except InterruptedError:
            if wait:
                raise
            yield False
            return
        if waited.holder is not None:
            workspace.waits.append(waited)
        workspace.is_alone_with_iceberg = True
        try:
            yield True
        finally:
            workspace.is_alone_with_iceberg = False


def _needs_lock(client: Any) -> bool:
    return bool(client.config.is_local_filesystem) and _is_unshared(client)


def _is_unshared(client: Any) -> bool:
    """Tell whether dlt keeps the catalog of the tables in the memory of this process."""
    from dlt.common.libs.pyiceberg import is_ephemeral_catalog

    return bool(is_ephemeral_catalog(client.get_open_table_catalog("iceberg")))
