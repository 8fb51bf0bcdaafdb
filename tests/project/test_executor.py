"""The executor of a project: in its file, and in Python."""

from typing import Any

import dagster as dg
import pytest

from loadsmith import build_definitions
from loadsmith.errors import ConfigError

RESOURCES = "resources:\n  - {resource_kind: dlt, params: {project_dir: dlt_project}}\n"


@pytest.fixture
def project(make_project: Any) -> Any:
    return make_project(
        shop="assets:\n  - {asset_key: shop/orders, task_type: dlt, params: {LOAD}}\n"
    )


def write(project: Any, executor: str) -> Any:
    return project.write({"odp_config/dagster_config.yaml": RESOURCES + executor})


def executor_of(defs: dg.Definitions) -> dg.ExecutorDefinition:
    return defs.resolve_implicit_global_asset_job_def().executor_def


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("executor: {name: in_process}", "in_process"),
        ("executor: {name: multiprocess, config: {max_concurrent: 2}}", "multiprocess"),
        ("executor: {name: dagster_celery.celery_executor, config: {broker: {env: B}}}", "celery"),
        ("executor: {name: dagster_k8s.k8s_job_executor}", "k8s"),
    ],
)
def test_the_file_of_a_project_names_what_runs_its_steps(
    project: Any, written: str, name: str
) -> None:
    assert executor_of(write(project, written).build()).name == name


def test_an_executor_that_python_gives_wins_over_that_of_the_file(project: Any) -> None:
    write(project, "executor: {name: multiprocess}")
    defs = build_definitions(project.path, executor=dg.in_process_executor)
    assert executor_of(defs).name == "in_process"
    assert executor_of(build_definitions(project.path)).name == "multiprocess"


def test_a_job_has_an_executor_of_its_own(project: Any) -> None:
    job = "jobs:\n  - {job_id: nightly, asset_selection: shop/orders, executor: {name: EXECUTOR}}\n"
    write(project, "executor: {name: multiprocess}")
    project.write({"odp_config/workflows/jobs.yaml": job.replace("EXECUTOR", "in_process")})
    defs = project.build()
    assert defs.resolve_job_def("nightly").executor_def.name == "in_process"
    assert executor_of(defs).name == "multiprocess"
    project.write({"odp_config/workflows/jobs.yaml": job.replace("EXECUTOR", "in_proces")})
    with pytest.raises(ConfigError, match=r"jobs\.yaml:2:70: .*Did you mean 'in_process'"):
        project.build()


def test_a_project_without_an_executor_has_that_of_dagster(project: Any) -> None:
    assert write(project, "").build().executor is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "executor: {name: multiproces}",
            r"g.yaml:3:18: .*Did you mean 'multiprocess'",
        ),
        ("executor: {name: dagster_celry.celery_executor}", "3:18: .*cannot be imported"),
        ("executor: {name: dagster_celery.celery_exec}", "3:18: .*mean 'celery_executor'"),
        ("executor: {nam: in_process}", "3:12: .*'nam'.*'name'"),
        ("executor: [in_process]", "3:11: "),
        ("executor: {name: multiprocess, config: {max: 2}}", '3:40: .*"max"'),
    ],
)
def test_a_mistake_in_an_executor_is_told_with_its_line(
    project: Any, written: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        write(project, written).build()
