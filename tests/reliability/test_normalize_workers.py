"""The processes that dlt normalizes in end with their run, and the next run waits for them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import Shop, in_child
from normalizing import RESOURCES, ROWS, load_with_workers
from watching import is_alive, wait_until


def workers_of(pid: int | None) -> list[int]:
    """Return the processes that were started by a process to work for it."""
    found = []
    own_command = Path(f"/proc/{pid}/cmdline").read_text()
    for folder in Path("/proc").iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (folder / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        # A fork has the command of its parent.
        if parent == str(pid) and ("spawn_main" in command or command == own_command):
            found.append(int(folder.name))
    return found


@pytest.fixture(params=[None, "fork"], ids=["dlts_choice", "fork"])
def start_method(request) -> str | None:
    return request.param


@pytest.fixture
def stopped(make_shop, start_method) -> Iterator[tuple[Shop, Any, list[int], Path]]:
    """A run whose workers were stopped while they write, and their process ids."""
    shop = make_shop("duckdb")
    log = shop.folder / "log"
    run = in_child(load_with_workers, shop, start_method, output=log)
    new_jobs = shop.pipelines_dir / "shop" / "load" / "new"
    wait_until(lambda: any(new_jobs.glob("*/new_jobs/table_*")), "a normalized file")
    workers = workers_of(run.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    yield shop, run, workers, log
    for worker in filter(is_alive, workers):
        os.kill(worker, signal.SIGKILL)
    run.kill()


def test_a_run_waits_for_the_workers_of_a_killed_one_and_loads_each_row_once(stopped, start_method):
    shop, run, workers, log = stopped
    assert len(workers) == 2
    run.kill()
    run.join(60)

    again = in_child(load_with_workers, shop, start_method, output=log)
    wait_until(lambda: "waiting for" in log.read_text(), "a word of the wait")
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    again.join(90)

    assert again.exitcode == 0, log.read_text()[-4000:]
    assert not any(map(is_alive, workers))
    for number in range(RESOURCES):
        assert [key for (key,) in shop.read(f"table_{number}", "id")] == list(range(ROWS))
        assert len(shop.read(f"table_{number}__items", "sku")) == ROWS


def test_a_cancelled_run_does_not_wait_for_its_workers(stopped):
    _, run, workers, log = stopped

    os.kill(run.pid, signal.SIGINT)
    run.join(60)

    assert run.exitcode not in (None, 0), log.read_text()[-4000:]
    wait_until(lambda: not any(map(is_alive, workers)), "the end of the workers")


def test_a_process_that_may_have_no_children_normalizes_by_itself(make_shop):
    shop = make_shop("duckdb")
    log = shop.folder / "log"
    run = in_child(load_with_workers, shop, None, output=log, is_daemon=True)
    run.join(120)
    assert run.exitcode == 0, log.read_text()[-4000:]
    assert [key for (key,) in shop.read("table_0", "id")] == list(range(ROWS))
