"""The page `docs/yaml-project.md`: its blocks are a project, which is built and run here."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import duckdb
import pytest
import yaml

from loadsmith import build_definitions
from loadsmith.errors import LoadsmithError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "yaml-project.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE)]
QUOTED_ERRORS = [text.strip() for _, title, text in BLOCKS if title == "error"]
GITHUB_TABLES = (
    "github/api/pull_requests",
    "github/api/pull_requests__comments",
    "github/api/pull_requests__reactions",
)


@pytest.fixture(scope="module")
def server() -> Iterator[ModuleType]:
    path = ROOT / "examples" / "github" / "server.py"
    spec = importlib.util.spec_from_file_location("github_server_of_the_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, server: ModuleType) -> Iterator[Path]:
    """The page's project, with the schema file that its `pipeline.py` writes."""
    folder = tmp_path_factory.mktemp("my_project")
    for language, title, text in BLOCKS:
        if title and language in ("yaml", "python", "toml"):
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    (folder / "dlt_project" / "github" / "__init__.py").touch()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        server.serve(max_per_page=7, api_token="ghp_123") as url,
    ):
        monkeypatch.setenv("GITHUB_API_URL", url)
        monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        _write_schema_file(folder)
        yield folder


@pytest.fixture
def defs(project: Path) -> dg.Definitions:
    return build_definitions(project / "odp_config")


def test_every_block_of_yaml_python_and_toml_is_a_file_of_the_project() -> None:
    assert [text for language, title, text in BLOCKS if title is None and language != "text"] == []


def test_the_tree_on_the_page_names_the_files_that_are_there(project: Path) -> None:
    tree = next(text for language, title, text in BLOCKS if language == "text" and not title)
    names = re.findall(r"[├└]── (\S+)", tree)
    there = {path.name for path in project.rglob("*")}
    assert [name for name in names if name.rstrip("/") not in there] == []


def test_one_entry_becomes_the_source_and_an_asset_per_table(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert {*GITHUB_TABLES, "process_pull_requests", "shop/orders"} < keys
    assert dg.AssetKey(["github", "api"]) in graph.external_asset_keys
    listed = re.findall(r"^\| `(github/api[^`]*)` \|", PAGE, re.MULTILINE)
    assert listed == ["github/api", *GITHUB_TABLES]


def test_definitions_py_is_all_the_python_that_dagster_needs(project: Path) -> None:
    code = "import definitions; print(len(definitions.defs.resolve_all_asset_specs()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_a_day_is_loaded_and_the_query_downstream_reads_it(
    project: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    loaded = job.execute_in_process(
        asset_selection=[dg.AssetKey(key.split("/")) for key in GITHUB_TABLES],
        partition_key="2024-01-02",
        instance=instance,
    )
    metadata = _metadata(loaded)
    assert metadata["github/api/pull_requests"]["rows_loaded"].value == 6
    table = metadata["github/api/pull_requests"]["dagster/table_name"].value
    assert table == "github_data.pull_requests"
    assert metadata["github/api/pull_requests__comments"]["rows_loaded"].value == sum(
        number % 4 for number in range(7, 13)
    )

    processed = job.execute_in_process(
        asset_selection=[dg.AssetKey("process_pull_requests")], instance=instance
    )
    query = _metadata(processed)["process_pull_requests"]
    assert [column.name for column in query["dagster/column_schema"].value.columns] == [
        "day",
        "opened",
    ]
    assert query["dagster/row_count"].value == 1
    assert "| 2024-01-02 | 6 |" in query["preview"].value
    assert "GITHUB__API_TOKEN" not in os.environ


def test_the_file_system_gets_files_whose_folder_is_reported(
    project: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    keys = [dg.AssetKey(["lake", "api", key.rsplit("/", 1)[1]]) for key in GITHUB_TABLES]
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=keys, instance=instance
    )
    uri = _metadata(result)["lake/api/pull_requests"]["destination_file_uri"].value
    assert "data/lake/github_data/pull_requests" in uri
    assert list((project / "data" / "lake" / "github_data" / "pull_requests").glob("*.*"))


def test_a_pipeline_of_its_own_has_secrets_of_its_own(
    project: Path, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["shop", "orders"])], instance=instance
    )
    with duckdb.connect(str(project / "data" / "github.db")) as connection:
        orders = connection.execute("SELECT customer FROM shop.orders").fetchall()
        items = connection.execute("SELECT value FROM shop.orders__items").fetchall()
    assert orders == [(f"Ada, in run {result.run_id}",)]
    assert items == [("pen",), ("ink",)]


def test_the_job_of_the_page_has_its_schedule(defs: dg.Definitions) -> None:
    schedule = defs.get_schedule_def("at_six")
    assert (schedule.cron_schedule, schedule.job_name) == ("0 6 * * *", "shop_every_morning")


def test_the_three_errors_are_the_ones_that_the_page_explains() -> None:
    assert len(QUOTED_ERRORS) == 3


def test_a_missing_schema_file_says_so(project: Path, tmp_path: Path) -> None:
    copy = _copy(project, tmp_path)
    (copy / "dlt_project" / "schemas" / "export" / "github.schema.yaml").unlink()
    with pytest.raises(LoadsmithError, match=re.escape(QUOTED_ERRORS[0])):
        build_definitions(copy / "odp_config")


def test_a_missing_secret_says_which_variable_and_what_to_write(
    project: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    copy = _copy(project, tmp_path)
    (copy / "dlt_project" / ".dlt" / "secrets.toml").unlink()
    result = (
        build_definitions(copy / "odp_config")
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            asset_selection=[dg.AssetKey(key.split("/")) for key in GITHUB_TABLES],
            partition_key="2024-01-02",
            instance=instance,
            raise_on_error=False,
        )
    )
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    message = str(failure.step_failure_data.error_display_string)
    assert QUOTED_ERRORS[1] in message
    assert "api_token = " in message


def test_a_key_without_a_slash_says_so(project: Path, tmp_path: Path) -> None:
    copy = _copy(project, tmp_path)
    workflow = copy / "odp_config" / "workflows" / "shop.yaml"
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    content["assets"][0]["asset_key"] = "orders"
    del content["jobs"]
    workflow.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(LoadsmithError, match=re.escape(QUOTED_ERRORS[2])):
        build_definitions(copy / "odp_config")


def _write_schema_file(folder: Path) -> None:
    """Run the commands of the page; there is one place where one is asked to."""
    ((title, text),) = ((title, text) for language, title, text in BLOCKS if language == "sh")
    for line in text.splitlines():
        program, *arguments = line.split()
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder / title.removeprefix("in "),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _copy(project: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    for path in project.rglob("*"):
        inner = path.relative_to(project)
        if path.is_file() and inner.parts[0] in ("odp_config", "dlt_project"):
            (copy / inner).parent.mkdir(parents=True, exist_ok=True)
            (copy / inner).write_bytes(path.read_bytes())
    return copy


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, dg.MetadataValue]]:
    return {
        event.asset_key.to_user_string(): dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }
