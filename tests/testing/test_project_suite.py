"""`build_project_tests`, on the demo and on projects that break a promise."""

from pathlib import Path

import pytest

from loadsmith.testing import build_project_tests

DEMO = Path(__file__).parents[2] / "examples" / "demo"

TestDemo = build_project_tests(DEMO / "odp_config")

WORKFLOW_FILE = "odp_config/workflows/shop.yaml"

SOURCE = """
import dlt


@dlt.source
def shop():
    @dlt.resource(write_disposition="merge")
    def orders():
        yield {"id": 1, "items": [{"sku": "a"}]}

    return orders
"""

WORKFLOW = """
assets:
  - asset_key: shop/orders
    task_type: dlt
    params:
      source_module: shop.source
      destination: duckdb
      schema_file_path: shop.schema.yaml
      run_params: {primary_key: id}
"""

SCHEMA = """
version: 1
engine_version: 11
name: shop
tables:
  orders:
    resource: orders
    columns:
      id: {data_type: bigint}
settings: {}
normalizers:
  names: snake_case
  json: {module: dlt.common.normalizers.json.relational}
"""


@pytest.fixture
def project(tmp_path):
    for name, text in {
        "odp_config/dagster_config.yaml": (
            "resources:\n  - {resource_kind: dlt, params: {project_dir: code}}\n"
        ),
        WORKFLOW_FILE: WORKFLOW,
        "code/shop/source.py": SOURCE,
        "code/shop.schema.yaml": SCHEMA,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def suite(project, **settings):
    return build_project_tests(project / "odp_config", **settings)()


def change(project, name, before, after):
    path = project / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_sound_project_passes_and_its_merge_doubles_nothing(project):
    tests = suite(project, runs_sources=True)
    tests.test_files_have_no_mistakes()
    tests.test_definitions_need_neither_network_nor_secret_nor_disk()
    tests.test_dagster_takes_all_definitions()
    tests.test_every_asset_has_a_key_of_its_own()
    tests.check_second_load("shop/orders")


def test_each_load_is_a_test_of_its_own(project):
    made = build_project_tests(project / "odp_config", runs_sources=True)
    (mark,) = made.test_loading_twice_doubles_nothing.pytestmark
    assert mark.args == ("asset_key", ["shop/orders"])


def test_a_mistake_is_shown_with_its_line(project):
    change(project, WORKFLOW_FILE, "destination: duckdb", "destinaton: duckdb")
    with pytest.raises(AssertionError, match=r"shop\.yaml:7:7: .*destinaton"):
        suite(project).test_files_have_no_mistakes()


def test_a_project_with_mistakes_is_collected_all_the_same(project):
    change(project, WORKFLOW_FILE, "assets:", "asets:")
    made = build_project_tests(project / "odp_config", runs_sources=True)
    assert made.test_loading_twice_doubles_nothing.pytestmark[0].args == ("asset_key", [])


def test_a_schema_file_that_the_source_has_outgrown_fails(project):
    with pytest.raises(AssertionError, match="orders__items"):
        suite(project, runs_sources=True).check_schema_file("shop/orders")


def test_a_merge_without_a_key_that_doubles_rows_fails(project):
    change(project, WORKFLOW_FILE, "      run_params: {primary_key: id}\n", "")
    with pytest.raises(AssertionError, match="orders: 1 rows after the first load and 2"):
        suite(project, runs_sources=True).check_second_load("shop/orders")


def test_appended_rows_may_be_there_again(project):
    change(project, WORKFLOW_FILE, "primary_key: id", "write_disposition: append")
    suite(project, runs_sources=True).check_second_load("shop/orders")


def test_a_source_that_fails_says_so_without_a_traceback(project):
    change(
        project, "code/shop/source.py", "yield {", "raise OSError('no such shop')\n        yield {"
    )
    with pytest.raises(AssertionError, match="no such shop"):
        suite(project, runs_sources=True).check_second_load("shop/orders")


def test_definitions_that_ask_the_network_are_found(project):
    (project / "code" / "shop.schema.yaml").unlink()
    change(project, WORKFLOW_FILE, "      schema_file_path: shop.schema.yaml\n", "")
    (project / "exports.py").write_text(
        "import socket\n"
        "from loadsmith import Task\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n"
        "from pathlib import Path\n"
        "(Path(__file__).parent / 'left_behind.txt').touch()\n"
        "class Export(Task):\n"
        "    def run(self, context): pass\n"
    )
    workflow = project / "odp_config" / "workflows" / "export.yaml"
    workflow.write_text("assets:\n  - {asset_key: export, task_type: exports.Export}\n")
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1") as caught:
        suite(project).test_definitions_need_neither_network_nor_secret_nor_disk()
    assert "left_behind.txt" in str(caught.value)
