"""A dead load is undone beside loads that write, where a database has no lock for a dataset."""

import threading
import uuid

import dlt
import pymysql
import pytest
from entries import (
    ALIVE,
    DEAD,
    EVERYTHING,
    Peer,
    entry_of,
    that_writes_no_more,
    workspace_of,
    write_down,
)
from killing import MARIADB

from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.ledger_sql import SqlLedger
from loadsmith.model import RunRequest, Wait


def connect(name: str) -> pymysql.Connection:
    return pymysql.connect(host="127.0.0.1", user="root", database=name, autocommit=True)


class Warehouse:
    """Tables with what loads of several kinds have left, and an undo of one of them."""

    def __init__(self, name: str) -> None:
        self._see(name)
        whole = {"id": 0, "items": [{"n": 0, "parts": [{"k": 0}]}]}
        self._pipeline.run([whole], table_name="events")
        self.ask("DELETE FROM events")
        self.ask("DELETE FROM events__items")
        self.ask("DELETE FROM events__items__parts")

    def _see(self, name: str) -> None:
        self.name = name
        self._connection = connect(name)
        self._pipeline = dlt.pipeline(
            f"undo_{uuid.uuid4().hex[:6]}",
            destination=dlt.destinations.sqlalchemy(f"{MARIADB}/{name}"),
            dataset_name=name,
        )
        self.lines: list[str] = []
        self.waits: list[Wait] = []

    def peer(self) -> "Warehouse":
        """Return the same database as another process would see it."""
        peer = object.__new__(Warehouse)
        peer._see(self.name)
        return peer

    def close(self) -> None:
        self._connection.close()

    def ask(self, query: str, *args: str) -> list[tuple]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, args)
            return list(cursor.fetchall())

    def write(self, load_id: str, *tables: str) -> None:
        """Write one row of a load into each of the tables, the one hanging from the other."""
        for table in tables:
            level = EVERYTHING.index(table)
            own = {"_dlt_id": f"{load_id}_{level}"}
            if level:
                own |= {"_dlt_parent_id": f"{load_id}_{level - 1}", "_dlt_list_idx": "0"}
            else:
                own |= {"_dlt_load_id": load_id, "id": "1"}
            values = ", ".join(["%s"] * len(own))
            self.ask(f"INSERT INTO {table}({', '.join(own)}) VALUES ({values})", *own.values())

    def loads(self) -> dict[str, list[str]]:
        """Return the loads that have rows, by table."""
        return {
            table: sorted(
                key.rsplit("_", 1)[0] for (key,) in self.ask(f"SELECT _dlt_id FROM {table}")
            )
            for table in EVERYTHING
        }

    def undo(self, entry: LedgerEntry, *others: Peer, wait: bool = True) -> int | None:
        request = RunRequest(log=self.lines.append, outcome_of=lambda run: run)
        workspace = workspace_of(self._pipeline, entry.scope, request)
        workspace.waits = self.waits
        with self._pipeline.destination_client() as client:
            ledger = SqlLedger(client, workspace)
            write_down(ledger, Peer(entry), *others)
            return ledger.undo(entry, wait=wait)


@pytest.fixture
def warehouse(make_mariadb):
    made = Warehouse(make_mariadb())
    yield made
    made.close()


def test_rows_that_hang_from_a_dead_loads_roots_go_with_them_while_another_load_writes(warehouse):
    warehouse.write("dead", *EVERYTHING)
    warehouse.write("alive", "events__items", "events__items__parts")
    assert warehouse.undo(DEAD, ALIVE, wait=False) is None
    assert warehouse.loads() == {
        "events": [],
        "events__items": ["alive"],
        "events__items__parts": ["alive"],
    }


def test_rows_without_a_root_wait_for_the_load_that_writes(warehouse):
    warehouse.write("dead", "events__items", "events__items__parts")
    warehouse.write("alive", "events__items", "events__items__parts")

    def end() -> None:
        warehouse.write("alive", "events")
        warehouse.ask("DELETE FROM _dlt_loadsmith_claims WHERE token = 'alive'")

    threading.Timer(1.5, end).start()
    assert warehouse.undo(DEAD, ALIVE) == 2
    assert warehouse.loads() == {table: ["alive"] for table in EVERYTHING}
    assert [line.split(" ")[0] for line in warehouse.lines] == ["waiting", "got"]
    assert all("unknown of alive" in line for line in warehouse.lines)
    (wait,) = warehouse.waits
    assert wait.seconds > 1


@that_writes_no_more
def test_a_load_that_does_not_write_is_not_waited_for(warehouse, other):
    warehouse.write("dead", "events__items", "events__items__parts")
    assert warehouse.undo(DEAD, other, wait=False) == 2
    assert warehouse.loads() == {table: [] for table in EVERYTHING}
    assert warehouse.lines == []


def test_a_load_that_begins_meanwhile_keeps_its_rows(warehouse, monkeypatch):
    # It comes when the rows of the dead load were taken down and before they are removed.
    warehouse.write("dead", "events__items")
    asked = SqlLedger.claims
    begun = []

    def write_first(ledger):
        if not begun:
            begun.append("new")
            warehouse.write("new", "events__items", "events__items__parts")
        return asked(ledger)

    monkeypatch.setattr(SqlLedger, "claims", write_first)
    assert warehouse.undo(DEAD) is not None
    assert warehouse.loads()["events__items"] == ["new"]


def test_two_undos_do_not_wait_for_each_others_dead_load(warehouse):
    one, two = (entry_of(name) for name in ("one", "two"))
    for name in ("one", "two"):
        warehouse.write(name, "events__items")
    peers = [warehouse.peer(), warehouse.peer()]
    threads = [
        threading.Thread(target=peer.undo, args=(own,), daemon=True)
        for peer, own in zip(peers, (one, two), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for peer in peers:
        peer.close()
    assert warehouse.loads()["events__items"] == []
