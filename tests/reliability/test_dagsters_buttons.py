"""Runs of Dagster's own launcher and executor are cancelled and killed, and run again."""

import os
import signal
import uuid
from collections.abc import Callable

import killing
import psycopg2
import pytest
from dagsters_page import Page
from watching import is_alive, wait_until

#: Seconds until a run that is cancelled has stopped. On a free machine it takes three.
SOON = 60


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    before = dict(os.environ)
    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    try:
        with Page(folder) as opened:
            yield opened
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def make_dataset(page, make_shop) -> Callable[[str], killing.Shop]:
    """Make a dataset that the runs of the page load into; PostgreSQL's is gone after the test."""

    def make(destination: str) -> killing.Shop:
        dataset = f"page_{uuid.uuid4().hex[:10]}"
        if destination == "postgres":
            dataset = make_shop("postgres").dataset
        return page.show(destination, dataset)

    return make


def assert_each_row_once(shop: killing.Shop) -> None:
    assert killing.found(shop) == killing.expected(1)
    assert killing.found_nested(shop) == killing.expected_nested(1)
    assert shop.staging_datasets() == []


def appended(shop: killing.Shop) -> list[tuple]:
    """Return the rows of the tables that are appended to; none where those are not there."""
    import duckdb

    try:
        return [row for table in ("events", "events__items") for row in shop.read(table, "_dlt_id")]
    except (duckdb.CatalogException, psycopg2.errors.UndefinedTable):
        return []


@pytest.mark.parametrize(
    ("destination", "point"),
    [
        ("duckdb", "first page"),
        ("duckdb", "append job done"),
        pytest.param("postgres", "append job done", marks=pytest.mark.postgres),
    ],
)
def test_a_run_that_is_terminated_in_the_page_stops_soon_and_leaves_nothing_half_done(
    page, make_dataset, destination, point
):
    shop = make_dataset(destination)
    page.halt_at(point)
    run = page.launch()
    step, worker = page.halted()
    page.terminate(run)
    assert page.wait_for(run, "CANCELED") < SOON
    wait_until(lambda: not is_alive(step) and not is_alive(worker), seconds=SOON)
    assert appended(shop) == []
    page.halt_at(None)
    page.wait_for(again := page.launch(), "SUCCESS", "FAILURE", "CANCELED")
    assert page.status(again) == "SUCCESS"
    assert_each_row_once(shop)


def test_a_step_whose_process_is_killed_is_re_executed_from_failure(page, make_dataset):
    shop = make_dataset("duckdb")
    before = shop.calls().count("0 events 0")
    page.halt_at("append job done")
    run = page.launch()
    step, _ = page.halted()
    os.kill(step, signal.SIGKILL)
    page.wait_for(run, "FAILURE")
    page.halt_at(None)
    page.wait_for(again := page.launch_from_failure(run), "SUCCESS", "FAILURE", "CANCELED")
    assert page.status(again) == "SUCCESS"
    assert_each_row_once(shop)
    assert shop.calls().count("0 events 0") == before + 1, "what was extracted was extracted again"


@pytest.mark.parametrize("point", ["first page", "append job done"])
def test_a_step_ends_with_the_process_of_its_run(page, make_dataset, point):
    # Else it would go on loading what Dagster counts as failed, while the run is run again.
    shop = make_dataset("duckdb")
    page.halt_at(point)
    run = page.launch()
    step, worker = page.halted()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_alive(step), seconds=SOON)
    assert appended(shop) == []
    page.wait_for(run, "FAILURE")
    page.halt_at(None)
    page.wait_for(again := page.launch_from_failure(run), "SUCCESS", "FAILURE", "CANCELED")
    assert page.status(again) == "SUCCESS"
    assert_each_row_once(shop)
