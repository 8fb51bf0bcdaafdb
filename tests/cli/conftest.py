"""Projects that the command line is tried on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadsmith.cli import cli

SOURCE = """
import dlt


@dlt.source
def shop(day: str = "", count: int = 3):
    @dlt.resource
    def orders():
        for number in range(count):
            yield {"id": number, "day": day, "items": [{"product": "a"}, {"product": "b"}]}

    @dlt.resource
    def customers():
        yield [{"id": 1, "name": "Ada"}]

    return orders, customers
"""

CONFIG = """
resources:
  - resource_kind: dlt
    params:
      project_dir: dlt_project
      pipelines_dir: data/pipelines
"""

WORKFLOW = """
defaults:
  group_name: shop
  params:
    schema_file_path: schemas/shop.schema.yaml
    destination: duckdb
    destination_params: {database: data/warehouse.duckdb}
    pipeline_params: {dataset_name: raw}
assets:
  - {asset_key: shop/orders, task_type: dlt, params: {source_module: shop.source}}
  - {asset_key: shop/customers, task_type: dlt, params: {source_module: shop.source}}
jobs:
  - job_id: refresh
    asset_selection: [shop/orders]
    triggers:
      - trigger_id: refresh_daily
        trigger_type: schedule
        params: {schedule_kind: cron, schedule_params: {cron_schedule: "0 6 * * *"}}
"""

SCHEMA = """
version: 1
engine_version: 11
name: shop
tables:
  customers:
    resource: customers
    columns:
      id: {data_type: bigint}
      name: {data_type: text}
  orders:
    resource: orders
    columns:
      id: {data_type: bigint}
  orders__items:
    parent: orders
    columns:
      product: {data_type: text}
settings: {}
normalizers:
  names: snake_case
  json:
    module: dlt.common.normalizers.json.relational
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the machine decide which project or instance is meant."""
    for name in ("DAGSTER_HOME", "ODP_CONFIG_PATH", "LOADSMITH_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two resources and a nested table; the working directory is in it."""
    folder = tmp_path / "project"
    for name, text in {
        "odp_config/dagster_config.yaml": CONFIG,
        "odp_config/workflows/shop.yaml": WORKFLOW,
        "dlt_project/shop/__init__.py": "",
        "dlt_project/shop/source.py": SOURCE,
        "dlt_project/schemas/shop.schema.yaml": SCHEMA,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run the command line in this process; an exception that is no exit is the test's."""

    def run(*arguments: str, given: str | None = None) -> Result:
        result = CliRunner().invoke(cli, list(arguments), input=given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
