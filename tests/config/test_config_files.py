"""The files of a project: what is read, and what the errors say, word for word."""

import cProfile
import gc
import json
import os
import pstats
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from loadsmith.config.files import read_project
from loadsmith.config.models import DltAsset
from loadsmith.config.project_files import ProjectFiles
from loadsmith.config.references import unknown_references
from loadsmith.errors import ConfigError

GOLDEN = Path(__file__).parent / "golden"

CONFIG = """\
resources:
  - resource_kind: dlt
    params:
      project_dir: dlt_project
  - resource_kind: duckdb
    params: {database_path: data/github.db}
"""

WORKFLOW = """\
assets:
  - asset_key: github/api/pull_requests
    task_type: dlt
    description: "Fetch GitHub pull requests"
    group_name: data_ingestion
    params:
      source_module: github.source
      schema_file_path: schemas/export/github.schema.yaml
      source_params:
        repo: "dagster-io/dagster"
        since: "{{#date}}{{context.partition_key}}|%Y-%m-%d{{/date}}"
      destination: duckdb
      destination_params:
        database: data/github.db
      pipeline_params:
        dataset_name: github_data
      run_params:
        write_disposition: append
  - asset_key: process_pull_requests
    task_type: duckdb_query
    depends_on: ["github/api/pull_requests"]
    params:
      query: SELECT * FROM {{github_api_pull_requests.destination_table_id}}
partitions:
  - assets: [github/api/pull_requests]
    params: {start: 2024-01-01, schedule_type: DAILY}
jobs:
  - job_id: github
    asset_selection: ["github/api/pull_requests*"]
    triggers:
      - trigger_id: github_daily
        trigger_type: schedule
        params: {schedule_kind: partition}
"""

DEFAULTS = """\
defaults:
  owners: [team:data]
  params: {run_params: {primary_key: id}}
"""

LOAD = """\
assets:
  - asset_key: github/issues
    task_type: dlt
    params:
      source_module: github.source
      destination: duckdb
"""


def write(folder: Path, **files: str) -> Path:
    """Write a project; `config` is its configuration, other names are workflow files."""
    root = folder / "odp_config"
    (root / "workflows").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / ("dagster_config.yaml" if name == "config" else f"workflows/{name}.yaml")
        path.write_text(dedent(text), encoding="utf-8")
    return root


def problems(root: Path, **options: list[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_project(root, **options)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return str(caught.value).splitlines()


def test_the_page_of_reference_1_is_read(tmp_path):
    files = read_project(write(tmp_path, config=CONFIG, github=WORKFLOW))
    load, query = (asset.value for asset in files.assets)
    assert isinstance(load, DltAsset)
    assert load.params.run_params.model_dump(exclude_none=True) == {"write_disposition": "append"}
    assert query.params == {
        "query": "SELECT * FROM {{github_api_pull_requests.destination_table_id}}"
    }
    assert files.assets[1].place == "workflows/github.yaml:19:5"
    assert files.project_dir == str(tmp_path / "dlt_project")
    partitions = files.partitions_of("github/api/pull_requests")
    assert partitions is not None
    assert partitions.value.params.to_settings().kind == "daily"
    assert partitions.value.params.to_settings().start == "2024-01-01"


def test_json_files_with_tabs_are_read_like_yaml(tmp_path):
    root = write(tmp_path)
    (root / "dagster_config.json").write_text('{\n\t"resources": []\n}')
    asset = {
        "asset_key": "q",
        "task_type": "duckdb_query",
        "params": {"query": "select '\u00e4\U0001f600'"},
    }
    (root / "workflows/q.json").write_text(json.dumps({"assets": [asset]}, indent="\t"))
    assert read_project(root).assets[0].value.params["query"] == "select '\u00e4\U0001f600'"


def test_files_refer_to_one_another(tmp_path):
    root = write(
        tmp_path,
        a=LOAD,
        b="""\
        assets:
          - {asset_key: q, task_type: duckdb_query, depends_on: [github/issues], params: {}}
        """,
        c="jobs: [{job_id: all, asset_selection: [q, '*', 'group:x', '+github/issues']}]",
    )
    assert len(read_project(root).assets) == 2


def test_defaults_merge_into_assets_and_keep_their_own_places(tmp_path):
    root = write(
        tmp_path,
        a="""\
        defaults:
          owners: [team:data]
          tags: {a: x, b: 1}
          params:
            destination: duckdb
            run_params: {write_disposition: replace, primary_key: id}
        assets:
          - asset_key: s/one
            task_type: dlt
            tags: {a: y}
            params: {source_module: s, run_params: {write_disposition: append}}
          - asset_key: q
            task_type: duckdb_query
            params: {query: select 1}
        """,
    )
    one, query = (asset.value for asset in read_project(root).assets)
    assert (one.owners, one.tags) == (("team:data",), {"a": "y", "b": "1"})
    assert one.params.destination == "duckdb"
    assert one.params.run_params.model_dump(exclude_none=True) == {
        "write_disposition": "append",
        "primary_key": "id",
    }
    assert (query.owners, query.params) == (("team:data",), {"query": "select 1"})


def test_a_mistake_in_defaults_is_reported_once(tmp_path):
    root = write(
        tmp_path,
        a="""\
        defaults:
          params: {destination: duckdb, limitt: 3}
        assets:
          - {asset_key: s/one, task_type: dlt, params: {source_module: s}}
          - {asset_key: s/two, task_type: dlt, params: {source_module: s}}
        """,
    )
    (found,) = problems(root)
    assert found == "workflows/a.yaml:2:33: there is no field 'limitt' here. Did you mean 'limit'?"


def assert_golden(name: str, lines: list[str]) -> None:
    """Compare with a golden file; `LOADSMITH_REWRITE_GOLDEN=1 make pytest` writes it anew."""
    path = GOLDEN / name
    if os.environ.get("LOADSMITH_REWRITE_GOLDEN"):
        path.write_text("\n".join(lines) + "\n")
    assert lines == path.read_text().splitlines()


def test_all_mistakes_are_reported_at_once_each_at_its_place():
    assert_golden("mistakes.txt", problems(GOLDEN / "mistakes"))


UNREADABLE = {
    "alias_inside.yaml": "jobs: &a [*a]",
    "alias_unknown.yaml": "jobs: *a",
    "comments.yaml": "# nothing",
    "control.yaml": "jobs: \x07",
    "date.yaml": "jobs: [2024-02-31]",
    "deep.json": "[" * 5000,
    "deep.yaml": "jobs: " + "[" * 5000,
    "duplicate.json": '{"jobs": [],\n "jobs": []}',
    "duplicate.yaml": "jobs: []\njobs: []",
    "empty.yaml": "",
    "missing_comma.json": '{"jobs": [] "x"}',
    "no_list.yaml": "assets: {}",
    "python_tag.yaml": "jobs: !!python/object/apply:os.system [ls]",
    "star.yaml": "jobs:\n  cron: * * * * *",
    "tab.yaml": "jobs:\n\t- x",
    "text.yaml": "just text",
    "two_documents.yaml": "jobs: []\n---\nx: 1",
    "variable.yaml": "jobs: {{context.run_id}}",
    "word.json": '{"jobs": tru}',
}


def test_files_that_cannot_be_read_say_why(tmp_path):
    root = write(tmp_path)
    for name, text in UNREADABLE.items():
        (root / "workflows" / name).write_text(text)
    assert_golden("unreadable.txt", problems(root))


def test_bytes_that_are_not_utf8_are_named_by_their_place(tmp_path):
    root = write(tmp_path)
    (root / "workflows/w.yaml").write_bytes(b"jobs: []\nx: \xff")
    expected = "workflows/w.yaml:2:4: this byte is not UTF-8. Save the file as UTF-8."
    assert problems(root) == [expected]


def test_an_alias_bomb_is_refused_before_it_goes_off(tmp_path):
    lines = ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
    root = write(tmp_path)
    (root / "workflows/w.yaml").write_text("\n".join(lines))
    with cProfile.Profile() as profile:
        assert "the aliases make more than 500,000 values" in problems(root)[0]
    # All of them would be 10,000,000,000 values.
    assert pstats.Stats(profile).total_calls < 100_000


def test_anchors_and_merge_keys_work(tmp_path):
    root = write(
        tmp_path,
        w="""\
        assets:
          - asset_key: s/one
            task_type: dlt
            params: &load {source_module: s, destination: duckdb, limit: 1}
          - asset_key: s/two
            task_type: dlt
            params:
              <<: *load
              limit: 2
        """,
    )
    assert [asset.value.params.limit for asset in read_project(root).assets] == [1, 2]


def test_a_missing_folder_is_named(tmp_path):
    expected = f"{tmp_path / 'nope'}: there is no folder 'nope' here. Make it or name it."
    assert problems(tmp_path / "nope") == [expected]


def test_a_missing_workflows_folder_is_named(tmp_path):
    (tmp_path / "dagster_config.yaml").write_text("resources: []")
    assert problems(tmp_path) == [
        "workflows: this folder is missing. Make it and put a file such as github.yaml into it."
    ]


def test_two_configurations_are_one_too_many(tmp_path):
    root = write(tmp_path, config="resources: []")
    (root / "dagster_config.json").write_text("{}")
    assert problems(root) == [
        "dagster_config.json: this file stands beside dagster_config.yaml. Keep one of them."
    ]


def test_a_circle_is_named(tmp_path):
    root = write(
        tmp_path,
        a="assets: [{asset_key: a, task_type: duckdb_query, depends_on: [b]}]",
        b="assets: [{asset_key: b, task_type: duckdb_query, depends_on: [c]}]",
        c="assets: [{asset_key: c, task_type: duckdb_query, depends_on: [a]}]",
    )
    (found,) = problems(root)
    assert found == (
        "workflows/c.yaml:1:63: these assets depend on each other in a circle: a -> b -> c -> a. "
        "Remove one step."
    )


def test_ids_are_unique_over_all_files(tmp_path):
    job = "jobs: [{job_id: j, asset_selection: '*'}]"
    (found,) = problems(write(tmp_path, a=job, b=job))
    assert found == (
        "workflows/b.yaml:1:17: the job id 'j' is taken, see workflows/a.yaml:1:17. Choose "
        "another one."
    )


def test_what_is_meant_to_be_a_load_tells_all_its_mistakes(tmp_path):
    root = write(
        tmp_path,
        a="""
        assets:
          - asset_key: a/people
            task_typ: dlt
            params: {source_modul: crm.source, destination: dukdb}
          - asset_key: b/people
            params: {source_module: crm.source, destinaton: duckdb}
          - asset_key: c/people
            task_type: dtl
            params: {source_module: "{{env.X", destination: duckdb, limt: 1}
        """,
    )
    with pytest.raises(ConfigError) as caught:
        read_project(root)
    assert str(caught.value).splitlines() == [
        "workflows/a.yaml:4:5: there is no field 'task_typ' here. Did you mean 'task_type'?",
        (
            "workflows/a.yaml:5:14: there is no field 'source_modul' here. Did you mean "
            "'source_module' or 'source_params'?"
        ),
        "workflows/a.yaml:5:53: there is no destination 'dukdb'. Did you mean 'duckdb'?",
        "workflows/a.yaml:6:5: the field 'task_type' is missing. Add it: what makes the asset.",
        (
            "workflows/a.yaml:7:41: there is no field 'destinaton' here. Did you mean "
            "'destination' or 'destination_params'?"
        ),
        "workflows/a.yaml:9:16: `task_type` cannot be 'dtl'. Did you mean 'dlt'?",
        (
            "workflows/a.yaml:10:29: the template is malformed: '{{' is not closed. Write "
            "variables as '{{name}}'."
        ),
        "workflows/a.yaml:10:61: there is no field 'limt' here. Did you mean 'limit'?",
    ]


def test_an_asset_key_that_dagster_does_not_take_is_told(tmp_path):
    assets = "{asset_key: 'a b', task_type: q}, {asset_key: 'a/b*', task_type: q}"
    with pytest.raises(ConfigError) as caught:
        read_project(write(tmp_path, a=f"assets: [{assets}]"), task_types=["q"])
    first, second = caught.value.problems
    assert first.message.startswith("the asset key 'a b' has characters that Dagster does not")
    assert second.message.startswith("the asset key 'a/b*' has")


def test_a_key_below_a_load_passes_until_its_tables_are_known(tmp_path):
    query = "{asset_key: q, task_type: duckdb_query, depends_on: [github/isues]}"
    root = write(tmp_path, a=LOAD, b=f"assets: [{query}]")
    files = read_project(root)
    known = {"github", "github/issues", "github/issues__labels", "q"}
    (found,) = unknown_references(files, known)
    assert str(found.problem(known)) == (
        "workflows/b.yaml:1:63: there is no asset 'github/isues'. Did you mean 'github/issues' or "
        "'github/issues__labels' or 'github'? Assets that are not in these files go into `deps`."
    )


def test_a_broken_file_hides_no_mistake_of_others_and_makes_none(tmp_path):
    root = write(
        tmp_path,
        a="assets: [",
        b="assets: [{asset_key: q, task_type: duckdb_query, depends_on: [a], tag: {}}]",
    )
    found = problems(root)
    assert len(found) == 2
    assert found[0].startswith("workflows/a.yaml:1:10: this is not YAML: ")
    assert found[1] == (
        "workflows/b.yaml:1:67: there is no field 'tag' here. Did you mean 'tags' or 'op_tags'?"
    )


def test_tasks_and_kinds_of_the_project_are_known(tmp_path):
    root = write(
        tmp_path,
        config="resources: [{resource_kind: api, params: {url: x}}, {resource_kind: my.Api}]",
        a="""\
        assets:
          - {asset_key: a, task_type: export, params: {x: "{{resource.api.port}}"}}
          - {asset_key: b, task_type: my.tasks.Export}
        """,
    )
    assert read_project(root, task_types=["export"], resource_kinds=["api"])
    assert problems(root, resource_kinds=["api"]) == [
        "workflows/a.yaml:2:31: there is no task 'export'. There is: dlt, duckdb_query."
    ]


def test_parameters_of_resources_are_known_variables(tmp_path):
    root = write(
        tmp_path,
        config=CONFIG,
        a="""\
        assets:
          - {asset_key: a, task_type: duckdb_query, params: {query: "{{resource.duckdb.path}}"}}
        """,
    )
    (found,) = problems(root)
    assert found.startswith(
        "workflows/a.yaml:2:61: there is no variable '{{resource.duckdb.path}}'. Did you mean "
        "'resource.duckdb.database_path'?"
    )


def test_reading_imports_neither_dlt_nor_dagster(tmp_path):
    root = write(tmp_path, config=CONFIG, github=WORKFLOW)
    code = (
        "import sys; from loadsmith.config.files import read_project; import loadsmith.resolve;"
        f"read_project({str(root)!r});"
        "sys.exit(sum(name in sys.modules for name in ('dlt', 'dagster')))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_never_ends_in_a_traceback(tmp_path, data):
    suffix = data.draw(st.sampled_from([".yaml", ".json"]))
    whole = DEFAULTS + WORKFLOW
    if suffix == ".json":
        whole = json.dumps(yaml.safe_load(whole), default=str)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, min(len(whole), begin + 40)))
    pieces = ["", "{{", "- ", ": ", "\t", "&a ", "*a", "[", "}", "!!float x", "\n", "'", "\ud83d"]
    damage = data.draw(st.one_of(st.sampled_from(pieces), st.text(max_size=8)))
    raw = (whole[:begin] + damage + whole[end:]).encode("utf-8", "surrogatepass")
    root = write(tmp_path, config=CONFIG)
    for old in (root / "workflows").iterdir():
        old.unlink()
    (root / f"workflows/w{suffix}").write_bytes(raw)
    with suppress(ConfigError):
        assert isinstance(read_project(root), ProjectFiles)


def members(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the paths of all values in a tree."""
    children = enumerate(value) if isinstance(value, list) else ()
    children = value.items() if isinstance(value, dict) else children
    return [path, *(found for key, child in children for found in members(child, (*path, key)))]


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {}, [None], {"x": None}, True, 1.5, ["a"]])
def test_no_value_of_another_type_ends_in_a_traceback(tmp_path, wrong):
    for name, text in {"dagster_config": CONFIG, "workflows/w": DEFAULTS + WORKFLOW}.items():
        tree = json.loads(json.dumps(yaml.safe_load(text), default=str))
        for path in members(tree):
            damaged = json.loads(json.dumps({"root": tree}))
            parent, key = damaged, "root"
            for step in path:
                parent, key = parent[key], step
            parent[key] = wrong
            root = write(tmp_path)
            (root / f"{name}.json").write_text(json.dumps(damaged["root"]))
            with suppress(ConfigError):
                read_project(root)


def test_the_work_of_reading_grows_with_the_size(tmp_path):
    def calls(count: int) -> int:
        entries = [
            f"  - asset_key: s{n // 10}/r{n}\n    task_type: dlt\n    depends_on: []\n"
            f"    params: {{source_module: s, destination: duckdb, source_params: {{a: {n}}}}}\n"
            for n in range(count)
        ]
        root = write(tmp_path / str(count))
        (root / "workflows/w.yaml").write_text("assets:\n" + "".join(entries))
        # What earlier tests have left would be collected, and counted, in either of them.
        gc.collect()
        gc.disable()
        try:
            with cProfile.Profile() as profile:
                assert len(read_project(root).assets) == count
        finally:
            gc.enable()
        return pstats.Stats(profile).total_calls

    calls(10)
    # Eight times the assets; the square would be 64 times the calls.
    assert 7 < calls(1600) / calls(200) < 9
