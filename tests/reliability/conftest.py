import multiprocessing
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Child processes import this folder's modules by name.
sys.path.insert(0, str(Path(__file__).parent))

import celery_machines
import killing


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _postgres_or_skip() -> None:
    import psycopg2

    try:
        psycopg2.connect(killing.POSTGRES).close()
    except psycopg2.OperationalError as error:
        _missing("PostgreSQL at 127.0.0.1:5432", error)


def _missing(what: str, error: Exception) -> None:
    reason = f"needs {what}: {error}"
    if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[str]:
    """Run Redis for a module, beside the PostgreSQL that keeps Dagster's runs."""
    _postgres_or_skip()
    server = shutil.which("redis-server")
    if server is None:
        _missing("redis-server", FileNotFoundError("not in the path"))
    with celery_machines.redis(str(server), tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def make_mariadb() -> Iterator[Callable[[], str]]:
    """Make databases, which are gone after the test; gives their names."""
    import pymysql

    names: list[str] = []

    def make() -> str:
        try:
            connection = pymysql.connect(host="127.0.0.1", user="root")
        except pymysql.err.OperationalError as error:
            _missing("MariaDB at 127.0.0.1:3306", error)
        name = f"reliable_{uuid.uuid4().hex[:10]}"
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        names.append(name)
        return name

    yield make
    if names:
        with (
            pymysql.connect(host="127.0.0.1", user="root") as connection,
            connection.cursor() as cursor,
        ):
            for name in names:
                cursor.execute(f"SHOW DATABASES LIKE '{name}%'")
                for (found,) in cursor.fetchall():
                    cursor.execute(f"DROP DATABASE {found}")


@pytest.fixture
def make_shop(tmp_path: Path, make_mariadb: Callable[[], str]):
    """Make loads into a dataset of their own, which is gone after the test."""
    datasets = []

    def make(destination: str, **settings: object) -> killing.Shop:
        if destination == "postgres":
            _postgres_or_skip()
        dataset = f"reliable_{uuid.uuid4().hex[:10]}"
        if destination == "mariadb":
            dataset = make_mariadb()
        shop = killing.Shop(tmp_path, destination, dataset, **settings)
        if destination == "postgres":
            datasets.append(dataset)
        return shop

    yield make
    # A process that was stopped has locks for as long as it lives.
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    if datasets:
        import psycopg2

        connection = psycopg2.connect(killing.POSTGRES)
        connection.autocommit = True
        cursor = connection.cursor()
        for dataset in datasets:
            cursor.execute(
                "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s",
                (dataset + "%",),
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f'DROP SCHEMA "{name}" CASCADE')
        connection.close()
