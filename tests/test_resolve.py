"""From files to definitions."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadsmith.config.files import read_project
from loadsmith.config.load_params import LoadParams
from loadsmith.config.settings import AssetSettings, ResourceOpSettings
from loadsmith.errors import ConfigError, ResolveError
from loadsmith.model import LoadDefinition, PipelineSettings
from loadsmith.resolve import (
    merge_definitions,
    render_definition,
    resolve_asset,
    resolve_load,
    run_variables,
    used_variables,
)

BRANCH = {"DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT": "1", "DAGSTER_CLOUD_DEPLOYMENT_NAME": "fix"}


def resolve(
    settings: AssetSettings | None = None,
    environment: dict[str, str] | None = None,
    resources: tuple[str, ...] = ("*",),
    **params: object,
) -> LoadDefinition:
    written = {"source_module": "github.source", "destination": "duckdb", **params}
    return resolve_load(
        LoadParams.model_validate(written),
        name="github/api-v1",
        settings=settings,
        base_path="/base",
        project_dir="/base/code",
        default_pipeline_name="github_api",
        default_resources=resources,
        environment=environment or {},
        place="workflows/github.yaml:2:5",
    )


def test_paths_are_absolute_and_names_have_defaults():
    definition = resolve(
        schema_file_path="schemas/x.yaml",
        destination_params={"database": "data/x.db"},
        pipeline_params={"dev_mode": True, "pipelines_dir": "work"},
    )
    assert definition.name == "github_api_v1"
    assert definition.source.search_path == "/base/code"
    assert definition.source.secrets_files == (
        "/base/code/.dlt/secrets.toml",
        "/base/code/github/.dlt/secrets.toml",
    )
    assert definition.schema_file_path == "/base/code/schemas/x.yaml"
    assert definition.destination.params == {"database": "data/x.db"}
    assert definition.destination.base_path == "/base"
    assert definition.pipeline == PipelineSettings(
        pipeline_name="github_api",
        dataset_name="github_api_dataset",
        pipelines_dir="/base/work",
        params={"dev_mode": True},
    )


@pytest.mark.parametrize(
    ("file", "dataset"),
    [("data/crm.duckdb", "crm"), ("CRM.v1.db", "crm"), ("github_api_dataset.db", None)],
)
def test_a_duckdb_file_has_not_the_name_of_its_dataset(file: str, dataset: str | None):
    with pytest.raises(ConfigError, match=r"github.yaml:2:5: dataset .* has the same name"):
        resolve(
            destination_params={"database": file},
            pipeline_params={"dataset_name": dataset} if dataset else {},
        )
    assert resolve(destination_params={"database": "{{env.FILE}}"})


def test_bigquerys_dataset_is_the_dataset_of_the_load():
    definition = resolve(destination="bigquery", destination_params={"dataset": "mine"})
    assert definition.pipeline.dataset_name == "mine"


def test_relative_files_of_dlts_own_source_start_beside_the_configuration():
    for url, expected in {"data": "/base/data", "s3://x/y": "s3://x/y", "/abs": "/abs"}.items():
        definition = resolve(source_module="filesystem", source_params={"bucket_url": url})
        assert definition.source.params["bucket_url"] == expected


def test_a_relative_sqlite_file_of_dlts_own_source_starts_beside_the_configuration():
    for address, expected in {
        "sqlite:///sample/x.db": "sqlite:////base/sample/x.db",
        "sqlite:////abs/x.db?mode=ro": "sqlite:////abs/x.db?mode=ro",
        "sqlite:///:memory:": "sqlite:///:memory:",
        "postgresql://db/x": "postgresql://db/x",
        "{{env.DATABASE}}": "{{env.DATABASE}}",
    }.items():
        params = {"credentials": address}
        definition = resolve(source_module="sql_database", source_params=params)
        assert definition.source.params == {"credentials": expected}
    own = resolve(source_module="crm.source", source_params={"credentials": "sqlite:///x.db"})
    assert own.source.params == {"credentials": "sqlite:///x.db"}


def test_a_profile_is_merged_key_by_key():
    profiles = {
        "dev": {"destination_params": {"threads": 1}, "pipeline_params": {"dataset_name": "dev"}},
        "prod": {"destination": "postgres", "destination_params": {"credentials": "x"}},
    }
    written = {"destination_params": {"database": "x.db"}, "profiles": profiles}
    dev = resolve(**written)
    prod = resolve(environment={"LOADSMITH_PROFILE": "prod"}, **written)
    assert dev.destination.params == {"database": "x.db", "threads": 1}
    assert dev.pipeline.dataset_name == "dev"
    assert (prod.destination.name, prod.destination.params) == ("postgres", {"credentials": "x"})
    assert prod.pipeline.dataset_name == "github_api_dataset"


def test_a_branch_has_a_dataset_and_cursors_of_its_own():
    for dataset in (
        {"pipeline_params": {"dataset_name": "d"}},
        {"destination_params": {"dataset": "d"}},
    ):
        definition = resolve(environment=BRANCH, **dataset)
        assert definition.pipeline.dataset_name == "d_fix"
        assert definition.pipeline.pipeline_name == "github_api_fix"
        assert definition.destination.params.get("dataset", "d_fix") == "d_fix"


def test_a_profile_that_does_not_exist_is_an_error_with_its_place():
    with pytest.raises(ConfigError, match=r"^workflows/github.yaml:2:5: there is no profile 'x'"):
        resolve(environment={"LOADSMITH_PROFILE": "x"}, profiles={"dev": {}})


def test_an_asset_is_resolved_with_its_parents_and_partitions(tmp_path: Path):
    workflows = tmp_path / "odp_config/workflows"
    workflows.mkdir(parents=True)
    (workflows / "w.yaml").write_text(
        """\
assets:
  - asset_key: a/b/c
    task_type: dlt
    depends_on: [q]
    deps: [outside]
    params: {source_module: s, destination: duckdb}
  - {asset_key: q, task_type: duckdb_query}
partitions:
  - {assets: a/b/c, params: {keys: [x, y]}}
"""
    )
    files = read_project(tmp_path / "odp_config")
    definition = resolve_asset(files.assets[0], files, environment={})
    assert definition.resources.include == ("c",)
    assert definition.pipeline.pipeline_name == "a_b"
    assert definition.attributes.deps == ("q", "outside")
    assert definition.partitions.keys == ("x", "y")
    assert definition.place == "workflows/w.yaml:2:5"
    assert definition.source.search_path is None


def test_definitions_that_differ_in_resources_only_are_one_load():
    one = resolve(AssetSettings(group_name="g"), resources=("a",))
    two = resolve(AssetSettings(owners=("team:x",)), resources=("b",))
    (group,) = merge_definitions([one, two])
    assert group.definition.resources.include == ("a", "b")
    assert group.definition.attributes_of("a").group_name == "g"
    assert group.definition.attributes_of("b").owners == ("team:x",)
    assert group.definition.name == "github_api"
    assert group.definition.owns_pipeline_name
    assert group.members == (one, two)


@pytest.mark.parametrize(
    "other",
    [
        {"source_params": {"a": 1}},
        {"run_params": {"write_disposition": "merge"}},
        {"limit": 1},
        {"destination_params": {"database": "other.db"}},
        {"settings": AssetSettings(pool="p")},
        {"resources": ("a",)},
        {"resources": ("b*",)},
    ],
)
def test_definitions_that_differ_otherwise_stay_apart_under_names_of_their_own(other):
    groups = merge_definitions(
        [resolve(resources=("a",)), resolve(**{"resources": ("b",), **other})]
    )
    assert [len(group.members) for group in groups] == [1, 1]
    assert len({group.definition.name for group in groups}) == 2
    assert not any(group.definition.owns_pipeline_name for group in groups)


def test_many_definitions_are_merged_in_linear_time():
    one = resolve()
    many = [replace(one, resources=replace(one.resources, include=(f"r{n}",))) for n in range(3000)]
    (group,) = merge_definitions(many)
    assert len(group.definition.resources.include) == 3000


def test_settings_of_a_resource_win_over_those_of_the_load():
    definition = resolve_load(
        LoadParams(source_module="s", destination="duckdb"),
        name="x",
        settings=AssetSettings(group_name="all", tags={"a": "1"}),
        resource_settings={"r": ResourceOpSettings(group_name="own")},
        base_path="/base",
        default_pipeline_name="p",
        environment={},
    )
    assert definition.attributes_of("r").group_name == "own"
    assert definition.attributes_of("r").tags == {"a": "1"}


def test_the_variables_of_a_run_are_filled_in_everywhere():
    definition = resolve(
        source_params={"since": "{{context.partition_key}}", "n": "{{n}}"},
        destination_params={"database": "{{env.FILE}}"},
        pipeline_params={"dataset_name": "d_{{context.partition_key}}"},
        run_params={"table_name": "t_{{n}}"},
    )
    variables = {"context.partition_key": "k", "n": 3, "env.FILE": "x.db"}
    rendered = render_definition(definition, variables)
    assert rendered.source.params == {"since": "k", "n": 3}
    assert rendered.destination.params == {"database": "x.db"}
    assert rendered.pipeline.dataset_name == "d_k"
    assert dict(rendered.options.params) == {"table_name": "t_3"}
    with pytest.raises(ResolveError, match=r"there is no variable '{{n}}'"):
        render_definition(definition, {"context.partition_key": "k", "env.FILE": "x.db"})


def test_a_run_holds_only_the_variables_that_its_load_uses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("USED", "in the source")
    monkeypatch.setenv("ELSEWHERE", "in a resource")
    monkeypatch.setenv("OTHER", "a secret of something else")
    definition = resolve(
        source_params={"token": "{{env.USED}}"},
        destination_params={"database": "{{resource.duckdb.database_path}}"},
        pipeline_params={"dataset_name": "x_{{context.partition_key}}"},
        run_params={"loader_file_format": "{{env.MISSING}}"},
    )
    names = used_variables(definition)
    assert names == {
        "env.USED",
        "env.MISSING",
        "resource.duckdb.database_path",
        "context.partition_key",
    }
    resources = {"duckdb": {"database_path": "{{env.ELSEWHERE}}", "base_path": "{{env.OTHER}}"}}
    values = run_variables(names, run_id="1", partition_key="k", resources=resources)
    assert values.pop("utils.now")
    assert values == {
        "env.USED": "in the source",
        "resource.duckdb.database_path": "in a resource",
        "context.run_id": "1",
        "context.partition_key": "k",
    }
