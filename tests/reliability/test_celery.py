"""Steps on Celery's workers outlive their runs, and are delivered twice; each row is there once."""

import os
import signal
import uuid

import killing
import pytest
from celery_machines import PATIENCE, Machines
from watching import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def machines(tmp_path_factory, broker):
    made = Machines(tmp_path_factory.mktemp("celery"), BROKER=broker, RESULTS=broker)
    # dlt's own setting asks for children, which a worker of a pool may not have.
    with made.up(NORMALIZE__WORKERS="2") as started:
        yield started


@pytest.fixture
def shop(machines, make_shop, request):
    """A dataset that the runs which follow load into."""
    dataset = f"celery_{uuid.uuid4().hex[:10]}"
    if request.param == "postgres":
        dataset = make_shop("postgres").dataset
    machines.load(request.param, dataset)
    return killing.Shop(machines.folder, request.param, dataset)


def assert_each_row_once(shop: killing.Shop) -> None:
    assert killing.found(shop) == killing.expected(1)
    assert killing.found_nested(shop) == killing.expected_nested(1)
    assert shop.staging_datasets() == []


def end_run(machines: Machines, name: str, process: int, how: str) -> None:
    """End a run whose step goes on, as the button "Terminate" does, or as its death does."""
    run = machines.run(name)
    if how == "terminated":
        os.kill(process, signal.SIGINT)
        machines.instance.report_run_canceled(run)
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not machines.cluster.is_running(process), "the end of the run's process")
    if how == "killed":
        # Dagster's monitoring does so.
        machines.instance.report_run_failed(run)


@pytest.mark.parametrize(
    ("point", "how"),
    [
        ("append job done", "terminated"),
        *(
            pytest.param(point, how, marks=pytest.mark.long)
            for point, how in (
                ("extract ended", "terminated"),
                ("first event", "terminated"),
                ("extract ended", "killed"),
                ("append job done", "killed"),
                ("first event", "killed"),
            )
        ),
    ],
)
@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_a_step_that_outlives_its_run_loads_nothing_after_the_run_was_made_again(
    machines, shop, point, how
):
    before = machines.tasks_ended()
    machines.halt_at(point)
    name, again = uuid.uuid4().hex, uuid.uuid4().hex
    process = machines.start_run(name)
    machines.halted()
    end_run(machines, name, process, how)
    second = machines.start_run(again, machines.run(name).run_id)
    assert machines.wait_for_run(again, second).is_success, machines.messages(again)
    assert_each_row_once(shop)
    machines.go_on()
    wait_until(lambda: machines.tasks_ended() == before + 2, "the end of both steps", PATIENCE)
    assert_each_row_once(shop)


@pytest.mark.parametrize("shop", ["postgres"], indirect=True)
def test_a_step_that_is_delivered_after_its_run_was_made_again_loads_nothing(machines, shop):
    before = machines.tasks_ended()
    queue, name, again = uuid.uuid4().hex, uuid.uuid4().hex, uuid.uuid4().hex
    machines.load(shop.destination, shop.dataset, queue)
    process = machines.start_run(name)
    wait_until(lambda: machines.has_message(queue), "the message", PATIENCE)
    end_run(machines, name, process, "killed")
    machines.load(shop.destination, shop.dataset)
    second = machines.start_run(again, machines.run(name).run_id)
    assert machines.wait_for_run(again, second).is_success, machines.messages(again)
    machines.listen_to(queue)
    wait_until(lambda: machines.tasks_ended() == before + 2, "the end of both steps", PATIENCE)
    assert_each_row_once(shop)


@pytest.mark.long
@pytest.mark.parametrize("how", ["terminated", "killed"])
@pytest.mark.parametrize("shop", ["duckdb"], indirect=True)
def test_a_step_that_outlives_its_run_with_the_file_of_duckdb_is_waited_for(machines, shop, how):
    before = machines.tasks_ended()
    machines.halt_at("append job done")
    name, again = uuid.uuid4().hex, uuid.uuid4().hex
    process = machines.start_run(name)
    machines.halted()
    end_run(machines, name, process, how)
    second = machines.start_run(again, machines.run(name).run_id)
    wait_until(lambda: waits(machines, again), "a wait", PATIENCE)
    machines.go_on()
    assert machines.wait_for_run(again, second).is_success, machines.messages(again)
    wait_until(lambda: machines.tasks_ended() == before + 2, "the end of both steps", PATIENCE)
    assert_each_row_once(shop)


@pytest.mark.parametrize(
    "shop", ["postgres", pytest.param("duckdb", marks=pytest.mark.long)], indirect=True
)
def test_a_step_that_is_delivered_twice_loads_once(machines, shop):
    before = machines.tasks_ended()
    queue, name = uuid.uuid4().hex, uuid.uuid4().hex
    machines.load(shop.destination, shop.dataset, queue)
    machines.halt_at("append job done")
    process = machines.start_run(name)
    # Nobody listens to the queue yet.
    wait_until(lambda: machines.deliver_twice(queue), "the message", PATIENCE)
    machines.listen_to(queue)
    machines.halted()
    wait_until(lambda: waits(machines, name), "a wait", PATIENCE)
    assert machines.steps_begun(name) == 2
    machines.go_on()
    assert machines.wait_for_run(name, process).is_success, machines.messages(name)
    wait_until(lambda: machines.tasks_ended() == before + 2, "the end of both steps", PATIENCE)
    assert_each_row_once(shop)


@pytest.mark.parametrize(
    "shop", ["postgres", pytest.param("duckdb", marks=pytest.mark.long)], indirect=True
)
def test_a_step_whose_worker_dies_is_given_to_another_one_and_loads_once(machines, shop):
    name = uuid.uuid4().hex
    machines.halt_at("append job done")
    process = machines.start_run(name)
    os.kill(machines.halted(), signal.SIGKILL)
    assert machines.wait_for_run(name, process).is_success, machines.messages(name)
    assert machines.steps_begun(name) == 2
    assert_each_row_once(shop)


def waits(machines: Machines, name: str) -> bool:
    return any("waiting for" in text for text in machines.messages(name))
