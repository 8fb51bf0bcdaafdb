"""Sources that misbehave end in a load, or in an error that says which resource, where and why."""

import http.server
import os
import signal
import socket
import threading
import time
from typing import ClassVar

import dlt
import killing
import pytest
from killing import in_child, run_batch
from watching import wait_until


def error_of(result) -> str:
    error = result.failure_data_for_node("shop_load").error
    return (error.cause or error).message


def source_of(function, **hints):
    @dlt.source(name="shop")
    def shop():
        return dlt.resource(function, name="awkward", **hints)

    return shop


def test_a_generator_that_raises_at_the_last_row_names_resource_page_and_cause(make_shop):
    shop = make_shop("duckdb")

    def rows():
        for page in range(3):
            yield [{"id": page * 10 + n} for n in range(10)]
        raise KeyError("the last row has no price")

    text = error_of(run_batch(shop, 0, source=source_of(rows)))
    assert "resource 'awkward'" in text
    assert "after 3 pages" in text
    assert "30 rows" in text
    assert "the last row has no price" in text


def test_endless_pages_end_where_the_limit_says(make_shop):
    shop = make_shop("duckdb", options=(("limit", 4),))

    def rows():
        number = 0
        while True:
            number += 1
            yield [{"id": number}]

    assert run_batch(shop, 0, source=source_of(rows)).success
    assert len(shop.read("awkward", "id")) == 4


def test_huge_rows_changing_types_and_names_in_every_script_are_loaded(make_shop):
    shop = make_shop("duckdb")

    def rows():
        yield {"id": 1, "text": "x" * 3_000_000, "größe": 1, "名前": "a", "имя": "b", "a b;--": 1}
        yield {"id": 2, "text": 5, "größe": "groß", "名前": None, "select": True}
        yield {"id": "three", "text": {"nested": [1, 2]}, "": "no name", "id ": 4}

    assert run_batch(shop, 0, source=source_of(rows)).success
    assert len(shop.read("awkward", "_dlt_id")) == 3


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Answers as the path says; the third page is the bad one."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        kind, _, page = self.path.strip("/").partition("/")
        self.asked.append(self.path)
        if page != "3":
            self._answer(200, b'[{"id": %d}]' % int(page))
        elif kind == "hangs":
            time.sleep(5)
        elif kind == "resets":
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
            self.connection.close()
        elif self.asked.count(self.path) == 1 and kind == "busy":
            self._answer(429, b"", ("Retry-After", "0"))
        elif kind == "busy":
            self._answer(200, b'[{"id": 3}]')
        else:
            self._answer(500, b"the server's own words")

    def _answer(self, status, body, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    Misbehaving.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


@pytest.mark.parametrize(
    ("kind", "why"),
    [("hangs", "timed out"), ("resets", "Connection"), ("fails", "500"), ("busy", None)],
)
def test_a_server_that_misbehaves_ends_in_a_load_or_in_an_error_with_the_page(
    make_shop, server, kind, why
):
    from dlt.sources.helpers.requests import Client

    shop = make_shop("duckdb")
    client = Client(
        request_timeout=1,
        request_max_attempts=2,
        request_backoff_factor=0,
        respect_retry_after_header=True,
    )

    def rows():
        for page in (1, 2, 3):
            answer = client.get(f"{server}/{kind}/{page}")
            answer.raise_for_status()
            yield answer.json()

    result = run_batch(shop, 0, source=source_of(rows))
    if why is None:
        assert result.success
        assert shop.read("awkward", "id") == [(1,), (2,), (3,)]
        return
    text = error_of(result)
    assert "resource 'awkward', after 2 pages" in text
    assert why in text


def load_endless(shop: killing.Shop) -> bool:
    """Load for ever, in steps that a person could cancel."""

    def rows():
        number = 0
        while True:
            number += 1
            shop.note(f"page {number}")
            yield [{"id": number}]
            time.sleep(0.01)

    return run_batch(shop, 0, source=source_of(rows)).success


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_load_stops_within_seconds_and_leaves_nothing(make_shop, kind):
    shop = make_shop("duckdb")
    child = in_child(load_endless, shop, output=shop.folder / "log")
    wait_until(lambda: len(shop.calls()) > 3)
    os.kill(child.pid, kind)
    child.join(20)
    assert not child.is_alive()
    assert child.exitcode != 0
    assert run_batch(shop, 0, source=source_of(lambda: iter([[{"id": 7}]]))).success
    assert shop.read("awkward", "id") == [(7,)]


def load_and_wait(shop: killing.Shop) -> bool:
    """Load a batch, and wait for ever when its first job was loaded."""

    def die(point: str) -> None:
        if point == "append job done":
            shop.note("loaded")
            time.sleep(600)

    killing.with_points(die)
    return run_batch(shop, 0, die).success


def test_a_load_that_is_cancelled_while_it_writes_takes_its_rows_back(make_shop):
    shop = make_shop("duckdb")
    child = in_child(load_and_wait, shop, output=shop.folder / "log")
    wait_until(lambda: "loaded" in shop.calls())
    os.kill(child.pid, signal.SIGINT)
    child.join(20)
    assert not child.is_alive(), "it did not stop"
    assert shop.read("events", "id") == []
    assert shop.read("events__items", "sku") == []
    assert run_batch(shop, 0).success
    assert killing.found(shop) == killing.expected(1)
    assert shop.calls().count("0 events 0") == 1
