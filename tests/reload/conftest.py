import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dlt
import pytest

# The tests of this folder share a module.
sys.path.insert(0, str(Path(__file__).parent))

from days import POSTGRES, Warehouse


def _destinations(folder: Path) -> Mapping[str, Callable[[], Any]]:
    return {
        "duckdb": lambda: dlt.destinations.duckdb(str(folder / "w.duckdb")),
        "postgres": lambda: dlt.destinations.postgres(POSTGRES),
        "parquet": lambda: dlt.destinations.filesystem(str(folder / "lake")),
    }


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    made = Warehouse(
        tmp_path, _destinations(tmp_path)[request.param], f"reload_{uuid.uuid4().hex[:10]}"
    )
    yield made
    if request.param == "postgres":
        made.ask(f"DROP SCHEMA IF EXISTS {made.dataset} CASCADE")


@pytest.fixture
def duck(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path, _destinations(tmp_path)["duckdb"], "shop")


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path, _destinations(tmp_path)["parquet"], "lake")
