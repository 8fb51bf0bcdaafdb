"""Ask 13: pool, retries and op tags of one resource, which give it an op of its own."""

from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTree

from loadsmith import DltLoadCollectionComponent, DltLoadSpecModel, build_definitions
from loadsmith.errors import ConfigError

OWN = {"pool": "slow", "op_tags": {"size": "large"}, "retry_policy": {"max_retries": 2}}
SOURCE = """
import dlt

@dlt.source
def crm():
    rows = [{"id": 1}]
    return [
        dlt.resource(rows, name=name, write_disposition="append")
        for name in ("people", "firms", "deals")
    ]
"""


def load_of(op: str) -> str:
    return op.removeprefix("dlt_assets_")


def ops_of(defs: dg.Definitions) -> dict[str, Any]:
    """Return the assets, the pool, the tags and the retries of the op of each load."""
    graph = defs.resolve_asset_graph()
    found: dict[str, Any] = {}
    for key in sorted(graph.materializable_asset_keys):
        op: Any = graph.get(key).assets_def.op
        retries = op.retry_policy.max_retries if op.retry_policy else 0
        told = found.setdefault(load_of(op.name), ([], op.pool, op.tags.get("size"), retries))
        told[0].append(key.path[-1])
    return found


def project_of(home: Path, database: Path, **resource_settings: Any) -> dg.Definitions:
    (home / "workflows").mkdir(parents=True)
    (home / "crm_of_thirteen.py").write_text(SOURCE)
    config = {"resources": [{"resource_kind": "dlt", "params": {"project_dir": str(home)}}]}
    (home / "dagster_config.yaml").write_text(yaml.safe_dump(config))
    entry = {
        "asset_key": "crm/all",
        "task_type": "dlt",
        "op_tags": {"team": "crm"},
        "params": {
            "source_module": "crm_of_thirteen",
            "resources": ["people", "firms", "deals"],
            "destination": "duckdb",
            "destination_params": {"database": str(database)},
            "pipeline_params": {"dataset_name": "ds"},
        },
        "resource_settings": resource_settings,
    }
    (home / "workflows" / "crm.yaml").write_text(yaml.safe_dump({"assets": [entry]}))
    return build_definitions(home)


def component_of(pipeline: Any, **resource_settings: Any) -> dg.Definitions:
    @dlt.source(name="crm")
    def crm() -> Any:
        return [dlt.resource([{"id": 1}], name=name) for name in ("people", "firms", "deals")]

    load = DltLoadSpecModel(
        source=crm(), pipeline=pipeline, name="crm_all", resource_settings=resource_settings
    )
    component = DltLoadCollectionComponent(loads=[load])
    return component.build_defs(ComponentTree.for_test().load_context)


@pytest.mark.parametrize("door", ["project", "component"])
def test_ask_13_a_resource_has_an_op_of_its_own_where_its_op_is_run_in_another_way(
    shop: Any, tmp_path: Path, door: str
) -> None:
    if door == "project":
        defs = project_of(tmp_path / "odp_config", shop.database, firms=OWN, deals=OWN)
    else:
        defs = component_of(shop.pipeline, firms=OWN, deals=OWN)
    assert ops_of(defs) == {
        "crm_all_1": (["people"], None, None, 0),
        "crm_all__firms": (["deals", "firms"], "slow", "large", 2),
    }
    job = defs.resolve_implicit_global_asset_job_def()
    for _ in range(2):
        assert job.execute_in_process(instance=shop.instance).success
    for table in ("people", "firms", "deals"):
        assert shop.rows(f"SELECT count(*) FROM ds.{table}") == [(2,)]


def test_ask_13_what_a_resource_does_not_say_of_its_op_the_load_says(
    shop: Any, tmp_path: Path
) -> None:
    defs = project_of(tmp_path / "odp_config", shop.database, firms={"pool": "slow"})
    graph = defs.resolve_asset_graph()
    ops = {graph.get(key).assets_def.op for key in graph.materializable_asset_keys}
    assert {op.tags.get("team") for op in ops} == {"crm"}
    assert {op.pool for op in ops} == {None, "slow"}


def test_ask_13_a_setting_of_the_op_that_is_none_is_told_with_its_line(
    shop: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"crm\.yaml:\d+:\d+: .*'?pol'?.*pool"):
        project_of(tmp_path / "odp_config", shop.database, firms={"pol": "slow"})
