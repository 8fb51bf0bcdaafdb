"""Tags of an op for Celery and Kubernetes: those of a resource are merged into its load's."""

from typing import Any

import dagster as dg
import dlt
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTree
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    construct_dagster_k8s_job,
    get_user_defined_k8s_config,
)

from loadsmith import (
    ConfigurableDltResource,
    DagsterDltFactory,
    DltLoadCollectionComponent,
    DltLoadSpecModel,
    build_definitions,
)

LOAD = {
    "dagster-celery/queue": "loads",
    "dagster-celery/priority": 3,
    "dagster-k8s/config": {
        "container_config": {
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
            "volume_mounts": [{"name": "work", "mount_path": "/var/lib/loads"}],
        },
        "pod_spec_config": {
            "node_selector": {"disk": "ssd"},
            "termination_grace_period_seconds": 120,
            "volumes": [{"name": "work", "empty_dir": {}}],
        },
    },
}

RESOURCE = {
    "dagster-celery/queue": "heavy",
    "dagster-k8s/config": {
        "container_config": {"resources": {"requests": {"memory": "8Gi"}}},
        "pod_spec_config": {
            "node_selector": {"size": "large"},
            "volumes": [
                {"name": "work", "empty_dir": {}},
                {"name": "cache", "empty_dir": {}},
            ],
        },
    },
}

SOURCE = """
import dlt

@dlt.source
def crm():
    return [dlt.resource([{"id": 1}], name=name) for name in ("people", "deals")]
"""


def of_project(folder: Any) -> dg.Definitions:
    home = folder / "odp_config"
    (home / "workflows").mkdir(parents=True)
    (folder / "crm_of_op_tags.py").write_text(SOURCE)
    resources = [{"resource_kind": "dlt", "params": {"project_dir": "."}}]
    (home / "dagster_config.yaml").write_text(yaml.safe_dump({"resources": resources}))
    entry = {
        "asset_key": "crm/all",
        "task_type": "dlt",
        "op_tags": LOAD,
        "params": {
            "source_module": "crm_of_op_tags",
            "resources": ["people", "deals"],
            "destination": "duckdb",
        },
        "resource_settings": {"deals": {"op_tags": RESOURCE}},
    }
    (home / "workflows" / "crm.yaml").write_text(yaml.safe_dump({"assets": [entry]}))
    return build_definitions(home)


def of_component(folder: Any) -> dg.Definitions:
    (folder / "crm_of_component.py").write_text(SOURCE)
    load = DltLoadSpecModel(
        name="crm",
        source_module="crm_of_component",
        destination="duckdb",
        resources=["people", "deals"],
        op_tags=LOAD,
        resource_settings={"deals": {"op_tags": RESOURCE}},
    )
    component = DltLoadCollectionComponent(loads=[load])
    return component.build_defs(ComponentTree.for_test().load_context)


def of_factory(_folder: Any) -> dg.Definitions:
    def resource(name: str, **meta: Any) -> ConfigurableDltResource:
        @dlt.resource(name=f"crm.{name}")
        def rows() -> Any:
            yield {"id": 1}

        return ConfigurableDltResource.config(rows, meta={"dagster": meta})

    return DagsterDltFactory.build_definitions(
        [resource("people"), resource("deals", op_tags=RESOURCE)],
        dlt.destinations.duckdb("crm.duckdb"),
        op_tags=LOAD,
    )


@pytest.mark.parametrize("build", [of_project, of_component, of_factory])
def test_op_tags_of_a_resource_are_merged_deeply_into_those_of_its_load(
    build: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    graph = build(tmp_path).resolve_asset_graph()
    ops: dict[str, Any] = {
        key.path[-1]: graph.get(key).assets_def.op for key in graph.materializable_asset_keys
    }
    assert ops["people"].tags["dagster-celery/queue"] == "loads"
    assert ops["deals"].tags["dagster-celery/queue"] == "heavy"
    assert ops["deals"].tags["dagster-celery/priority"] == "3"
    template = pod_of(ops["deals"].tags)
    (container,) = template["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "8Gi"}
    assert [mount["name"] for mount in container["volumeMounts"]] == ["work"]
    assert template["spec"]["nodeSelector"] == {"disk": "ssd", "size": "large"}
    assert template["spec"]["terminationGracePeriodSeconds"] == 120
    assert [volume["name"] for volume in template["spec"]["volumes"]] == ["work", "cache"]
    people = pod_of(ops["people"].tags)["spec"]
    assert people["nodeSelector"] == {"disk": "ssd"}


def pod_of(tags: Any) -> dict[str, Any]:
    """Render the pod of a step as dagster-k8s does."""
    job = construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(job_image="shop:1", dagster_home="/dagster"),
        args=["dagster", "api", "execute_step"],
        job_name="step",
        user_defined_k8s_config=get_user_defined_k8s_config(tags),
    )
    import kubernetes

    rendered = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return rendered["spec"]["template"]
