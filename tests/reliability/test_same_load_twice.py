"""Two machines begin the same load at the same time: the second one waits for the first."""

import os
import signal
from dataclasses import replace

import killing
import pytest
from killing import in_child
from pausing import load_and_pause
from watching import is_stopped, wait_until

CASES = [
    *(("postgres", point, True) for point in ("first page", "append job done", "first event")),
    ("mariadb", "first page", True),
    ("filesystem", "append job done", True),
    # PostgreSQL itself knows who is loading.
    ("postgres", "append job done", False),
]


@pytest.mark.parametrize(
    ("destination", "pause_at", "shared_instance"),
    [
        pytest.param(
            *case,
            id="-".join((*case[:2], "one_dagster" if case[2] else "two_dagsters")),
            marks=[pytest.mark.postgres] if case[0] == "postgres" else [],
        )
        for case in CASES
    ],
)
def test_the_same_load_on_two_machines_at_once(make_shop, destination, pause_at, shared_instance):
    shop = make_shop(destination)
    other = replace(shop, machine="m1")
    log, log_of_other = shop.folder / "log", shop.folder / "log of other"
    log_of_other.touch()
    first = in_child(load_and_pause, shop, 0, pause_at, shared_instance, output=log)
    try:
        wait_until(lambda: is_stopped(first.pid), "the pause")
        second = in_child(load_and_pause, other, 1, None, shared_instance, output=log_of_other)
        wait_until(
            lambda: "waiting for" in log_of_other.read_text() or not second.is_alive(), "a wait"
        )
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.join(60)
    second.join(60)

    assert first.exitcode == 0, log.read_text()[-4000:]
    assert second.exitcode == 0, log_of_other.read_text()[-4000:]
    merges = destination != "filesystem"
    assert killing.found(shop) == killing.expected(2, merges=merges)
    assert killing.found_nested(shop) == killing.expected_nested(2, merges=merges)
