"""Whom a load and an undo wait for in PostgreSQL is logged, and ends when the run is cancelled."""

import threading
import time

import dlt
import killing
import psycopg2
import pytest
from entries import workspace_of

from loadsmith.engine.once.dataset_lock import in_flight, lock_key
from loadsmith.engine.once.entry import LedgerEntry, LedgerTable
from loadsmith.engine.once.ledger_sql import SqlLedger
from loadsmith.model import RunRequest

pytestmark = pytest.mark.postgres


class Loaded:
    """A dataset with a table of one row, and what a run in it says."""

    def __init__(self, dataset: str) -> None:
        self.pipeline = dlt.pipeline(
            "waits", destination=dlt.destinations.postgres(killing.POSTGRES), dataset_name=dataset
        )
        self.pipeline.run([{"id": 1}], table_name="rows")
        self.lines: list[str] = []
        self.cancelled = False
        request = RunRequest(log=self.lines.append, cancelled=lambda: self.cancelled)
        self.workspace = workspace_of(self.pipeline, "shop/2026", request)

    def assert_one_wait_is_told(self, holder: str) -> None:
        assert [line.split(" ")[0] for line in self.lines] == ["waiting", "got"]
        assert all(holder in line for line in self.lines)
        (wait,) = self.workspace.waits
        assert wait.seconds > 0.3
        assert holder in str(wait.holder)


@pytest.fixture
def loaded(make_shop) -> Loaded:
    return Loaded(make_shop("postgres").dataset)


@pytest.fixture
def other():
    """A session of somebody else, with a name."""
    connection = psycopg2.connect(killing.POSTGRES, application_name="another load")
    yield connection
    connection.close()


def entry_of(load_id: str) -> LedgerEntry:
    tables = (LedgerTable(name="rows", parent=None, appended=True),)
    return LedgerEntry(load_id=load_id, scope="waits", run_id="run", tables=tables)


def test_an_undo_names_the_session_that_holds_the_dataset(loaded, other):
    with loaded.pipeline.destination_client() as client, other.cursor() as cursor:
        key = lock_key(client.sql_client)
        cursor.execute("SELECT pg_advisory_lock_shared(hashtext(%s))", (key,))
        threading.Timer(0.5, other.close).start()
        ledger = SqlLedger(client, loaded.workspace)
        assert ledger.undo(entry_of("1")) == 0
        assert ledger.undo(entry_of("1")) == 0
    loaded.assert_one_wait_is_told("another load")


def test_a_load_names_the_undo_that_it_waits_for(loaded, other):
    with loaded.pipeline.destination_client() as client, other.cursor() as cursor:
        key = lock_key(client.sql_client)
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", (key,))
        threading.Timer(0.5, other.close).start()
        for _ in range(2):
            with in_flight(loaded.workspace):
                cursor = psycopg2.connect(killing.POSTGRES).cursor()
                cursor.execute(
                    "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE %s",
                    ("loadsmith, the load of shop/2026",),
                )
                assert cursor.fetchall()
                cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (key,))
                assert cursor.fetchall() == [(False,)]
                cursor.connection.close()
    loaded.assert_one_wait_is_told("another load")


def test_a_wait_ends_at_once_when_the_run_is_cancelled(loaded, other):
    with loaded.pipeline.destination_client() as client, other.cursor() as cursor:
        key = lock_key(client.sql_client)
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", (key,))
        threading.Timer(0.5, lambda: setattr(loaded, "cancelled", True)).start()
        started = time.monotonic()
        with pytest.raises(InterruptedError), in_flight(loaded.workspace):
            pytest.fail("the lock is held by somebody else")
        assert time.monotonic() - started < 8
        cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", (key,))
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (key,))
        assert cursor.fetchall() == [(True,)], "the request for the lock is still there"


def test_what_a_killed_process_had_told_the_database_to_commit_is_undone(loaded, other):
    # Its sessions end a moment after it: a statement that came through is still carried out.
    with loaded.pipeline.destination_client() as client, other.cursor() as cursor:
        schema = client.sql_client.dataset_name
        cursor.execute(
            f'INSERT INTO "{schema}"."rows"(id, _dlt_load_id, _dlt_id) VALUES (2, %s, %s)',
            ("dead", "x"),
        )
        threading.Timer(1, other.commit).start()
        assert SqlLedger(client, loaded.workspace).undo(entry_of("dead")) == 1
        with client.sql_client.execute_query(f'SELECT id FROM "{schema}"."rows"') as rows:
            assert rows.fetchall() == [(1,)]
    loaded.assert_one_wait_is_told("a transaction that has written to it")
