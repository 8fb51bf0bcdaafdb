"""Make the executor that `dagster_config.yaml` names; nothing is connected."""

from pathlib import Path

import dagster as dg

from loadsmith.assets._dagster import config_mistakes
from loadsmith.config.models import ExecutorEntry
from loadsmith.config.project_files import Located
from loadsmith.errors import Problem, ResolveError, did_you_mean
from loadsmith.project.lookup import import_member

_BUILT_IN = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}


def make_executor(
    entry: Located[ExecutorEntry], base_path: str
) -> tuple[dg.ExecutorDefinition | None, list[Problem]]:
    """Make the executor of a project, and return its problems."""
    name, config = entry.value.name, dict(entry.value.config)
    executor = _BUILT_IN.get(name)
    if executor is None and "." not in name:
        message = (
            f"there is no executor {name!r}.{did_you_mean(name, _BUILT_IN)} Others are named by"
            " their import path, such as 'dagster_celery.celery_executor'."
        )
        return None, [entry.problem(message, "name")]
    if executor is None:
        try:
            executor = import_member(
                name,
                dg.ExecutorDefinition,
                noun="executor",
                what="executor",
                project_folder=Path(base_path),
            )
        except ResolveError as error:
            return None, [entry.problem(str(error), "name")]
    if not config:
        return executor, []
    mistakes = config_mistakes(executor, config)
    if mistakes:
        return None, [entry.problem(f"{mistake}. Change it.", "config") for mistake in mistakes]
    return executor.configured(config), []
