"""Attempts at one load in processes of their own, which stop where they are told, or go on.

What Dagster says of the runs is in a file, for a run may be given up while its process lives.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Process
from pathlib import Path
from typing import Any

import dlt
import killing
from killing import Shop, in_child
from watching import is_stopped, wait_until

from loadsmith.assets.define import live_definition
from loadsmith.engine.run import run_load
from loadsmith.errors import RunError
from loadsmith.model import RunRequest


@dataclass
class Attempt:
    """One attempt: what it loads, from where, and where it stops.

    Attributes:
        run_id: Dagster's run.
        rows: The source yields so many rows from `first` on, each with two nested ones.
        first: The first id.
        machine: The folder of working directories and the name of the host.
        stops_at: A point of `killing`, or None.
        root_run_id: The run that it is a re-execution of.
        with_cursor: Whether the resource goes on from the last id.
        disposition: How the rows are written.
        clock: Seconds that the clock of the machine is ahead.
        is_late: Whether Dagster counts the run as ended before the attempt begins.
        before: Is called in the process of the attempt.
    """

    run_id: str
    rows: int = 20
    first: int = 0
    machine: str = "m0"
    stops_at: str | None = None
    root_run_id: str | None = None
    with_cursor: bool = False
    disposition: str = "append"
    clock: float = 0.0
    attempt: int = 0
    partition: str | None = None
    is_late: bool = False
    environment: dict[str, str] = field(default_factory=dict)


class Runs:
    """Starts attempts at a load, and says what Dagster says of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.folder = shop.folder

    def start(self, attempt: Attempt) -> Process:
        """Start an attempt; what it logs is in the file of its run."""
        self.log_of(attempt).touch()
        say(self.folder, attempt.run_id, "failed" if attempt.is_late else "running")
        return in_child(make, self.shop, attempt, output=self.log_of(attempt))

    def start_and_stop(self, attempt: Attempt) -> Process:
        """Start an attempt, and wait until it has stopped where it is told."""
        process = self.start(attempt)
        wait_until(lambda: is_stopped(process.pid) or not process.is_alive(), "the stop", 300)
        assert process.is_alive(), self.log_of(attempt).read_text()[-3000:]
        return process

    def run(self, attempt: Attempt) -> str:
        """Make an attempt that ends well; return what it logs."""
        process = self.start(attempt)
        process.join(300)
        log = self.log_of(attempt).read_text()
        assert process.exitcode == 0, log[-4000:]
        return log

    def resume(self, process: Process) -> int | None:
        """Let an attempt go on; return how it ended."""
        os.kill(process.pid or 0, signal.SIGCONT)
        process.join(300)
        return process.exitcode

    def log_of(self, attempt: Attempt) -> Path:
        return self.folder / f"log of {attempt.run_id} on {attempt.machine}"

    def ids(self) -> list[int]:
        return [key for (key,) in self.shop.read("rows", "id")]

    def assert_each_once(self, rows: int) -> None:
        assert sorted(self.ids()) == list(range(rows))
        roots = {key for (key,) in self.shop.read("rows", "_dlt_id")}
        nested = [parent for (parent,) in self.shop.read("rows__items", "_dlt_parent_id")]
        assert len(nested) == 2 * rows
        assert set(nested) == roots


def say(folder: Path, run_id: str, outcome: str) -> None:
    """Let Dagster say that a run has ended, or runs."""
    path = folder / "outcomes"
    path.mkdir(exist_ok=True)
    draft = path / f".{run_id}.{os.getpid()}"
    draft.write_text(outcome)
    draft.replace(path / run_id)


def outcome_of(folder: Path, run_id: str) -> str:
    path = folder / "outcomes" / run_id
    return path.read_text() if path.exists() else "unknown"


def source_of(attempt: Attempt) -> Callable[[], Any]:
    first, last = attempt.first, attempt.first + attempt.rows

    @dlt.source(name="shop")
    def shop():
        def made(start: int):
            for begin in range(start, last, 10):
                yield [
                    {"id": n, "items": [{"k": 0}, {"k": 1}]}
                    for n in range(begin, min(begin + 10, last))
                ]

        if attempt.with_cursor:

            @dlt.resource(name="rows", write_disposition=attempt.disposition)
            def rows(at=dlt.sources.incremental("id", initial_value=-1)):
                yield from made(at.last_value + 1)

            return rows
        return dlt.resource(
            made, name="rows", write_disposition=attempt.disposition, primary_key=()
        )(first)

    return shop


def make_pipeline_of(shop: Shop, machine: str) -> Any:
    """Make the pipeline of the load on a machine."""
    return dlt.pipeline(
        "attempts",
        destination=shop.make_destination(),
        dataset_name=shop.dataset,
        pipelines_dir=str(shop.folder / machine),
    )


def make(shop: Shop, attempt: Attempt) -> bool:
    """Make an attempt in this process."""
    os.environ.update(attempt.environment)
    socket.gethostname = lambda: attempt.machine
    if attempt.clock:
        import dlt.extract.storage as storage

        made = storage.create_load_id
        storage.create_load_id = lambda: str(float(made()) + attempt.clock)
    left = {attempt.stops_at} - {None}

    def stop(here: str) -> None:
        if here in left:
            left.remove(here)
            os.kill(os.getpid(), signal.SIGSTOP)

    killing.with_points(stop)

    def log(line: str) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stdout.flush()

    request = RunRequest(
        run_id=attempt.run_id,
        root_run_id=attempt.root_run_id,
        attempt=attempt.attempt,
        partition_key=attempt.partition,
        outcome_of=lambda run_id: outcome_of(shop.folder, run_id),
        has_ended=lambda: attempt.is_late,
        log=log,
        warn=log,
    )
    try:
        definition = live_definition(
            source_of(attempt), lambda: make_pipeline_of(shop, attempt.machine)
        )
        with run_load(definition, request) as result:
            log(f"loaded { {table.name: table.rows_loaded for table in result.tables} }")
            stop("first event")
    except RunError as error:
        say(shop.folder, attempt.run_id, "failed")
        log(f"{type(error).__name__}: {error}")
        return False
    say(shop.folder, attempt.run_id, "succeeded")
    return True
