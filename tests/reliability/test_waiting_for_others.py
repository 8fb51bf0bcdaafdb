"""A load says for which session of a database it waits, and ends when it is cancelled."""

import threading
import time

import dlt
import killing
import psycopg2
import pytest
from entries import claim_of, entry_of, workspace_of

from loadsmith.engine.once import blocked
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


class Waiting:
    """A load in a thread that comes to wait for a session of somebody else, and is cancelled."""

    def __init__(self, shop: killing.Shop) -> None:
        self.shop = shop
        self.lines: list[str] = []
        self.told = "cancelled"
        self.failed: list[BaseException] = []
        self._is_told, self._is_waiting = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, rows: list[dict[str, int]]) -> None:
        definition = LoadDefinition(
            name="orders",
            source=lambda: dlt.resource(
                rows, name="orders", write_disposition="merge", primary_key="id"
            ),
            pipeline=self.shop.make_pipeline,
        )
        asked = {"log": self._take, "warn": self._take, self.told: self._is_told.is_set}
        with run_load(definition, RunRequest(**asked)):
            pass

    def start(self, rows: list[dict[str, int]]) -> None:
        """Return as soon as the load says that it waits."""
        self._thread = threading.Thread(target=self._load, args=(rows,))
        self._thread.start()
        assert self._is_waiting.wait(60)
        assert not self.failed

    def cancel(self, seconds: float = 5) -> None:
        """Cancel the load, which has to end within so many seconds."""
        self._is_told.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.lines[-5:]
        assert len(self.failed) == 1
        self._is_told.clear()

    @property
    def waits(self) -> list[str]:
        return [line for line in self.lines if "the load waits for" in line]

    def _take(self, line: str) -> None:
        self.lines.append(line)
        if "the load waits for" in line:
            self._is_waiting.set()

    def _load(self, rows: list[dict[str, int]]) -> None:
        try:
            self.run(rows)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.failed.append(error)
        finally:
            self._is_waiting.set()


@pytest.fixture
def make_waiting(make_shop, monkeypatch):
    monkeypatch.setattr(blocked, "LOOK_SECONDS", 0.1)
    return lambda destination: Waiting(make_shop(destination))


@pytest.mark.parametrize("told", ["cancelled", "is_canceled"])
@pytest.mark.parametrize("change", ["column", "row"])
def test_a_load_that_waits_for_a_session_names_it_and_ends_when_it_is_cancelled(
    make_waiting, other, told, change
):
    load = make_waiting("postgres")
    load.told = told
    dataset = load.shop.dataset
    load.run([{"id": 1}])
    with other.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM {dataset}.orders"
            + (" WHERE id = 1 FOR UPDATE" if change == "row" else "")
        )
    rows = [{"id": 1, "more": 2}] if change == "column" else [{"id": 1}, {"id": 2}]
    load.start(rows)
    load.cancel()
    (waits,) = load.waits
    assert f"session {other.get_backend_pid()}" in waits
    assert "idle in transaction" in waits
    assert f"{dataset}.orders" in waits
    other.rollback()
    load.run(rows)
    assert load.shop.read("orders", "id") == [(row["id"],) for row in rows]


ALL = "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"

#: Locks of somebody else, by table.
LOCKS = [
    ("_dlt_loadsmith_claims", ALL),
    ("_dlt_loadsmith_leases", ALL),
    ("_dlt_loadsmith_loads", ALL),
    ("_dlt_loadsmith_states", ALL),
    ("_dlt_loadsmith_jobs", ALL),
    ("_dlt_loads", ALL),
    ("_dlt_version", ALL),
    ("_dlt_pipeline_state", ALL),
    ("orders", ALL),
    ("_dlt_loads", "LOCK TABLE {} IN SHARE MODE"),
    ("_dlt_loadsmith_claims", "LOCK TABLE {} IN SHARE MODE"),
    ("_dlt_loadsmith_loads", "SELECT * FROM {} FOR UPDATE"),
]


@pytest.mark.parametrize(("table", "lock"), LOCKS)
def test_a_load_that_waits_for_a_lock_on_any_table_says_so_and_ends_when_it_is_cancelled(
    make_waiting, other, table, lock
):
    load = make_waiting("postgres")
    load.run([{"id": 1}])
    with other.cursor() as cursor:
        cursor.execute(lock.format(f"{load.shop.dataset}.{table}"))
    rows = [{"id": 1}, {"id": 2, "more": 3}]
    load.start(rows)
    load.cancel()
    assert f"session {other.get_backend_pid()}" in load.waits[0]
    assert not [line for line in load.lines if "the connection broke" in line]
    other.rollback()
    load.run(rows)
    assert load.shop.read("orders", "id") == [(1,), (2,)]


@pytest.mark.parametrize("right", ["all", "its own"])
@pytest.mark.parametrize("told", ["cancelled", "is_canceled"])
def test_a_load_into_mariadb_that_waits_for_a_reader_says_so_and_ends_when_it_is_cancelled(
    make_waiting, told, right, monkeypatch
):
    import pymysql

    load = make_waiting("mariadb")
    load.told = told
    database = load.shop.dataset
    with (
        pymysql.connect(host="127.0.0.1", user="root", database=database) as other,
        other.cursor() as cursor,
    ):
        load.run([{"id": 1}])
        if right == "its own":
            # Only some users are shown the transactions of others.
            cursor.execute(f"CREATE USER {database}@'127.0.0.1'")
            cursor.execute(f"GRANT ALL ON `{database}%`.* TO {database}@'127.0.0.1'")
            own = killing.MARIADB.replace("root", database)
            monkeypatch.setattr(killing, "MARIADB", own)
        try:
            cursor.execute("SELECT * FROM orders")
            rows = [{"id": 1}, {"id": 2, "more": 3}]
            load.start(rows)
            load.cancel()
            who = f"maybe session {other.thread_id()}" if right == "all" else "does not name"
            assert any(who in line and "ALTER TABLE" in line for line in load.waits)
            other.rollback()
            load.run(rows)
        finally:
            cursor.execute(f"DROP USER IF EXISTS {database}@'127.0.0.1'")
    assert load.shop.read("orders", "id") == [(1,), (2,)]
