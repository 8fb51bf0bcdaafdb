"""The sources of the examples, by dlt alone."""

from collections.abc import Callable
from datetime import timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import dlt
import pytest

Import = Callable[[str, str], ModuleType]
Count = Callable[[Path, str], dict[str, int]]


def load(source: Any, tmp_path: Path, **run_params: Any) -> Path:
    database = tmp_path / "plain.duckdb"
    pipeline = dlt.pipeline(
        "plain", destination=dlt.destinations.duckdb(str(database)), dataset_name="loaded"
    )
    pipeline.run(source, loader_file_format="parquet", **run_params)
    return database


def test_a_country_becomes_many_nested_tables_and_each_country_is_there_once(
    import_source: Import, tmp_path: Path, count_rows: Count
) -> None:
    source = import_source("demo", "countries.source").countryinfo()
    rows = count_rows(load(source, tmp_path), "loaded")
    assert rows["countries"] > 230
    assert rows["countries__borders"] > 600
    assert rows["countries__geo_json__features__geometry__coordinates__list__list"] > 15_000
    assert len(rows) >= 15


def test_a_country_leaves_no_column_in_two_types(import_source: Import, tmp_path: Path) -> None:
    source = import_source("demo", "countries.source").countryinfo()
    load(source, tmp_path)
    columns = [name for table in source.schema.data_tables() for name in table["columns"]]
    assert [name for name in columns if "__v_" in name] == []


def test_the_packaged_flights_are_all_read_with_nulls_where_the_files_say_na(
    import_source: Import,
) -> None:
    resources = import_source("demo", "flights.source").nycflights13().resources
    tables = {name: next(iter(resource)) for name, resource in resources.items()}
    assert {name: table.num_rows for name, table in tables.items()} == {
        "airlines": 16,
        "airports": 1_458,
        "flights": 336_776,
        "planes": 3_322,
        "weather": 26_115,
    }
    assert tables["flights"]["dep_delay"].null_count == 8_255
    assert tables["airports"]["tzone"].null_count == 3
    first_hour = tables["flights"]["time_hour"][0].as_py()
    assert first_hour.astimezone(timezone.utc).isoformat() == "2013-01-01T10:00:00+00:00"


def test_github_is_paged_by_its_links_with_comments_and_reactions_nested(
    import_source: Import, github_server: ModuleType, tmp_path: Path, count_rows: Count
) -> None:
    github = github_server.FakeGitHub(max_per_page=7)
    module = import_source("github", "github.source")
    with github_server.serve(github) as url:
        database = load(module.github_source("dagster-io/dagster", base_url=url), tmp_path)
    assert count_rows(database, "loaded") == {
        "pull_requests": 60,
        "pull_requests__comments": sum(number % 4 for number in range(1, 61)),
        "pull_requests__reactions": sum(number % 3 for number in range(1, 61)),
    }
    assert sum("/pulls?" in target for target, _ in github.requests) == 9


def test_github_is_asked_for_no_page_before_since(
    import_source: Import, github_server: ModuleType, tmp_path: Path, count_rows: Count
) -> None:
    github = github_server.FakeGitHub(max_per_page=6)
    module = import_source("github", "github.source")
    with github_server.serve(github) as url:
        source = module.github_source(
            "dagster-io/dagster", since="2024-01-08", until="2024-01-09", base_url=url
        )
        database = load(source, tmp_path)
    assert count_rows(database, "loaded")["pull_requests"] == 6
    # Three days of six from the newest on, and the page that shows that there are no more.
    assert sum("/pulls?" in target for target, _ in github.requests) == 4


@pytest.mark.parametrize(("status", "says_retry_after"), [(403, False), (429, True)])
def test_github_is_waited_for_when_the_rate_limit_is_reached_or_it_fails(
    import_source: Import,
    github_server: ModuleType,
    tmp_path: Path,
    count_rows: Count,
    status: int,
    says_retry_after: bool,
) -> None:
    github = github_server.FakeGitHub(
        {"dagster-io/dagster": github_server.make_pull_requests(days=1)},
        limit=8,
        limit_status=status,
        limit_header=says_retry_after,
        error_rate=0.2,
    )
    module = import_source("github", "github.source")
    with github_server.serve(github) as url:
        database = load(module.github_source("dagster-io/dagster", base_url=url), tmp_path)
    assert count_rows(database, "loaded")["pull_requests"] == 6
    assert {answer for _, answer in github.requests} == {200, 502, status}


def test_github_gets_the_token_where_there_is_one(
    import_source: Import,
    github_server: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count_rows: Count,
) -> None:
    monkeypatch.setenv("SOURCES__GITHUB__API_TOKEN", "ghp_right")
    module = import_source("github", "github.source")
    with github_server.serve(api_token="ghp_right") as url:
        source = module.github_source("dagster-io/dagster", base_url=url)
        database = load(source.add_limit(1), tmp_path)
    assert count_rows(database, "loaded")["pull_requests"] == 60
