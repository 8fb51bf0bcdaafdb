"""Make the Dagster resources that `dagster_config.yaml` describes; nothing is opened."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

from loadsmith.config.models import ResourceEntry
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.config.templates import names_in
from loadsmith.errors import ConfigError, Problem, ResolveError
from loadsmith.names import op_name
from loadsmith.project.resources import DuckDBDatabase, find_resource_kind
from loadsmith.resolve import render_early


@dataclass(frozen=True, kw_only=True)
class ProjectResources:
    """The resources of a project.

    Attributes:
        by_key: Dagster's resources by resource key.
        keys: Dagster's resource key of each kind.
        params: Parameters of each kind in the file, over the defaults of its class.
    """

    by_key: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def make_resources(files: ProjectFiles) -> tuple[ProjectResources, list[Problem]]:
    """Make the resources of a project, and return their problems."""
    problems: list[Problem] = []
    by_key: dict[str, Any] = {}
    keys: dict[str, str] = {}
    classes: dict[str, type[Any]] = {}
    for entry in files.resources:
        kind = entry.value.resource_kind
        try:
            classes[kind] = find_resource_kind(kind, project_folder=Path(files.base_path))
        except ResolveError as error:
            problems.append(entry.problem(str(error), "resource_kind"))
    params = {
        entry.value.resource_kind: _with_defaults(
            classes.get(entry.value.resource_kind), entry.value.params
        )
        for entry in files.resources
    }
    for entry in files.resources:
        kind = entry.value.resource_kind
        if kind not in classes:
            continue
        keys[kind] = op_name(kind)
        made, mistakes = _make(entry, classes[kind], files.base_path, params)
        problems += mistakes
        if made is not None:
            by_key[keys[kind]] = made
    return ProjectResources(by_key=by_key, keys=keys, params=params), problems


def fixed_problems(
    entry: Located[Any], model: type[BaseModel], params: Mapping[str, Any]
) -> list[Problem]:
    """Return the problems of `params`, except those of values that a run fills in."""
    try:
        model.model_validate(dict(params))
    except ValidationError as error:
        fixed = [
            InitErrorDetails(
                type=detail["type"],
                loc=detail["loc"],
                input=detail["input"],
                ctx=detail.get("ctx", {}),
            )
            for detail in error.errors()
            if detail["type"] in ("missing", "extra_forbidden") or not _waits(detail["input"])
        ]
        if fixed:
            left = ValidationError.from_exception_data(error.title, fixed)
            return entry.problems_of(left, model, "params")
    return []


def _make(
    entry: Located[ResourceEntry],
    cls: type[Any],
    base_path: str,
    all_params: Mapping[str, Mapping[str, Any]],
) -> tuple[Any, list[Problem]]:
    params = dict(entry.value.params)
    if issubclass(cls, DuckDBDatabase):
        params.setdefault("base_path", base_path)
    problems = [
        entry.problem(
            f"the resource has no field '{name}'. Remove it.", "params", name, at_key=True
        )
        for name in entry.value.params
        if name not in cls.model_fields
    ]
    if problems:
        return None, problems
    problems = fixed_problems(entry, cls, params)
    if problems:
        return None, problems
    if not _waits(params):
        return cls(**params), []
    return _build_waiting(cls, params, all_params), []


def _build_waiting(
    cls: type[Any], params: Mapping[str, Any], all_params: Mapping[str, Mapping[str, Any]]
) -> dg.ResourceDefinition:
    """Build a resource whose variables are filled in when a run sets it up."""

    @dg.resource(description=cls.__doc__)
    def waiting(_context: dg.InitResourceContext) -> Iterator[Any]:
        # A parameter of another resource may hold variables itself.
        resource = cls(**render_early(render_early(params, all_params)))
        with resource.process_config_and_initialize_cm() as ready:
            yield ready

    return waiting


def _with_defaults(cls: type[Any] | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters over those defaults of the class that are plain values."""
    defaults = {
        name: field_info.default
        for name, field_info in (cls.model_fields if cls else {}).items()
        if isinstance(field_info.default, (str, int, float, bool))
    }
    return {**defaults, **params}


def _waits(value: Any) -> bool:
    """Return whether a value holds variables."""
    try:
        return bool(names_in(value))
    except ConfigError:
        # A malformed template was reported when the files were read.
        return True
