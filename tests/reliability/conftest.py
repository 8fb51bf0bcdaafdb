import os
import sys
import uuid
from pathlib import Path

import pytest

# Child processes import this folder's modules by name.
sys.path.insert(0, str(Path(__file__).parent))

import killing


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep dlt's working directories and its files inside the test's own folder."""
    folder = tmp_path / "dlt"
    monkeypatch.setenv("DLT_DATA_DIR", str(folder))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.chdir(tmp_path)
    return folder


def _postgres_or_skip() -> None:
    import psycopg2

    try:
        psycopg2.connect(killing.POSTGRES).close()
    except psycopg2.OperationalError as error:
        reason = f"needs PostgreSQL at 127.0.0.1:5432: {error}"
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def make_shop(tmp_path: Path):
    """Make loads into a dataset of their own, which is gone after the test."""
    datasets = []

    def make(destination: str, **settings: object) -> killing.Shop:
        if destination == "postgres":
            _postgres_or_skip()
        dataset = f"reliable_{uuid.uuid4().hex[:10]}"
        shop = killing.Shop(tmp_path, destination, dataset, **settings)
        if destination == "postgres":
            datasets.append(dataset)
        return shop

    yield make
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
