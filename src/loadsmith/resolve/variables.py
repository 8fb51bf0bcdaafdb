"""Collect the values of the `{{variables}}` that a load or a task uses.

Only variables that are used get a value, so that a run holds no more of the environment than it
needs.
"""

import os
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

from loadsmith.config.templates import names_in, render
from loadsmith.model import LoadDefinition, PipelineSettings, SourceReference, Window


def used_variables(definition: LoadDefinition) -> frozenset[str]:
    """Return the dotted names of the variables in a load.

    Raises:
        ConfigError: A template is malformed.
    """
    source, pipeline, destination = definition.source, definition.pipeline, definition.destination
    texts: list[Any] = [definition.options.params]
    if isinstance(source, SourceReference):
        texts.append(source.params)
    if isinstance(pipeline, PipelineSettings):
        texts.append(vars(pipeline))
    if destination is not None:
        texts += [destination.name, destination.params]
    return frozenset(names_in(texts))


def early_variables(
    names: Collection[str], resources: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the values of `names` that are known without a run: of `env` and of `resource`.

    Args:
        names: The variables that are used.
        resources: Parameters of the project's resources, by kind; may hold variables themselves.
    """
    values: dict[str, Any] = {
        name: os.environ[name[4:]]
        for name in names
        if name.startswith("env.") and name[4:] in os.environ
    }
    for kind, params in (resources or {}).items():
        for param, value in params.items():
            name = f"resource.{kind}.{param}"
            if name in names:
                values[name] = render_early(value)
    return values


def run_variables(
    names: Collection[str],
    *,
    run_id: str,
    partition_key: str | None = None,
    window: Window | None = None,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the values of `names` in a run, and those that every run has, by dotted name.

    Args:
        names: The variables that are used.
        run_id: The run.
        partition_key: Its one partition, if it has one.
        window: Its range of time, if it has one.
        resources: Parameters of the project's resources, by kind.
    """
    values = {"context.run_id": run_id, "utils.now": now(), **early_variables(names, resources)}
    if partition_key is not None:
        values["context.partition_key"] = partition_key
    if window is not None:
        values["context.partition_window_start"] = window.start.isoformat()
        values["context.partition_window_end"] = window.end.isoformat()
    return values


def render_early(value: Any, resources: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
    """Fill in the variables that do not need a run: `env`, `utils` and, if given, `resource`."""
    variables: dict[str, Any] = {"env": os.environ, "utils": {"now": now()}}
    return render(value, variables if resources is None else {**variables, "resource": resources})


def now() -> str:
    """Return the time as ISO text with its zone, for `{{utils.now}}`."""
    return datetime.now(timezone.utc).isoformat()
