"""The models of the files: what they take, and that they keep up with dlt."""

import inspect
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from loadsmith.config.load_params import LoadParams, PipelineParams, RunParams
from loadsmith.config.models import json_schema
from loadsmith.config.partition_params import PartitionParams
from loadsmith.config.references import destination_problem
from loadsmith.config.settings import AssetSettings, ResourceOpSettings
from loadsmith.dlt_names import destination_names
from loadsmith.model import OpSettings

# What the load itself says, and what dlt keeps for its own use.
NOT_FOR_RUN = {"self", "data", "destination", "dataset_name", "schema"}
NOT_FOR_PIPELINE = {"destination", "full_refresh", "_impl_cls", "injection_kwargs"}


def test_run_params_are_the_arguments_of_dlts_run():
    from dlt import Pipeline

    names = set(inspect.signature(Pipeline.run).parameters) - NOT_FOR_RUN
    assert set(RunParams.model_fields) == names | {"merge_key"}


def test_pipeline_params_are_the_arguments_of_dlts_pipeline():
    import dlt

    names = set(inspect.signature(dlt.pipeline).parameters) - NOT_FOR_PIPELINE
    assert set(PipelineParams.model_fields) == names


def test_destination_names_are_those_of_dlt():
    import dlt.destinations

    assert set(destination_names()) - {"sqlite"} == {
        name for name in destination_names() if hasattr(dlt.destinations, name)
    }
    assert {"duckdb", "postgres", "bigquery", "filesystem"} <= set(destination_names())


def test_a_dotted_destination_and_one_in_a_variable_are_left_to_the_run():
    assert destination_problem("my_project.sinks.sink") is None
    assert destination_problem("{{env.DESTINATION}}") is None
    assert destination_problem("dukdb") == (
        "there is no destination 'dukdb'. Did you mean 'duckdb'?"
    )


def test_every_field_of_the_json_schema_has_a_description():
    def missing(name: str, schema: dict[str, Any]) -> list[str]:
        return [
            f"{name}.{field}"
            for field, entry in schema.get("properties", {}).items()
            if not entry.get("description")
        ]

    for kind in ("workflow", "config"):
        schema = json_schema(kind)
        assert missing(kind, schema) == []
        for name, entry in schema["$defs"].items():
            assert missing(name, entry) == []
            assert entry["additionalProperties"] is False


def test_there_is_no_json_schema_of_another_kind():
    with pytest.raises(ValueError, match="no file of the kind 'x'"):
        json_schema("x")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"schedule_type": "HOURLY", "start": "2024-01-01-00:00"}, "hourly"),
        ({"type": "monthly", "start": "2024-01"[:7] + "-01"}, "monthly"),
        ({"cron_schedule": "0 6 * * 1-5", "start": "2024-01-01"}, "cron"),
        ({"keys": ["a", 1]}, "static"),
        ({"name": "customers"}, "dynamic"),
        ({"schedule_type": "DAILY", "start": "01.02.2024", "fmt": "%d.%m.%Y"}, "daily"),
        (
            {
                "dimensions": {
                    "day": {"type": "daily", "start": "2024-01-01"},
                    "country": {"keys": ["de"]},
                }
            },
            "multi",
        ),
    ],
)
def test_all_kinds_of_partitions_are_taken(written, kind):
    assert PartitionParams.model_validate(written).to_settings().kind == kind


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "nothing says which partitions these are"),
        ({"schedule_type": "DAILY"}, "daily partitions need `start`"),
        ({"type": "static"}, "static partitions need `keys`"),
        ({"type": "cron", "start": "2024-01-01"}, "cron partitions need `cron_schedule`"),
        (
            {"type": "daily", "start": "2024-01-01", "cron_schedule": "@daily"},
            "daily partitions take no `cron_schedule`",
        ),
        ({"type": "daily", "schedule_type": "WEEKLY", "start": "2024-01-01"}, "contradict"),
        ({"dimensions": {"a": {"keys": ["x"]}}}, "takes two partitions, not 1"),
        (
            {"schedule_type": "DAILY", "start": "2024-01-01", "day_offset": 2},
            "daily partitions take no `day_offset`",
        ),
        (
            {"schedule_type": "WEEKLY", "start": "2024-01-01", "day_offset": 9},
            "a week has the days 0",
        ),
        (
            {"schedule_type": "WEEKLY", "start": "2024-01-01", "end": "2023-01-01"},
            "`end` is not after `start`",
        ),
    ],
)
def test_partitions_that_cannot_be_are_refused(written, message):
    with pytest.raises(ValidationError, match=message):
        PartitionParams.model_validate(written)


def test_a_load_needs_a_destination_in_each_profile_or_for_all():
    with pytest.raises(ValidationError, match=r"there is no `destination`. Add one"):
        LoadParams(source_module="s")
    with pytest.raises(ValidationError, match="in the profile 'prod'"):
        LoadParams.model_validate(
            {"source_module": "s", "profiles": {"dev": {"destination": "duckdb"}, "prod": {}}}
        )


def test_settings_become_attributes_and_op_settings():
    settings = AssetSettings.model_validate(
        {
            "owners": "team:data",
            "checks": ["primary_key"],
            "pool": "api",
            "retry_policy": {"max_retries": 2, "delay": 5, "backoff": "exponential"},
        }
    )
    assert settings.to_attributes().owners == ("team:data",)
    assert settings.to_attributes().checks == {"primary_key": {}}
    assert settings.to_op_settings().pool == "api"
    assert settings.to_op_settings().retry_backoff == "exponential"


def test_a_resource_has_its_op_settings_over_those_of_the_load():
    of_load = OpSettings(pool="api", op_tags={"team": "data"}, max_retries=3)
    settings = ResourceOpSettings.model_validate({"op_tags": {"size": "large"}})
    assert settings.own_op(of_load) == replace(of_load, op_tags={"team": "data", "size": "large"})
    assert ResourceOpSettings.model_validate({"kinds": "table"}).own_op(of_load) is None


def test_partitions_of_a_backfill_are_no_setting_of_a_resource():
    with pytest.raises(ValidationError, match="max_partitions_per_run"):
        ResourceOpSettings.model_validate({"max_partitions_per_run": 2})


def test_an_unknown_check_names_the_near_one():
    with pytest.raises(
        ValidationError, match=r"no check 'primarykey'\. Did you mean 'primary_key'"
    ):
        ResourceOpSettings.model_validate({"checks": ["primarykey"]})
