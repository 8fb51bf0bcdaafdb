"""A project's files become assets, and what cannot be built is said with its place."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from loadsmith import build_definitions
from loadsmith.errors import ConfigError

Make = Callable[..., Any]

SHOP = """
assets:
  - asset_key: shop/api/orders
    task_type: dlt
    group_name: sales
    description: What was ordered
    params: {LOAD, source_params: {since: "{{context.run_id}}"}}
"""

TWO = """
assets:
  - asset_key: shop/api/orders
    task_type: dlt
    params: {LOAD}
  - asset_key: shop/api/orders_archive
    task_type: dlt
    group_name: archive
    params: {LOAD}
"""


def test_the_tables_of_a_load_are_read_from_its_schema_file(make_project: Make) -> None:
    project = make_project(shop=SHOP)
    project.build()
    assert project.asset_keys() == {"shop/api", "shop/api/orders", "shop/api/orders__items"}
    spec = project.spec("shop/api/orders__items")
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["shop/api/orders"]
    assert spec.group_name == "sales"


def test_the_prefix_is_an_external_asset_and_there_once(make_project: Make) -> None:
    project = make_project(shop=TWO)
    graph = project.build().resolve_asset_graph()
    external = [key.to_user_string() for key in graph.external_asset_keys]
    assert external == ["shop/api"]


def test_assets_of_one_source_are_one_op_and_keep_their_own_settings(make_project: Make) -> None:
    project = make_project(shop=TWO)
    definitions = project.build()
    ops = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    assert len(ops) == 1
    assert project.spec("shop/api/orders").group_name == "default"
    assert project.spec("shop/api/orders_archive").group_name == "archive"


def test_an_asset_links_to_the_lines_that_describe_it(make_project: Make) -> None:
    project = make_project(shop=TWO)
    project.build()
    found = project.spec("shop/api/orders_archive__notes").metadata["dagster/code_references"]
    reference = found.code_references[0]
    assert reference.file_path == str(project.path / "workflows/shop.yaml")
    assert reference.line_number == 5


def test_a_run_loads_the_tables_and_fills_in_its_variables(make_project: Make) -> None:
    project = make_project(shop=SHOP)
    project.build()
    result = project.run()
    metadata = project.metadata(result)
    assert metadata["shop/api/orders"]["rows_loaded"] == 2
    assert metadata["shop/api/orders__items"]["rows_loaded"] == 4
    assert project.rows("select distinct since from shop_data.orders") == [(result.run_id,)]


def test_a_nested_table_can_be_selected_alone(make_project: Make) -> None:
    project = make_project(shop=TWO)
    project.build()
    metadata = project.metadata(project.run("shop/api/orders__items"))
    assert metadata["shop/api/orders__items"]["rows_loaded"] == 4
    assert "shop/api/orders_archive" not in metadata


def test_a_table_with_a_name_of_its_own_is_named_by_the_table(make_project: Make) -> None:
    project = make_project(
        shop="""
        assets:
          - asset_key: shop/api/people
            task_type: dlt
            params: {LOAD}
          - asset_key: names
            task_type: duckdb_query
            depends_on: [shop/api/people]
            params: {query: "select name from {{shop_api_people.destination_table_id}}"}
        jobs:
          - job_id: people
            asset_selection: ["shop/api/people*"]
        """
    )
    project.build()
    assert "shop/api/humans" in project.asset_keys()
    assert [dep.asset_key.to_user_string() for dep in project.spec("names").deps] == [
        "shop/api/humans"
    ]
    assert project.metadata(project.run())["names"]["dagster/row_count"] == 1
    job = project.definitions.resolve_job_def("people")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "shop/api/humans",
        "names",
    }


def test_a_missing_schema_file_is_named_with_what_to_do(make_project: Make) -> None:
    project = make_project(shop=TWO)
    (project.folder / "dlt_project/schemas/export/shop.schema.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        project.build()
    message = str(caught.value)
    assert "Schema file not found at 'schemas/export/shop.schema.yaml'" in message
    assert "export_schema_path" in message
    assert message.startswith("workflows/shop.yaml:4:")


def test_definition_time_needs_neither_dlt_nor_the_source_and_writes_nothing(
    make_project: Make,
) -> None:
    project = make_project(shop=SHOP)
    (project.folder / "dlt_project/shop/source.py").write_text("raise RuntimeError('imported')")
    before = sorted(project.folder.rglob("*"))
    code = (
        "import sys\n"
        "from loadsmith import build_definitions\n"
        f"build_definitions({str(project.path)!r}).resolve_all_asset_specs()\n"
        "assert 'dlt' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(project.folder.rglob("*")) == before


def test_two_projects_in_one_process_never_meet(make_project: Make) -> None:
    first = make_project("first", shop=SHOP)
    second = make_project("second", shop=TWO)
    source = second.folder / "dlt_project/shop/source.py"
    source.write_text(source.read_text().replace("rows: int = 2", "rows: int = 5"))
    path = list(sys.path)
    first.build()
    second.build()
    one, two = first.run("shop/api/orders"), second.run("shop/api/orders")
    assert first.metadata(one)["shop/api/orders"]["rows_loaded"] == 2
    assert second.metadata(two)["shop/api/orders"]["rows_loaded"] == 5
    assert sys.path == path


def test_the_environment_names_the_folder_where_the_call_does_not(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(shop=SHOP)
    monkeypatch.setenv("ODP_CONFIG_PATH", str(project.path))
    assert build_definitions().resolve_all_asset_specs()
    monkeypatch.delenv("ODP_CONFIG_PATH")
    with pytest.raises(ConfigError, match="ODP_CONFIG_PATH"):
        build_definitions()


def test_a_name_that_leads_nowhere_is_found_once_the_tables_are_known(make_project: Make) -> None:
    project = make_project(
        shop="""
        assets:
          - asset_key: shop/api/orders
            task_type: dlt
            params: {LOAD}
          - asset_key: counts
            task_type: duckdb_query
            depends_on: [shop/api/orders__item]
            params: {query: select 1}
        """
    )
    with pytest.raises(ConfigError, match=r"shop.yaml:7.*Did you mean 'shop/api/orders__items'"):
        project.build()


def test_two_loads_by_one_pipeline_name_have_ops_of_their_own(make_project: Make) -> None:
    project = make_project(
        shop="""
        assets:
          - asset_key: shop/api/orders
            task_type: dlt
            params: {LOAD}
          - asset_key: shop/api/orders_archive
            task_type: dlt
            params: {LOAD, source_params: {rows: 3}}
          - asset_key: shop/api_orders
            task_type: duckdb_query
            params: {query: select 1}
        """
    )
    project.build()
    metadata = project.metadata(project.run())
    assert {"shop/api/orders", "shop/api/orders_archive", "shop/api_orders"} <= set(metadata)
