from pathlib import Path

import dagster as dg
import dlt
import pytest


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "shop.duckdb"


@pytest.fixture
def pipeline(database: Path) -> dlt.Pipeline:
    return dlt.pipeline(
        "shop", destination=dlt.destinations.duckdb(str(database)), dataset_name="ds"
    )


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, object]]:
    """Return the metadata of what a run materialized, by asset."""
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }


def check_results(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], object]:
    return {
        (found.asset_key.to_user_string(), found.check_name): found
        for found in result.get_asset_check_evaluations()
    }


@pytest.fixture
def events_of():
    return materializations


@pytest.fixture
def checks_of():
    return check_results


@pytest.fixture
def rows_in(database: Path):
    import duckdb

    def query(sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute(sql).fetchall()

    return query
