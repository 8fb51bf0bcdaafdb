"""BigQuery and Snowflake as far as they go without an account: everything before the first byte."""

import json
from importlib.util import find_spec

import pytest
import yaml

from loadsmith import build_definitions
from loadsmith.engine.destinations import check_destination, table_locations, traits
from loadsmith.model import DestinationReference

SOURCE = """
import dlt


@dlt.source
def shop():
    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        yield {"id": 1, "items": [{"sku": "a"}]}

    return orders
"""

ACCOUNTS = {
    "bigquery": {"project": "my-project", "dataset": "raw_shop", "location": "EU"},
    "snowflake": {
        "host": "xy12345.eu-central-1",
        "username": "loader",
        "warehouse": "loading",
        "role": "loader",
        "database": "raw",
    },
}


@pytest.fixture
def make_project(tmp_path):
    def make(destination, **params):
        asset = {
            "asset_key": "shop/orders",
            "task_type": "dlt",
            "params": {
                "source_module": "shop.source",
                "destination": destination,
                "destination_params": {**ACCOUNTS[destination], **params},
                "pipeline_params": {"dataset_name": "raw_shop"},
            },
        }
        config = {"resources": [{"resource_kind": "dlt", "params": {"project_dir": "dlt_project"}}]}
        for name, text in {
            "dlt_project/shop/__init__.py": "",
            "dlt_project/shop/source.py": SOURCE,
            "odp_config/dagster_config.yaml": yaml.safe_dump(config),
            "odp_config/workflows/shop.yaml": yaml.safe_dump({"assets": [asset]}),
        }.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return build_definitions(tmp_path / "odp_config")

    return make


@pytest.mark.parametrize("destination", ACCOUNTS)
def test_definitions_need_neither_account_nor_package(make_project, destination):
    (spec,) = (
        spec
        for spec in make_project(destination).resolve_all_asset_specs()
        if spec.key.to_user_string() == "shop/orders"
    )
    assert spec.metadata["destination_name"] == destination
    assert spec.metadata["dataset_name"] == "raw_shop"
    assert {"dlt", destination} <= spec.kinds


@pytest.mark.parametrize(
    ("destination", "wrong", "close"),
    [("bigquery", "locaton", "'location'"), ("snowflake", "warehous", "'warehouse'")],
)
def test_a_misspelled_parameter_is_found_without_an_account(destination, wrong, close):
    reference = DestinationReference(name=destination, params={**ACCOUNTS[destination], wrong: "x"})
    (problem,) = check_destination(reference)
    assert f"takes no parameter {wrong!r}" in problem
    assert close in problem
    assert (
        check_destination(DestinationReference(name=destination, params=ACCOUNTS[destination]))
        == []
    )


def run(definitions, instance):
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    return failure.event_specific_data.error.to_string()


@pytest.mark.skipif(find_spec("snowflake") is not None, reason="snowflake is installed here")
def test_a_package_that_is_missing_is_named_when_the_load_runs(make_project, instance):
    assert "loadsmith[snowflake]" in run(make_project("snowflake", password="x"), instance)


def test_a_password_that_is_missing_is_asked_for_where_it_belongs(make_project, instance):
    pytest.importorskip("google.cloud.bigquery")
    message = run(make_project("bigquery"), instance)
    assert "DESTINATION__BIGQUERY__CREDENTIALS__PRIVATE_KEY" in message
    assert '[destination.bigquery.credentials]\nproject_id = "..."\nprivate_key = "..."' in message


def test_bigquerys_tables_are_named_with_dataset_and_project(tmp_path):
    pytest.importorskip("google.cloud.bigquery")
    import dlt

    from loadsmith.engine.destinations import make_destination

    credentials = {
        "project_id": "my-project",
        "private_key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n",
        "client_email": "loader@my-project.iam.gserviceaccount.com",
    }
    destination = make_destination(
        DestinationReference(name="bigquery", params={"credentials": credentials, "location": "EU"})
    )
    pipeline = dlt.pipeline(
        "bq", destination=destination, dataset_name="raw_shop", pipelines_dir=str(tmp_path / "p")
    )
    pipeline.extract([{"id": 1}], table_name="orders")
    found = table_locations(pipeline, pipeline.default_schema, ["orders"])["orders"]
    assert found.table_id == "raw_shop.orders"
    assert found.qualified_name == "my-project.raw_shop.orders"
    assert traits(destination).loader_file_format is None
    assert "PRIVATE KEY" not in json.dumps(str(found))
