"""An attempt that was given up and goes on changes nothing any more, and names who took over."""

import os
import re
import signal
import subprocess
import sys

import pytest
from attempts import Attempt, Runs, say
from watching import wait_until

from loadsmith.engine.locks import is_gone, this_execution

#: Leases of attempts that nobody gives up run out within a test.
SHORT = {"LOADSMITH_LEASE_SECONDS": "3"}

on_postgres = pytest.param("postgres", marks=pytest.mark.postgres)

#: Where a process stands still: before a row is there, between rows and mark, and after the mark.
MOMENTS = ("load begins", "append job done", "package completing", "load committed", "first event")


@pytest.fixture
def make_runs(make_shop):
    def make(destination: str) -> Runs:
        return Runs(make_shop(destination))

    return make


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("destination", [on_postgres, "mariadb", "filesystem"])
def test_a_run_that_stood_still_while_another_machine_took_over_changes_nothing(
    make_runs, destination, moment
):
    runs = make_runs(destination)
    first = Attempt("first", stops_at=moment)
    stopped = runs.start_and_stop(first)
    say(runs.folder, "first", "failed")
    runs.run(Attempt("second", machine="m1", root_run_id="first"))
    runs.assert_each_once(20)
    assert runs.resume(stopped) == 1
    runs.assert_each_once(20)
    assert "run first was given up, and run second has taken over" in runs.log_of(first).read_text()
    # What the first one has kept is in nobody's way.
    runs.run(Attempt("third", first=20))
    runs.assert_each_once(40)


@pytest.mark.parametrize("moment", ["extract ended", "package completing"])
@pytest.mark.parametrize("destination", [on_postgres, "filesystem"])
def test_a_run_that_stands_still_in_the_directory_of_its_successor(make_runs, destination, moment):
    runs = make_runs(destination)
    first = Attempt("first", stops_at=moment)
    stopped = runs.start_and_stop(first)
    say(runs.folder, "first", "failed")
    log = runs.run(Attempt("second", root_run_id="first"))
    assert re.search(rf"process {stopped.pid} on m0\), which was stopped: `kill -CONT", log)
    assert runs.resume(stopped) == 1
    runs.assert_each_once(20)
    runs.run(Attempt("third", first=20))
    runs.assert_each_once(40)


@pytest.mark.parametrize("moment", ["extract ended", "first event"])
def test_a_run_on_duckdb_that_stands_still_between_two_steps_is_taken_over(make_runs, moment):
    runs = make_runs("duckdb")
    stopped = runs.start_and_stop(Attempt("first", stops_at=moment))
    say(runs.folder, "first", "failed")
    runs.run(Attempt("second", root_run_id="first"))
    assert runs.resume(stopped) == 1
    runs.assert_each_once(20)


@pytest.mark.parametrize("destination", [on_postgres, "mariadb"])
def test_a_run_that_stands_still_in_a_transaction_is_ended_by_the_database(make_runs, destination):
    runs = make_runs(destination)
    first = Attempt("first", stops_at="claim held", environment=SHORT)
    stopped = runs.start_and_stop(first)
    say(runs.folder, "first", "failed")
    runs.run(Attempt("second", machine="m1", root_run_id="first"))
    runs.assert_each_once(20)
    assert runs.resume(stopped) == 1
    runs.assert_each_once(20)


def test_a_run_that_stands_still_with_the_file_of_duckdb_is_named(make_runs):
    runs = make_runs("duckdb")
    stopped = runs.start_and_stop(Attempt("first", stops_at="append job done"))
    say(runs.folder, "first", "failed")
    second = Attempt("second", root_run_id="first")
    waiting = runs.start(second)
    log = runs.log_of(second)
    wait_until(lambda: f"`kill -KILL {stopped.pid}` ends it" in log.read_text(), "the advice", 300)
    os.kill(stopped.pid, signal.SIGKILL)
    waiting.join(300)
    assert waiting.exitcode == 0, log.read_text()[-3000:]
    runs.assert_each_once(20)


@pytest.mark.parametrize("destination", [on_postgres, "mariadb", "filesystem", "duckdb"])
def test_a_run_that_is_delivered_twice_loads_once(make_runs, destination):
    runs = make_runs(destination)
    first = Attempt("twice", stops_at="extract ended")
    stopped = runs.start_and_stop(first)
    again = Attempt("twice", machine="m1")
    waiting = runs.start(again)
    wait_until(lambda: "waiting for" in runs.log_of(again).read_text(), "a wait", 300)
    if destination != "duckdb":
        # Until when is known where a lease says so; a file is held by a process.
        assert re.search(
            r"held by run twice on \S+, whose lease ends in \d+ s", runs.log_of(again).read_text()
        )
    assert runs.resume(stopped) == 0
    waiting.join(300)
    assert waiting.exitcode == 0, runs.log_of(again).read_text()[-3000:]
    runs.assert_each_once(20)


@pytest.mark.parametrize("moment", ["append job done", "first event"])
@pytest.mark.parametrize("destination", [on_postgres, "mariadb", "filesystem"])
def test_a_run_that_is_delivered_again_takes_over_when_the_lease_has_run_out(
    make_runs, destination, moment
):
    runs = make_runs(destination)
    first = Attempt("twice", stops_at=moment, environment=SHORT)
    stopped = runs.start_and_stop(first)
    runs.run(Attempt("twice", machine="m1", environment=SHORT))
    assert runs.resume(stopped) == 1
    runs.assert_each_once(20)


@pytest.mark.postgres
def test_a_lease_is_renewed_while_a_run_works(make_runs):
    runs = make_runs("postgres")
    first = Attempt("first", stops_at="extract ended", environment={"LOADSMITH_LEASE_SECONDS": "1"})
    stopped = runs.start_and_stop(first)
    os.kill(stopped.pid, signal.SIGCONT)
    stopped.join(60)
    assert stopped.exitcode == 0


@pytest.mark.postgres
def test_a_killed_run_of_this_machine_is_taken_over_at_once(make_runs):
    runs = make_runs("postgres")
    stopped = runs.start_and_stop(Attempt("first", stops_at="append job done"))
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.join(60)
    log = runs.run(Attempt("second", machine="m1", root_run_id="first"))
    assert "waiting for" not in log
    runs.assert_each_once(20)


def test_a_process_of_another_container_is_not_taken_for_one_that_has_ended():
    # The same host name, and numbers of processes that count from one in each of them.
    look = (
        "import sys; from loadsmith.engine.locks import is_gone, this_execution;"
        "print(is_gone(sys.argv[1]), this_execution())"
    )
    contained = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", look]
    said = subprocess.run(
        [*contained, this_execution()], capture_output=True, text=True, check=True
    ).stdout.split()
    seen_as_gone, its_execution = said
    assert seen_as_gone == "False"
    assert its_execution.partition(":")[0] != this_execution().partition(":")[0]
    assert not is_gone(its_execution)


@pytest.mark.parametrize("destination", [on_postgres, "duckdb", "filesystem", "mariadb"])
def test_an_attempt_that_begins_after_its_run_has_ended_loads_nothing(make_runs, destination):
    runs = make_runs(destination)
    runs.run(Attempt("second", root_run_id="first"))
    late = Attempt("first", machine="m1", is_late=True)
    process = runs.start(late)
    process.join(300)
    assert process.exitcode == 1
    assert "run first has ended, and its step was begun after that" in runs.log_of(late).read_text()
    runs.assert_each_once(20)
    runs.run(Attempt("third", first=20))
    runs.assert_each_once(40)
