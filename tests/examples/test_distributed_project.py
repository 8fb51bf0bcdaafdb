"""The example for several machines: a worker is killed, and each row is there once."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432"
RABBITMQ = "pyamqp://guest:guest@127.0.0.1:5672/"

#: Seconds that a step gets to begin, and to end.
PATIENCE = 300

pytestmark = [pytest.mark.postgres, pytest.mark.long]


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run Redis for this test alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", ""], cwd=folder, stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@contextlib.contextmanager
def rabbitmq(_folder: Path) -> Iterator[str]:
    """Make a virtual host of RabbitMQ's, where queues are those of this test alone."""
    name = f"distributed_{uuid.uuid4().hex[:8]}"
    ctl: list[str] = ["rabbitmqctl", "--quiet"]
    subprocess.run([*ctl, "add_vhost", name], check=True)
    subprocess.run([*ctl, "set_permissions", "-p", name, "guest", ".*", ".*", ".*"], check=True)
    yield RABBITMQ + name
    subprocess.run([*ctl, "delete_vhost", name], check=True)


@contextlib.contextmanager
def database() -> Iterator[str]:
    import psycopg2

    name = f"distributed_{uuid.uuid4().hex[:8]}"
    connection = psycopg2.connect(f"{POSTGRES}/postgres")
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    yield f"{POSTGRES}/{name}"
    connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


@pytest.fixture(params=[redis, rabbitmq], ids=["redis", "rabbitmq"])
def cluster(request: Any, tmp_path: Path, copy_example: Any, monkeypatch: Any) -> Iterator[Any]:
    project = copy_example("distributed")
    with request.param(tmp_path) as broker, database() as shop, database() as storage:
        monkeypatch.setenv("BROKER", broker)
        monkeypatch.setenv("SHOP_POSTGRES", shop)
        monkeypatch.setenv("DAGSTER_STORAGE", storage)
        # Redis asks every ten seconds whose steps are too old.
        monkeypatch.setenv("VISIBILITY", "20")
        spec = importlib.util.spec_from_file_location("cluster", project / "cluster.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module.Cluster(project)


def run(cluster: Any, *arguments: str) -> None:
    command = [sys.executable, "cluster.py", *arguments]
    subprocess.run(command, cwd=cluster.project, check=True, env=os.environ)


def count(table: str) -> tuple[int, int]:
    import psycopg2

    key = {"shop.customers": "id", "shop.orders": "id"}.get(table, "_dlt_id")
    with contextlib.closing(psycopg2.connect(os.environ["SHOP_POSTGRES"])) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT count(*), count(DISTINCT {key}) FROM {table}")
        (found,) = cursor.fetchall()
    return found


def test_the_example_loads_each_row_once_although_a_worker_is_killed(cluster: Any) -> None:
    run(cluster, "up")
    try:
        loading = subprocess.Popen(
            [sys.executable, "cluster.py", "load"], cwd=cluster.project, env=os.environ
        )
        log = cluster.data / "logs" / "worker two.log"
        end = time.monotonic() + PATIENCE
        # Only this worker takes the orders.
        while "received" not in log.read_text(errors="replace"):
            assert time.monotonic() < end
            time.sleep(0.05)
        worker = int((cluster.data / "processes" / "worker two").read_text())
        os.killpg(worker, signal.SIGKILL)
        cluster.start_worker("three", "dagster,heavy")
        assert loading.wait(PATIENCE) == 0
        assert count("shop.orders") == (40_000, 40_000)
        assert count("shop.orders__items") == (80_000, 80_000)
        assert count("shop.customers") == (2_000, 2_000)
        assert count("shop.prices") == (500, 500)
    finally:
        run(cluster, "down")
        for process in cluster.started.values():
            process.wait()
    assert not list((cluster.data / "processes").iterdir())
    shutil.rmtree(cluster.data)
