"""Whom an undo waits for in PostgreSQL is logged."""

import threading
from types import SimpleNamespace

import dlt
import killing
import psycopg2
import pytest

from loadsmith.engine.dataset_lock import lock_key
from loadsmith.engine.ledger_entry import LedgerEntry
from loadsmith.engine.ledger_sql import SqlLedger
from loadsmith.model import Wait


@pytest.mark.postgres
def test_the_session_that_holds_the_dataset_is_named_in_the_log(make_shop):
    shop = make_shop("postgres")
    pipeline = dlt.pipeline(
        "waits", destination=dlt.destinations.postgres(killing.POSTGRES), dataset_name=shop.dataset
    )
    pipeline.run([{"id": 1}], table_name="rows")
    other = psycopg2.connect(killing.POSTGRES, application_name="another load")
    lines: list[str] = []
    waits: list[Wait] = []
    workspace = SimpleNamespace(request=SimpleNamespace(log=lines.append), waits=waits)
    entry = LedgerEntry(load_id="1", scope="waits", run_id="run")
    with pipeline.destination_client() as client, other.cursor() as cursor:
        key = lock_key(client.sql_client)
        cursor.execute("SELECT pg_advisory_lock_shared(hashtext(%s))", (key,))
        threading.Timer(0.5, other.close).start()
        ledger = SqlLedger(client, workspace)
        assert ledger.undo(entry) == 0
        assert ledger.undo(entry) == 0
    assert [line.split(" ")[0] for line in lines] == ["waiting", "got"]
    assert all("another load" in line for line in lines)
    (wait,) = waits
    assert wait.seconds > 0.3
    assert "another load" in str(wait.holder)
