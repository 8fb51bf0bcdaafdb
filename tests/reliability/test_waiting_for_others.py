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
from loadsmith.engine.run import run_load
from loadsmith.model import LoadDefinition, RunRequest

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


@pytest.mark.parametrize("told", ["cancelled", "is_canceled"])
@pytest.mark.parametrize("change", ["column", "row"])
def test_a_load_that_waits_for_a_session_names_it_and_ends_when_it_is_cancelled(
    make_shop, other, told, change
):
    shop = make_shop("postgres")
    lines: list[str] = []
    is_told, is_waiting = threading.Event(), threading.Event()

    def take(line: str) -> None:
        lines.append(line)
        if "waits for session" in line:
            is_waiting.set()

    def run(rows: list[dict[str, int]]) -> None:
        definition = LoadDefinition(
            name="orders",
            source=lambda: dlt.resource(
                rows, name="orders", write_disposition="merge", primary_key="id"
            ),
            pipeline=lambda: dlt.pipeline(
                "orders",
                destination=dlt.destinations.postgres(killing.POSTGRES),
                dataset_name=shop.dataset,
                pipelines_dir=str(shop.pipelines_dir),
            ),
        )
        asked = RunRequest(log=take, warn=take, **{told: is_told.is_set})
        with run_load(definition, asked):
            pass

    run([{"id": 1}])
    with other.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM {shop.dataset}.orders"
            + (" WHERE id = 1 FOR UPDATE" if change == "row" else "")
        )
    rows = [{"id": 1, "more": 2}] if change == "column" else [{"id": 1}, {"id": 2}]
    failed: list[BaseException] = []

    def load() -> None:
        try:
            run(rows)
        except Exception as error:  # noqa: BLE001 - looked at below
            failed.append(error)
        finally:
            is_waiting.set()

    loading = threading.Thread(target=load)
    loading.start()
    assert is_waiting.wait(60)
    assert not failed
    is_told.set()
    loading.join(30)
    assert not loading.is_alive()
    assert len(failed) == 1
    (waits,) = [line for line in lines if "waits for session" in line]
    assert f"session {other.get_backend_pid()}" in waits
    assert "idle in transaction" in waits
    assert f"{shop.dataset}.orders" in waits
    other.rollback()
    is_told.clear()
    run(rows)
    with other.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {shop.dataset}.orders")
        assert cursor.fetchall() == [(len(rows),)]
