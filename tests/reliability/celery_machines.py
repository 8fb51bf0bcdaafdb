"""Brokers and workers of Celery for a test, each with what it writes in the test's folder."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from killing import POSTGRES
from watching import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "distributed"

#: Seconds that workers get to start, and runs to end.
PATIENCE = 180


def load_example() -> Any:
    """Import the script of the example."""
    spec = importlib.util.spec_from_file_location("cluster", EXAMPLE / "cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def redis(server: str, folder: Path) -> Iterator[str]:
    """Run Redis for a test alone; `server` is its program."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "redis.log").open("w") as log:
        process = subprocess.Popen(
            [server, "--port", str(port), "--save", "", "--appendonly", "no"],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    wait_until(lambda: "Ready to accept" in (folder / "redis.log").read_text(), "Redis")
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


class Machines:
    """Two workers of Celery, and the runs that they work for."""

    def __init__(self, folder: Path, **environment: str) -> None:
        project = folder / "project"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data"))
        self.folder = folder
        self.cluster = load_example().Cluster(
            project,
            CELERY_LOADS=str(folder),
            DAGSTER_STORAGE=f"{POSTGRES.rpartition('/')[0]}/celery_{uuid.uuid4().hex[:10]}",
            PYTHONPATH=os.pathsep.join(
                filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
            ),
            **environment,
        )
        self.queue = "dagster"

    @contextlib.contextmanager
    def up(self, queues: str = "dagster", **environment: str) -> Iterator["Machines"]:
        """Start the workers, and end all that was started."""
        self.cluster.environment.update(environment)
        self.cluster.prepare()
        before = os.environ.get("DAGSTER_STORAGE")
        os.environ["DAGSTER_STORAGE"] = self.cluster.environment["DAGSTER_STORAGE"]
        try:
            for name in ("one", "two"):
                self.start_worker(name, queues)
            self.cluster.wait_for_workers(2)
            with dg.DagsterInstance.from_config(self.cluster.environment["DAGSTER_HOME"]) as own:
                self.instance = own
                yield self
        finally:
            self.cluster.down()
            self.cluster.in_storage("DROP DATABASE")
            os.environ.pop("DAGSTER_STORAGE")
            if before is not None:
                os.environ["DAGSTER_STORAGE"] = before

    def start_worker(self, name: str, queues: str = "dagster") -> int:
        self.cluster.environment["MACHINE"] = name
        return self.cluster.start_worker(name, queues)

    def load(self, destination: str, dataset: str, queue: str = "dagster") -> None:
        """Let the runs that follow load into a dataset."""
        (self.folder / "shop").write_text(f"{destination} {dataset} {queue}")
        for name in ("go on", "halting"):
            (self.folder / name).unlink(missing_ok=True)

    def halt_at(self, point: str) -> None:
        """Let one step that gets to a point halt there."""
        (self.folder / f"halt at {point}").touch()

    def halted(self) -> int:
        """Wait until a step has halted; return the number of its process."""
        path = self.folder / "halting"
        wait_until(lambda: path.exists() and path.read_text(), "a step that halts", PATIENCE)
        return int(path.read_text())

    def go_on(self) -> None:
        (self.folder / "go on").touch()

    def start_run(self, name: str, parent: str | None = None) -> int:
        """Start a run; return the number of its process."""
        module = str(Path(__file__).with_name("celery_loads.py"))
        return self.cluster.start(f"run {name}", "python", module, name, *filter(None, [parent]))

    def wait_for_run(self, name: str, process: int) -> dg.DagsterRun:
        """Wait until the process of a run has ended; return the run."""
        wait_until(lambda: not self.cluster.is_running(process), f"the end of {name}", PATIENCE)
        return self.run(name)

    def run(self, name: str) -> dg.DagsterRun:
        found = self.instance.get_runs(dg.RunsFilter(tags={"name": name}))
        assert found, self.log(f"run {name}")
        return found[0]

    def deliver_twice(self, queue: str) -> bool:
        """Put the message of a queue of Redis into it once more; False where there is none."""
        from redis import Redis

        with Redis.from_url(self.cluster.environment["BROKER"]) as broker:
            # Each priority is a list of its own.
            for key in broker.keys(f"{queue}*"):
                (message,) = broker.lrange(key, 0, -1)
                again = json.loads(message)
                again["properties"]["delivery_tag"] = uuid.uuid4().hex
                broker.rpush(key, json.dumps(again))
                return True
        return False

    def has_message(self, queue: str) -> bool:
        """Tell whether a queue of Redis holds a message."""
        from redis import Redis

        with Redis.from_url(self.cluster.environment["BROKER"]) as broker:
            return bool(broker.keys(f"{queue}*"))

    def listen_to(self, queue: str) -> None:
        """Let both workers take steps from a queue, too."""
        from celery import Celery

        with Celery(broker=self.cluster.environment["BROKER"]) as app:
            app.control.add_consumer(queue, reply=True)

    def messages(self, name: str) -> list[str]:
        """Return what the log of a run says."""
        run_id = self.run(name).run_id
        return [record.message for record in self.instance.all_logs(run_id)]

    def steps_begun(self, name: str) -> int:
        """Return how often a worker has begun a step of a run."""
        begun = [text for text in self.messages(name) if "Executing steps" in text]
        return len(begun)

    def log(self, name: str) -> str:
        return (self.cluster.data / "logs" / f"{name}.log").read_text(errors="replace")

    def tasks_ended(self) -> int:
        """Return how many steps the workers have ended, well or not."""
        logs = self.log("worker one") + self.log("worker two")
        return sum(
            "Task execute_plan[" in line and ("] succeeded" in line or "] raised" in line)
            for line in logs.splitlines()
        )


def kill(process: int) -> None:
    """Kill a process and all that it has started."""
    os.killpg(process, signal.SIGKILL)
