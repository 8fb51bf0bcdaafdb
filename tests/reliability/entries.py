"""Entries of a ledger: a dead load's, one that is alive, and others that write no more."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loadsmith.engine.destinations import traits
from loadsmith.engine.locks import this_execution
from loadsmith.engine.once.claim import Claim
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable
from loadsmith.engine.once.ledger import Ledger
from loadsmith.engine.workspace import Workspace
from loadsmith.engine.workspace.names import names_of
from loadsmith.model import RunRequest, Slice

TABLES = (
    LedgerTable(name="events", parent=None, appended=True),
    LedgerTable(name="events__items", parent="events", appended=True),
    LedgerTable(name="events__items__parts", parent="events__items", appended=True),
)
EVERYTHING = tuple(table.name for table in TABLES)


@dataclass(frozen=True)
class Peer:
    """Another load: its package, and the claim of the attempt, where that is there."""

    entry: LedgerEntry
    claim: Claim | None = None


def entry_of(scope: str, *, run_id: str = "unknown") -> LedgerEntry:
    return LedgerEntry(
        load_id=scope, scope=scope, run_id=run_id, tables=TABLES, token=scope, root_run_id="r"
    )


def claim_of(entry: LedgerEntry, *, execution: str | None = None, lease: float = 60) -> Claim:
    return Claim(
        token=entry.token,
        scope=entry.scope,
        run_id=entry.run_id,
        attempt=0,
        process="elsewhere:1",
        execution=execution or this_execution(),
        lease=lease,
    )


def write_down(ledger: Ledger, *peers: Peer) -> None:
    """Write the packages and claims of loads as they would."""
    ledger.prepare()
    for peer in peers:
        claim = claim_of(peer.entry)
        ledger.write_claim(peer.claim or claim)
        ledger.write([peer.entry])
        if peer.claim is None:
            ledger.remove_claim(claim)


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


DEAD = entry_of("dead", run_id="failed")
ALIVE = Peer(entry_of("alive"), claim_of(entry_of("alive")))


def _other(execution: str | None = None, lease: float = 60, **changes: Any) -> Peer:
    entry = replace(entry_of("other"), **changes)
    return Peer(entry, claim_of(entry, execution=execution, lease=lease))


that_writes_no_more = pytest.mark.parametrize(
    "other",
    [
        _other(run_id="failed"),
        _other(execution=re.sub(":[0-9]+:", ":999999999:", this_execution())),
        _other(lease=-1),
        Peer(entry_of("other")),
        _other(reported=True),
        _other(marked=True),
        _other(tables=()),
    ],
    ids=["failed", "process gone", "lease over", "no claim", "reported", "marked", "other tables"],
)
