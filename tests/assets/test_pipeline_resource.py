"""`DltPipeline` in an asset of one's own, and what it tells."""

import http.server
import json
import threading

import dagster as dg
import dlt
import pytest
from dlt.common.pipeline import LoadInfo

from loadsmith.assets.run import DltPipeline
from loadsmith.engine.results import notify_schema_changes
from loadsmith.engine.results.notify import schema_changes_text
from loadsmith.model import SchemaChange


@dlt.resource(name="issues")
def github_issues():
    yield [{"id": 1, "labels": [{"name": "bug"}]}, {"id": 2}]


@pytest.fixture
def chat():
    """A server that takes messages as a chat's incoming hook does."""
    received = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body)["text"])
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def load(database, data=github_issues, table="github_issues"):
    @dg.asset
    def issues_pipeline(context: dg.AssetExecutionContext, pipeline: DltPipeline):
        info = pipeline.create_pipeline(
            "github_issues", "ds", dlt.destinations.duckdb(str(database)), data, table
        )
        assert isinstance(info, LoadInfo)
        context.add_output_metadata({"mine": len(info.load_packages)})

    return dg.materialize([issues_pipeline], resources={"pipeline": DltPipeline()})


def test_the_resource_loads_into_the_table_and_describes_the_changes(database, events_of, rows_in):
    event = events_of(load(database))["issues_pipeline"]
    assert event["mine"] == 1
    assert event["tables"] == {"github_issues": 2, "github_issues__labels": 1}
    assert "| github_issues | new column | id |" in event["schema_changes"]
    assert rows_in("SELECT COUNT(*) FROM ds.github_issues") == [(2,)]


def test_a_second_load_changes_nothing_in_the_schema(database, events_of):
    load(database)
    assert "schema_changes" not in events_of(load(database))["issues_pipeline"]


def test_plain_data_will_do(database, rows_in):
    DltPipeline().create_pipeline(
        "plain", "ds", dlt.destinations.duckdb(str(database)), [{"id": 1}], "things"
    )
    assert rows_in("SELECT id FROM ds.things") == [(1,)]


def test_schema_changes_go_to_the_hook_that_dlt_knows(database, chat, monkeypatch):
    address, received = chat
    monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", address)
    load(database)
    load(database)
    assert len(received) == 1
    assert "new column `github_issues.id`: bigint" in received[0]


def test_a_message_that_cannot_be_sent_is_a_warning_without_the_address(chat, monkeypatch):
    address, _ = chat
    monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", f"{address}/broken")
    warnings = []
    change = SchemaChange(table="t", kind="new table")
    assert notify_schema_changes("load", [change], warnings.append) is False
    assert len(warnings) == 1
    assert "127.0.0.1" not in warnings[0]


def test_nothing_is_sent_without_changes_or_without_a_hook():
    change = SchemaChange(table="t", kind="new table")
    assert notify_schema_changes("load", [], print) is False
    assert notify_schema_changes("load", [change], print) is False


def test_a_long_message_is_cut():
    changes = [SchemaChange(table=f"t{n}", kind="new table") for n in range(40)]
    assert schema_changes_text("load", changes).endswith("- and 10 more")
