"""Mistakes that only building finds: told with the others, at their places, without imports."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from loadsmith.engine.sources.find import OWN_SOURCES
from loadsmith.errors import ConfigError
from loadsmith.project.source_files import DLT_SOURCES, source_problem

Make = Callable[..., Any]

PLAIN = "source_module: shop.source, destination: duckdb, destination_params: {database: d.db}"


def problems(project: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        project.build()
    return [f"{found.file}:{found.line}: {found.message}" for found in caught.value.problems]


def test_mistakes_of_all_kinds_are_told_in_one_go(make_project: Make) -> None:
    project = make_project(
        w=f"""
        assets:
          - {{asset_key: a/orders, task_typ: dlt, params: {{{PLAIN}}}}}
          - {{asset_key: b/orders, task_type: dlt, owners: [joe], params: {{{PLAIN}}}}}
          - {{asset_key: c/orders, task_type: dlt, params: {{{PLAIN}, schema_file_path: no.yaml}}}}
          - {{asset_key: q, task_type: duckdb_query, params: {{qury: select 1}}}}
        jobs:
          - {{job_id: j, asset_selection: ["group:"]}}
        """
    )
    found = problems(project)
    assert [line.split(": ")[0] for line in found] == [
        f"workflows/w.yaml:{line}" for line in (2, 3, 4, 5, 7)
    ]
    assert "'task_typ'" in found[0]
    assert "Invalid owner 'joe'" in found[1]
    assert "Translator" not in found[1]
    assert "Schema file not found at 'no.yaml'" in found[2]
    assert "'qury'" in found[3]
    assert "no asset selection" in found[4]


def test_a_misspelled_key_is_told_beside_other_mistakes_but_not_because_of_them(
    make_project: Make,
) -> None:
    project = make_project(
        w=f"""
        assets:
          - {{asset_key: a/orders, task_type: dlt, params: {{{PLAIN}}}}}
          - {{asset_key: b/orders, task_typ: dlt, params: {{{PLAIN}}}}}
        partitions:
          - assets: [a/ordres, b/orders]
            params: {{start: 2024-01-01, schedule_type: WEEKLY, day_offset: 9}}
          - {{assets: [a/ordres], params: {{start: 2024-01-01, schedule_type: DAILY}}}}
        """
    )
    found = "\n".join(problems(project))
    assert "workflows/w.yaml:3: there is no field 'task_typ'" in found
    assert "workflows/w.yaml:6: a week has the days 0" in found
    assert "workflows/w.yaml:7: there is no asset 'a/ordres'. Did you mean 'a/orders'" in found
    assert "b/orders'" not in found.replace("'a/orders' or 'b/orders'", "")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("shop.source", None),
        ("shop.source.shop", None),
        ("shop", None),
        ("rest_api", None),
        ("dlt.sources.filesystem", None),
        ("shop.sorce", "'shop' has no 'sorce'. Did you mean 'source'?"),
        ("shop.source.shp", "'shop.source' has no 'shp'. Did you mean 'shop'?"),
        ("shpo.source", "no such module in 'dlt_project'. Did you mean 'shop.source'"),
        ("a-b", "this is no dotted path"),
    ],
)
def test_a_source_is_looked_for_without_being_imported(
    make_project: Make, module: str, expected: str | None
) -> None:
    project = make_project()
    found = source_problem(module, str(project.folder / "dlt_project"))
    assert found is None if expected is None else expected in str(found)


def test_the_sources_of_dlt_are_known() -> None:
    assert sorted(DLT_SOURCES) == sorted(OWN_SOURCES)


def test_a_load_without_a_schema_file_is_defined_without_asking_its_source(
    make_project: Make,
) -> None:
    project = make_project(
        w=f"assets:\n  - {{asset_key: a/orders, task_type: dlt, params: {{{PLAIN}}}}}"
    )
    source = project.folder / "dlt_project/shop/source.py"
    source.write_text("raise RuntimeError('imported')")
    code = (
        "import sys\n"
        "from loadsmith import build_definitions\n"
        f"specs = build_definitions({str(project.path)!r}).resolve_all_asset_specs()\n"
        "print(sorted(spec.key.to_user_string() for spec in specs), 'dlt' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "['a', 'a/orders'] False\n", done.stderr


def test_patterns_of_resources_need_a_schema_file(make_project: Make) -> None:
    project = make_project(
        w=f"""
        assets:
          - {{asset_key: a/all, task_type: dlt, params: {{{PLAIN}, resources: ['o*']}}}}
          - {{asset_key: a/none, task_type: dlt, params: {{{PLAIN}, resources: []}}}}
        """
    )
    first, second = problems(project)
    assert "not known without a schema file" in first
    assert "no resource is chosen" in second


def test_two_assets_never_have_one_key(make_project: Make) -> None:
    project = make_project(
        w="""
        assets:
          - {asset_key: a/orders, task_type: dlt, params: {LOAD}}
          - {asset_key: a/orders__items, task_type: duckdb_query, params: {query: select 1}}
          - {asset_key: a/x, task_type: dlt, params: {LOAD, resources: [orders], limit: 1}}
        """
    )
    found = "\n".join(problems(project))
    assert "w.yaml:3: 'a/orders__items' is a table of the load 'a/orders'" in found
    assert "w.yaml:4: the table 'a/orders' is made by 'a/orders', too, see" in found


def test_one_partition_and_several_in_a_run_contradict(make_project: Make) -> None:
    project = make_project(
        w="""
        assets:
          - asset_key: q
            task_type: duckdb_query
            max_partitions_per_run: 3
            params: {query: "select '{{context.partition_key}}'"}
        """
    )
    [found] = problems(project)
    assert found.startswith("workflows/w.yaml:4: '{{context.partition_key}}' is one partition, and")


def test_a_task_can_have_a_freshness_check(make_project: Make) -> None:
    project = make_project(
        w="""
        assets:
          - asset_key: q
            task_type: duckdb_query
            freshness_lower_bound_delta_seconds: 60
            params: {query: select 1}
        """
    )
    definitions = project.build()
    [check] = definitions.resolve_asset_graph().asset_check_keys
    assert check.asset_key == dg.AssetKey("q")
    assert definitions.resolve_sensor_def("tasks_freshness")


def test_a_mistake_that_the_run_finds_names_the_lines_of_the_load(make_project: Make) -> None:
    project = make_project(
        w="""
        assets:
          - asset_key: a/orders
            task_type: dlt
            params: {LOAD, source_params: {sinc: 2}}
        """
    )
    project.build()
    failed = project.run(fails=True)
    [failure] = [event for event in failed.all_events if event.is_step_failure]
    text = failure.event_specific_data.user_failure_data.description
    assert text == (
        "workflows/w.yaml:2:5: source 'shop.source': it takes no argument 'sinc'. "
        "Did you mean 'since'?"
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("resources\n  - resource_kind: duckdb\n", "dagster_config.yaml:2: this is not YAML"),
        ("- resource_kind: duckdb\n", "dagster_config.yaml:1: the file has no names at its top"),
        ("resources: [{resource_kind: duckdb, params: {databse_path: x.db}}]", "'databse_path'"),
        ("resources: [{resource_kind: duckdb, params: [x.db]}]", "dagster_config.yaml:1: "),
    ],
)
def test_a_mistake_in_the_resources_is_reported_once_beside_a_task_that_needs_one(
    make_project: Make, config: str, expected: str
) -> None:
    project = make_project(
        w="assets: [{asset_key: q, task_type: duckdb_query, params: {query: select 1}}]"
    )
    project.write({"odp_config/dagster_config.yaml": config})
    (problem,) = problems(project)
    assert expected in problem
