"""Entries of a ledger: a dead load's, one that is alive, and others that write no more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadsmith.engine.destinations import traits
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable, this_process
from loadsmith.engine.workspace import Workspace
from loadsmith.engine.workspace.names import names_of
from loadsmith.model import RunRequest, Slice

TABLES = (
    LedgerTable(name="events", parent=None, appended=True),
    LedgerTable(name="events__items", parent="events", appended=True),
    LedgerTable(name="events__items__parts", parent="events__items", appended=True),
)
EVERYTHING = tuple(table.name for table in TABLES)


def entry_of(scope: str, *, process: str, run_id: str = "unknown") -> LedgerEntry:
    return LedgerEntry(
        load_id=scope, scope=scope, run_id=run_id, tables=TABLES, process=process, root_run_id="r"
    )


def workspace_of(pipeline: Any, scope: str, request: RunRequest) -> Workspace:
    """Return the workspace of a run that works with `pipeline` beside others."""
    return Workspace(
        pipeline=pipeline,
        base_name=pipeline.pipeline_name,
        names=names_of(Slice(load=scope, pipeline_name=scope), Path(pipeline.pipelines_dir)),
        traits=traits(pipeline.destination),
        request=request,
        transient=False,
    )


DEAD = entry_of("dead", process="elsewhere:1", run_id="failed")
ALIVE = entry_of("alive", process=this_process())

that_writes_no_more = pytest.mark.parametrize(
    "other",
    [
        entry_of("other", process="elsewhere:1", run_id="failed"),
        entry_of("other", process=f"{this_process().rpartition(':')[0]}:999999999"),
        replace(ALIVE, load_id="other", scope="other", abandoned=True),
        replace(ALIVE, load_id="other", scope="other", reported=True),
        replace(ALIVE, load_id="other", scope="other", tables=()),
    ],
    ids=["run failed", "process gone", "abandoned", "reported", "other tables"],
)
