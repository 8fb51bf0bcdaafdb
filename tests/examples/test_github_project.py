"""The GitHub project: a day of pull requests as a partition, and a query downstream."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from loadsmith import build_definitions

TABLES = (
    "github/api/pull_requests",
    "github/api/pull_requests__comments",
    "github/api/pull_requests__reactions",
)
#: Numbers 13 to 18 were opened on the third day.
THIRD_DAY = {
    "pull_requests": 6,
    "pull_requests__comments": sum(number % 4 for number in range(13, 19)),
    "pull_requests__reactions": sum(number % 3 for number in range(13, 19)),
}

Materialize = Callable[..., dg.ExecuteInProcessResult]
Count = Callable[[Path, str], dict[str, int]]


@pytest.fixture
def project(copy_example: Callable[[str], Path]) -> Path:
    return copy_example("github")


@pytest.fixture
def github(github_server: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server with pages of ten, and an error now and then."""
    state = github_server.FakeGitHub(max_per_page=10, error_rate=0.05)
    with github_server.serve(state) as url:
        monkeypatch.setenv("GITHUB_API_URL", url)
        yield state


def test_the_prefix_is_a_source_asset_and_each_table_an_asset(project: Path) -> None:
    graph = build_definitions(project / "odp_config").resolve_asset_graph()
    tables = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert tables == {*TABLES, "process_pull_requests"}
    assert {key.to_user_string() for key in graph.external_asset_keys} == {"github/api"}
    assert all(
        dg.AssetKey(["github", "api"]) in graph.get(dg.AssetKey(key.split("/"))).parent_keys
        for key in TABLES[:1]
    )


def test_a_partition_loads_its_day_and_again_doubles_nothing(
    project: Path,
    github: Any,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    count_rows: Count,
) -> None:
    defs = build_definitions(project / "odp_config")
    for _ in range(2):
        result = materialize(defs, *TABLES, instance=instance, partition_key="2024-01-03")
        assert count_rows(project / "data" / "github.db", "github_data") == THIRD_DAY
        rows = {
            event.asset_key.path[-1]: event.materialization.metadata["rows_loaded"].value
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        }
        assert rows == THIRD_DAY
        assert {event.partition for event in result.get_asset_materialization_events()} == {
            "2024-01-03"
        }


def test_the_query_reads_the_tables_that_its_parents_report(
    project: Path, github: Any, materialize: Materialize, instance: dg.DagsterInstance
) -> None:
    defs = build_definitions(project / "odp_config")
    materialize(defs, *TABLES, instance=instance, partition_key="2024-01-01")
    result = materialize(defs, "process_pull_requests", instance=instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert [column.name for column in metadata["dagster/column_schema"].value.columns] == [
        "author",
        "pull_requests",
        "merged",
        "comments",
    ]
    assert metadata["dagster/row_count"].value == len(
        {pull["user"] and pull["user"]["login"] for pull in _opened(github, "2024-01-01")}
    )


def test_the_commands_of_the_readme_load_a_day_and_ask_it(
    project: Path, github: Any, count_rows: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "examples/github/README.md"
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "process_pull_requests" in done.stdout
    assert count_rows(project / "data" / "github.db", "github_data") == THIRD_DAY


def test_the_token_in_the_secrets_file_reaches_the_source(
    project: Path,
    github_server: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    materialize: Materialize,
    instance: dg.DagsterInstance,
    count_rows: Count,
) -> None:
    secrets = project / "dlt_project" / ".dlt"
    example = (secrets / "secrets.toml.example").read_text(encoding="utf-8")
    (secrets / "secrets.toml").write_text(example.replace("ghp_...", "ghp_right"), "utf-8")
    with github_server.serve(api_token="ghp_right") as url:
        monkeypatch.setenv("GITHUB_API_URL", url)
        defs = build_definitions(project / "odp_config")
        materialize(defs, *TABLES, instance=instance, partition_key="2024-01-03")
    assert count_rows(project / "data" / "github.db", "github_data") == THIRD_DAY


def test_the_nightly_schedule_asks_for_the_day_that_ended(project: Path) -> None:
    defs = build_definitions(project / "odp_config")
    schedule = defs.get_schedule_def("every_night")
    assert schedule.cron_schedule == "0 0 * * *"
    assert schedule.job_name == "daily_pull_requests"


def _opened(github: Any, day: str) -> list[dict[str, Any]]:
    pulls = github.repos["dagster-io/dagster"]
    return [pull for pull in pulls if pull["created_at"].startswith(day)]
