"""Whom a takeover waits for in PostgreSQL is logged, and ends when the run is cancelled."""

import threading
import time

import dlt
import killing
import psycopg2
import pytest
from entries import claim_of, entry_of, workspace_of

from loadsmith.engine.once.entry import LedgerEntry, LedgerTable
from loadsmith.engine.once.ledger_sql import SqlLedger
from loadsmith.model import RunRequest

pytestmark = pytest.mark.postgres

DEAD = entry_of("dead")


class Loaded:
    """A dataset with a table of one row, and what a run in it says."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        self.pipeline = dlt.pipeline(
            "waits", destination=dlt.destinations.postgres(killing.POSTGRES), dataset_name=dataset
        )
        self.pipeline.run([{"id": 1}], table_name="rows")
        self.lines: list[str] = []
        self.cancelled = False
        request = RunRequest(log=self.lines.append, cancelled=lambda: self.cancelled)
        self.workspace = workspace_of(self.pipeline, "shop/2026", request)

    def hold(self, session: psycopg2.extensions.connection, token: str) -> None:
        """Let a session be in the middle of a transaction of an attempt."""
        with session.cursor() as cursor:
            cursor.execute(
                f"SELECT token FROM {self.dataset}._dlt_loadsmith_claims WHERE token = %s"
                " FOR SHARE",
                (token,),
            )
            assert cursor.fetchall() == [(token,)]


@pytest.fixture
def loaded(make_shop) -> Loaded:
    return Loaded(make_shop("postgres").dataset)


@pytest.fixture
def other():
    """A session of somebody else."""
    connection = psycopg2.connect(killing.POSTGRES)
    yield connection
    connection.close()


def test_a_takeover_waits_for_a_transaction_that_holds_the_claim_and_says_so(loaded, other):
    with loaded.pipeline.destination_client() as client:
        ledger = SqlLedger(client, loaded.workspace)
        ledger.prepare()
        ledger.write_claim(claim_of(DEAD))
        loaded.hold(other, "dead")
        threading.Timer(2.5, other.commit).start()
        ledger.remove_claim(claim_of(DEAD))
        assert not ledger.has_claim("dead")
    assert [line.split(" ")[0] for line in loaded.lines] == ["waiting", "got"]
    assert all("the claim of run unknown on elsewhere" in line for line in loaded.lines)
    (wait,) = loaded.workspace.waits
    assert wait.seconds > 0.3


def test_a_takeover_ends_when_the_run_is_cancelled_and_leaves_the_claim(loaded, other):
    with loaded.pipeline.destination_client() as client:
        ledger = SqlLedger(client, loaded.workspace)
        ledger.prepare()
        ledger.write_claim(claim_of(DEAD))
        loaded.hold(other, "dead")
        threading.Timer(0.5, lambda: setattr(loaded, "cancelled", True)).start()
        started = time.monotonic()
        with pytest.raises(InterruptedError):
            ledger.remove_claim(claim_of(DEAD))
        assert time.monotonic() - started < 8
        assert ledger.has_claim("dead")


def test_what_a_session_that_was_cut_off_had_told_the_database_to_commit_is_undone(loaded, other):
    token = loaded.workspace.token
    own = LedgerEntry(
        load_id="own",
        scope="shop/2026",
        run_id="run",
        token=token,
        tables=(LedgerTable(name="rows", parent=None, appended=True),),
    )
    with loaded.pipeline.destination_client() as client, other.cursor() as cursor:
        ledger = SqlLedger(client, loaded.workspace)
        ledger.prepare()
        ledger.write_claim(claim_of(own))
        loaded.hold(other, token)
        cursor.execute(
            f"INSERT INTO {loaded.dataset}.rows(id, _dlt_load_id, _dlt_id) VALUES (2, 'own', 'x')"
        )
        threading.Timer(1, other.commit).start()
        assert ledger.undo(own) == 1
        with client.sql_client.execute_query(f"SELECT id FROM {loaded.dataset}.rows") as rows:
            assert rows.fetchall() == [(1,)]
