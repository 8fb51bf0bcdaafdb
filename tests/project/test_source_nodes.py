"""What stands for the source of a load, and which tables it is found to read."""

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest

SERVER = "postgresql://postgres:x@127.0.0.1:5432"

SHOP = """
defaults:
  params:
    destination: duckdb
    destination_params: {database: data/shop.db}
    pipeline_params: {dataset_name: raw}
assets:
  - asset_key: erp/orders
    task_type: dlt
    params:
      source_module: sql_database
      source_params:
        credentials: postgresql://ada:hunter22@db.example.com/erp
        schema: sales
  - asset_key: erp/customers
    task_type: dlt
    params:
      source_module: sql_database
      source_params:
        credentials: postgresql://ada:hunter22@db.example.com/erp
        schema: sales
  - asset_key: crm/deals
    task_type: dlt
    params:
      source_module: crm.source
      source_params: {api_key: tok-4711-secret, region: eu}
"""

CRM = """
import dlt


@dlt.source
def crm(api_key: str = "", region: str = ""):
    @dlt.resource
    def deals():
        dlt.current.resource().add_input({"kind": "crm", "location": f"https://{region}.crm"})
        yield [{"id": 1}]

    return deals
"""


def test_a_source_has_a_description_a_kind_and_its_settings_without_secrets(
    make_project: Callable[..., Any],
) -> None:
    project = make_project(shop=SHOP)
    project.write({"dlt_project/crm/__init__.py": "", "dlt_project/crm/source.py": CRM})
    project.build()
    erp, crm = project.spec("erp"), project.spec("crm")
    assert erp.description == "What `sql_database` reads: orders, customers"
    assert erp.kinds == {"postgres"}
    assert erp.metadata["source_settings"].value == {
        "sql_database": {"credentials": "***", "schema": "sales"}
    }
    assert crm.description == "What `crm.source` reads: deals"
    assert crm.kinds == {"crm"}
    assert crm.metadata["source_settings"].value == {
        "crm.source": {"api_key": "***", "region": "eu"}
    }


def test_a_source_says_what_the_last_run_read(make_project: Callable[..., Any]) -> None:
    project = make_project(shop=SHOP)
    project.write({"dlt_project/crm/__init__.py": "", "dlt_project/crm/source.py": CRM})
    project.build()
    assert "inputs" not in project.spec("crm").metadata
    project.run("crm/deals")
    project.build()
    (record,) = project.spec("crm").metadata["inputs"].records
    assert record.data == {"kind": "crm", "location": "https://eu.crm", "read": ""}


@pytest.fixture
def database() -> Iterator[str]:
    name = f"loadsmith_sources_{uuid.uuid4().hex[:12]}"
    try:
        server = psycopg.connect(f"{SERVER}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        if os.environ.get("LOADSMITH_REQUIRE_SERVICES"):
            raise
        pytest.skip("needs PostgreSQL on 127.0.0.1:5432")
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


COPY = """
assets:
  - asset_key: crm/deals
    task_type: dlt
    params:
      source_module: crm.source
      destination: postgres
      destination_params: {credentials: DATABASE}
      pipeline_params: {dataset_name: raw}
  - asset_key: lake/deals
    task_type: dlt
    params:
      source_module: sql_database
      source_params: {credentials: DATABASE, schema: raw}
      destination: duckdb
      destination_params: {database: data/shop.db}
      pipeline_params: {dataset_name: copied}
"""


def parents(project: Any, key: str) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in project.spec(key).deps}


@pytest.mark.postgres
def test_a_table_that_another_load_writes_is_upstream_once_a_run_has_seen_it(
    make_project: Callable[..., Any], database: str
) -> None:
    project = make_project(shop=COPY.replace("DATABASE", database))
    project.write({"dlt_project/crm/__init__.py": "", "dlt_project/crm/source.py": CRM})
    project.build()
    assert parents(project, "lake/deals") == {"lake"}
    project.run("crm/deals")
    result = project.run("lake/deals")
    project.build()
    assert parents(project, "lake/deals") == {"lake", "crm/deals"}
    assert parents(project, "crm/deals") == {"crm"}
    assert project.spec("lake").kinds == {"postgres"}
    assert "postgres:x" not in str(project.spec("lake"))
    # From now on the columns come from the table itself.
    again = project.run("lake/deals")
    lineage = project.metadata(again)["lake/deals"]["dagster/column_lineage"].deps_by_column
    assert lineage["id"] == [dg.TableColumnDep(dg.AssetKey(["crm", "deals"]), "id")]
    before = project.metadata(result)["lake/deals"]["dagster/column_lineage"].deps_by_column
    assert before["id"] == [dg.TableColumnDep(dg.AssetKey(["lake"]), "deals.id")]
