import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dlt
import pymysql
import pytest

# The tests of this folder share a module.
sys.path.insert(0, str(Path(__file__).parent))

from days import MARIADB, POSTGRES, Warehouse


def _destinations(folder: Path, dataset: str = "") -> Mapping[str, Callable[[], Any]]:
    return {
        "mariadb": lambda: dlt.destinations.sqlalchemy(f"{MARIADB}/{dataset}"),
        "duckdb": lambda: dlt.destinations.duckdb(str(folder / "w.duckdb")),
        "postgres": lambda: dlt.destinations.postgres(POSTGRES),
        "parquet": lambda: dlt.destinations.filesystem(str(folder / "lake")),
    }


def _warehouse(destination: str, folder: Path) -> Iterator[Warehouse]:
    name = f"reload_{uuid.uuid4().hex[:10]}"
    made = Warehouse(folder, _destinations(folder, name)[destination], name)
    if destination == "mariadb":
        with pymysql.connect(host="127.0.0.1", user="root") as server:
            server.cursor().execute(f"CREATE DATABASE {name}")
    yield made
    if destination == "postgres":
        made.ask(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    if destination == "mariadb":
        made.ask(f"DROP DATABASE {name}")


@pytest.fixture(params=["duckdb", "postgres", "mariadb"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    yield from _warehouse(request.param, tmp_path)


@pytest.fixture(params=["duckdb", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    yield from _warehouse(request.param, tmp_path)


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path, _destinations(tmp_path)["parquet"], "lake")
