"""Databases of their own on the servers of this machine, and comparison with plain dlt."""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql
import pytest

# The tests of this folder import its modules by name.
sys.path.insert(0, str(Path(__file__).parent))

from same_as_dlt import POSTGRES


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database in PostgreSQL that is there for the test, without its driver."""
    name = f"loadsmith_databases_{uuid.uuid4().hex[:12]}"
    try:
        server = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def mariadb() -> Iterator[tuple[str, pymysql.cursors.Cursor]]:
    """The address of a database in MariaDB that is there for the test, and a cursor in it."""
    name = f"loadsmith_databases_{uuid.uuid4().hex[:12]}"
    try:
        connection = pymysql.connect(host="127.0.0.1", user="root", autocommit=True)
    except pymysql.err.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs MariaDB on 127.0.0.1:3306")
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        try:
            yield f"mysql+pymysql://root@127.0.0.1:3306/{name}", cursor
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Where a test makes a database in SQLite."""
    return tmp_path / "source.db"
