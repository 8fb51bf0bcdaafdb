"""What people see: Dagster's own page on the demo, in a real browser."""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def screenshots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots", ROOT / "docs" / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules["screenshots"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo(screenshots: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not screenshots.CHROMIUM.exists():
        reason = f"needs {screenshots.CHROMIUM}: run tests/browser/install.sh"
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    with screenshots.open_demo(tmp_path_factory.mktemp("page")) as demo:
        yield demo


@pytest.fixture(scope="module")
def page(demo: Any, screenshots: ModuleType) -> Iterator[Any]:
    with screenshots.open_page(1500, 1560) as page:
        yield page


HAS_PICTURE = """
box => [box, ...box.querySelectorAll('*')].map(part => getComputedStyle(part)).some(
  style => style.maskImage !== 'none' || style.backgroundImage !== 'none'
)
"""


EDGES = 'svg path[d*="C"][stroke="var(--color-lineage-edge)"]'

IS_DRAWN = """
canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)
"""

ROWS = """
{assetNodeOrError(assetKey: {path: ["nycflights13", "airports"]}) {
  ... on AssetNode {assetMaterializations {
    metadataEntries {label ... on IntMetadataEntry {intValue}}
  }}
}}
"""


def text_of(page: Any) -> str:
    return re.sub(r"\s+", " ", page.inner_text("body"))


def test_the_graph_shows_sources_tables_nested_tables_and_queries(page, demo, screenshots):
    screenshots.visit_graph(page, demo)
    shown = text_of(page)
    for name in (
        "nycflights13",
        "airports",
        "countryinfo",
        "countries__timezones",
        "flights_by_time_zone",
    ):
        assert name in shown
    for group in ("countries", "flights", "reports"):
        assert page.get_by_text(group, exact=True).count() >= 1
    assert page.get_by_text("dlt", exact=True).count() == 5
    assert page.get_by_text("DuckDB", exact=True).count() == 7
    # Three from the sources to their tables, two from a table to those that are nested in it, and
    # five from these to the queries.
    assert page.locator(EDGES).count() == 10
    kind = page.get_by_text("dlt", exact=True).first.locator("xpath=../..")
    assert kind.evaluate(HAS_PICTURE), "dlt has its icon"


def test_the_page_of_a_table_says_what_it_holds_and_where_it_comes_from(page, demo, screenshots):
    screenshots.visit_asset(page, demo, "nycflights13/airports", "rows_loaded")
    shown = text_of(page)
    assert "Airports of the United States, and a few beyond" in shown
    assert "faa text non-nullable primary_key FAA code of the airport" in shown
    assert "alt bigint Altitude in feet" in shown
    assert "flights.airports" in shown
    link = page.get_by_role("link", name=re.compile(r"flights\.yaml:\d+")).first
    assert re.search(r"odp_config/workflows/flights\.yaml:\d+$", link.get_attribute("href"))
    assert re.search(r"rows_loaded .{0,40}1458", shown)


def test_the_last_schema_change_is_a_table(page, demo, screenshots):
    screenshots.visit_asset(page, demo, "nycflights13/airports", "schema_changes")
    row = page.locator("table table tr", has_text="new column").first
    assert row.inner_text().split() == ["airports", "new", "column", "tzone", "text"]


def test_rows_loaded_are_plotted_over_the_runs(page, demo, screenshots):
    screenshots.visit_plots(page, demo, "nycflights13/airports")
    assert "rows_loaded" in text_of(page)
    assert page.locator("canvas").first.evaluate(IS_DRAWN)
    found = screenshots.ask(demo.url, ROWS)["assetNodeOrError"]["assetMaterializations"]
    rows = [
        entry["intValue"]
        for run in found
        for entry in run["metadataEntries"]
        if entry["label"] == "rows_loaded"
    ]
    assert sorted(rows) == [1400, 1458]


def test_a_source_says_what_reads_it_and_a_query_shows_its_sql(page, demo, screenshots):
    screenshots.visit(page, demo, "/assets/countryinfo", "What countries.source reads")
    assert "What countries.source reads: countries" in text_of(page)
    screenshots.visit_asset(page, demo, "reports/flights_by_time_zone", "minutes_late")
    shown = text_of(page)
    assert "round(avg(flight.arr_delay), 1) AS minutes_late" in shown
    assert re.search(r"time_zone VARCHAR .{0,40}countries BIGINT", shown)


def test_jobs_are_a_table_and_seconds_and_bytes_are_plotted(page, demo, screenshots):
    screenshots.visit_plots(page, demo, "nycflights13/airports")
    shown = text_of(page)
    for name in ("bytes_loaded", "seconds", "seconds_extract", "seconds_load"):
        assert name in shown
    screenshots.visit_asset(page, demo, "nycflights13/airports", "bytes_loaded")
    shown = text_of(page)
    assert "table_name state file_format file_size elapsed" in shown
    assert re.search(r"airports completed_jobs parquet \d+ [\d.]+ 0", shown)


def test_a_nested_table_says_what_it_is_nested_in(page, demo, screenshots):
    screenshots.visit_asset(page, demo, "countryinfo/countries__borders", "rows_loaded")
    shown = text_of(page)
    assert "in the rows of countries: a row for each item" in shown
    assert "_dlt_list_idx bigint non-nullable Place of the item in its list" in shown


def test_a_failed_load_says_what_to_do(page, demo, screenshots):
    screenshots.visit_failure(page, demo)
    page.get_by_text("definitions.events.Failure").last.wait_for()
    shown = text_of(page)
    assert "Environment variable 'WEATHER_API_TOKEN' not found." in shown
    assert "Set it, or put into dlt_project/.dlt/secrets.toml: weather_api_token =" in shown
