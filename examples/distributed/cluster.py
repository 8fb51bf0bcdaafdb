"""Start Dagster and two Celery workers beside the services that run, load, and end them again.

    python cluster.py up
    python cluster.py load
    python cluster.py down

PostgreSQL keeps Dagster's runs and takes the rows. The broker is Redis, or what `BROKER` says.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent

#: Where the services are; the environment may say otherwise.
DEFAULTS = {
    "BROKER": "redis://127.0.0.1:6379/0",
    "DAGSTER_STORAGE": "postgresql://postgres:x@127.0.0.1:5432/loadsmith_distributed",
    "SHOP_POSTGRES": "postgresql://postgres:x@127.0.0.1:5432/postgres",
}

#: The workers, and the queues that each of them takes steps from.
WORKERS = {"one": "dagster", "two": "dagster,heavy"}

#: Seconds that everything gets to start, and to end what it does.
PATIENCE = 120


class Cluster:
    """The processes of this example, with all that they write in one folder."""

    def __init__(self, project: Path = HERE, data: Path | None = None, **environment: str) -> None:
        self.project = project
        self.data = data or project / "data"
        self.started: dict[int, subprocess.Popen[bytes]] = {}
        self.environment = {**DEFAULTS, **os.environ, **environment}
        broker = self.environment["BROKER"]
        # Redis keeps results as well; RabbitMQ sends them to who has asked.
        self.environment.setdefault("RESULTS", "rpc://" if "amqp" in broker else broker)
        self.environment["DAGSTER_HOME"] = str(self.data / "dagster_home")
        self.environment["RUNTIME__DLTHUB_TELEMETRY"] = "false"
        path = [str(project), self.environment.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))

    def up(self, *, page: int | None = 3000) -> None:
        """Start everything, and wait until the workers answer."""
        self.prepare()
        for name, queues in WORKERS.items():
            self.start_worker(name, queues)
        self.start("daemon", "dagster-daemon", "run", "-f", "definitions.py")
        if page is not None:
            self.start("page", "dagster-webserver", "-f", "definitions.py", "-p", str(page))
        self.wait_for_workers(len(WORKERS))

    def prepare(self) -> None:
        """Make the folders, and the database that keeps Dagster's runs."""
        for name in ("dagster_home", "logs", "processes"):
            (self.data / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.project / "dagster.yaml", self.data / "dagster_home")
        self.in_storage("CREATE DATABASE")
        # One program makes the tables; several at once would stumble over one another.
        subprocess.run(
            [Path(sys.executable).with_name("dagster"), "instance", "info"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def in_storage(self, statement: str) -> None:
        """Make or drop the database that keeps Dagster's runs, where it is not so already."""
        import psycopg2

        url = urlsplit(self.environment["DAGSTER_STORAGE"])
        connection = psycopg2.connect(url._replace(path="/postgres").geturl())
        connection.autocommit = True
        known = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.InvalidCatalogName)
        with contextlib.closing(connection), contextlib.suppress(*known):
            connection.cursor().execute(f'{statement} "{url.path[1:]}"')

    def start_worker(self, name: str, queues: str) -> int:
        """Start a worker that shares nothing with the others but the services."""
        home = self.data / f"home of {name}"
        home.mkdir(exist_ok=True)
        return self.start(
            f"worker {name}",
            *("celery", "-A", "dagster_celery.app", "worker", "-n", f"{name}@%h"),
            *("-Q", queues, "-c", "1", "--without-gossip", "--without-mingle", "-l", "INFO"),
            HOME=str(home),
            DLT_DATA_DIR=str(home / "dlt"),
        )

    def start(self, name: str, command: str, *arguments: str, **environment: str) -> int:
        """Start a program of this Python's environment; return its number."""
        with (self.data / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(command)), *arguments],
                cwd=self.project,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.data / "processes" / name).write_text(str(process.pid))
        self.started[process.pid] = process
        return process.pid

    def is_running(self, pid: int) -> bool:
        """Tell whether a process runs that `start` has started, in this process or another one."""
        if pid in self.started:
            return self.started[pid].poll() is None
        try:
            return os.getsid(pid) == pid
        except ProcessLookupError:
            return False

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers answer."""
        end = time.monotonic() + PATIENCE
        ready = 0
        # Only its log says that a worker takes steps.
        while ready < count:
            if time.monotonic() > end:
                raise SystemExit(f"{ready} of {count} workers answer, see {self.data / 'logs'}")
            time.sleep(0.2)
            logs = (self.data / "logs").glob("worker *.log")
            ready = sum(" ready." in log.read_text(errors="replace") for log in logs)

    def load(self, *selection: str) -> int:
        """Materialize assets on the workers; return how the command ended."""
        command = Path(sys.executable).with_name("dagster")
        selected = ",".join(selection) or "*"
        return subprocess.run(
            [command, "asset", "materialize", "--select", selected, "-f", "definitions.py"],
            cwd=self.project,
            env=self.environment,
            check=False,
        ).returncode

    def down(self) -> None:
        """End everything; workers get the time to end what they do."""
        processes = {path: int(path.read_text()) for path in (self.data / "processes").glob("*")}
        for pid in processes.values():
            if self.is_running(pid):
                os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        for path, pid in processes.items():
            # Another command may have started it, so that this one cannot wait for its end.
            while self.is_running(pid) and time.monotonic() < end:
                time.sleep(0.1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            path.unlink()
        for process in self.started.values():
            process.wait()


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["up", "load", "down"])
    parser.add_argument("selection", nargs="*", help="assets to load; all if left out")
    chosen = parser.parse_args()
    cluster = Cluster()
    if chosen.command == "load":
        return cluster.load(*chosen.selection)
    getattr(cluster, chosen.command)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
