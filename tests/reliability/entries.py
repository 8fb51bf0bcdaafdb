"""Entries of a ledger: a dead load's, one that is alive, and others that write no more."""

from dataclasses import replace

import pytest

from loadsmith.engine.once.entry import LedgerEntry, LedgerTable, this_process

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
