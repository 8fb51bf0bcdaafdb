"""A small project on disk: one source with nested tables, and whatever files a test adds."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loadsmith import build_definitions

SOURCE = """
import os

import dlt


@dlt.source(name="shop")
def shop(since: str = "never", rows: int = 2, token: str = "none"):
    @dlt.resource(name="orders", write_disposition="append", primary_key="id")
    def orders():
        for number in range(rows):
            yield {"id": number, "since": since, "items": [{"sku": "a"}, {"sku": "b"}]}

    @dlt.resource(name="orders_archive", write_disposition="replace")
    def orders_archive():
        yield {"id": 7, "notes": [{"text": "x"}]}

    @dlt.resource(name="people", table_name="humans", write_disposition="replace")
    def people():
        yield {"id": 1, "name": "Ada", "born": "1815-12-10"}

    return orders, orders_archive, people
"""

SCHEMA = """
name: shop
version: 1
version_hash: none
engine_version: 11
tables:
  orders:
    resource: orders
    columns:
      id: {data_type: bigint, nullable: false, primary_key: true}
      since: {data_type: text}
  orders__items:
    parent: orders
    columns:
      sku: {data_type: text}
  orders_archive:
    resource: orders_archive
    columns:
      id: {data_type: bigint}
  orders_archive__notes:
    parent: orders_archive
    columns:
      text: {data_type: text}
  humans:
    resource: people
    columns:
      id: {data_type: bigint}
"""

CONFIG = """
resources:
  - resource_kind: dlt
    params:
      project_dir: dlt_project
      pipelines_dir: .pipelines
  - resource_kind: duckdb
    params:
      database_path: data/shop.db
"""

LOAD = (
    "source_module: shop.source, schema_file_path: schemas/export/shop.schema.yaml, "
    "destination: duckdb, destination_params: {database: data/shop.db}, "
    "pipeline_params: {dataset_name: shop_data}"
)
"""Stands for `LOAD` in the files of a test."""


@dataclass
class Project:
    """A project folder, and what can be done with it."""

    folder: Path
    instance: dg.DagsterInstance
    definitions: dg.Definitions | None = field(default=None)

    @property
    def path(self) -> Path:
        return self.folder / "odp_config"

    def write(self, files: Mapping[str, str]) -> "Project":
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                textwrap.dedent(text).strip().replace("LOAD", LOAD) + "\n", encoding="utf-8"
            )
        return self

    def build(self) -> dg.Definitions:
        self.definitions = build_definitions(self.path)
        return self.definitions

    def asset_keys(self) -> set[str]:
        assert self.definitions is not None
        return {spec.key.to_user_string() for spec in self.definitions.resolve_all_asset_specs()}

    def spec(self, key: str) -> dg.AssetSpec:
        assert self.definitions is not None
        return next(
            spec
            for spec in self.definitions.resolve_all_asset_specs()
            if spec.key.to_user_string() == key
        )

    def run(self, *selection: str, partition_key: str | None = None, fails: bool = False) -> Any:
        assert self.definitions is not None
        result = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey.from_user_string(key) for key in selection] or None,
            partition_key=partition_key,
            raise_on_error=False,
        )
        assert result.success is not fails, failure_of(result)
        return result

    def metadata(self, result: Any) -> dict[str, dict[str, Any]]:
        return {
            event.asset_key.to_user_string(): {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        import duckdb

        with duckdb.connect(str(self.folder / "data/shop.db"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def failure_of(result: Any) -> str:
    return "\n".join(
        event.event_specific_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure
    )


@pytest.fixture
def make_project(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., Project]:
    def make(name: str = "project", **files: str) -> Project:
        project = Project(tmp_path / name, instance)
        return project.write(
            {
                "dlt_project/shop/__init__.py": "",
                "dlt_project/shop/source.py": SOURCE,
                "dlt_project/schemas/export/shop.schema.yaml": SCHEMA,
                "odp_config/dagster_config.yaml": CONFIG,
                **{f"odp_config/workflows/{name}.yaml": text for name, text in files.items()},
            }
        )

    return make
