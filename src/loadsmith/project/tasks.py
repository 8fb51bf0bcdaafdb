"""The base class of tasks: a pydantic model with `run`, whose fields are the `params`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
from pydantic import BaseModel, ConfigDict

from loadsmith.errors import ResolveError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The report of a task about its asset.

    Attributes:
        metadata: Shown by Dagster; later tasks read it as `{{<asset key>.<name>}}`.
        data_version: Version of the data, for Dagster's staleness; None leaves it to Dagster.
        tags: Tags of the materialization.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskContext:
    """The context of a running task.

    Attributes:
        dagster: Dagster's context, for everything else.
        asset_key: The asset that the task makes, as in the workflow file.
        project_folder: The folder that holds the configuration folder; relative paths start here.
        partition_key: The partition of this run; None without partitions or with several.
        partition_keys: All partitions of this run; several if `max_partitions_per_run` allows.
        window: Start and end of the partitions if they are ranges of time, or None.
        resources: The resources of the project, set up for this run, by kind.
        render: Fills the `{{variables}}` of a text that the task read, such as an SQL file.
    """

    dagster: dg.AssetExecutionContext
    asset_key: str
    project_folder: Path
    partition_key: str | None = None
    partition_keys: tuple[str, ...] = ()
    window: tuple[datetime, datetime] | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    render: Callable[[str], Any] = lambda text: text

    @property
    def log(self) -> Any:
        """Dagster's logger of this run."""
        return self.dagster.log

    @property
    def run_id(self) -> str:
        """Dagster's id of this run."""
        return str(self.dagster.run.run_id)

    def resource(self, kind: str) -> Any:
        """Return the resource of that kind.

        Raises:
            ResolveError: The project's `dagster_config.yaml` has none.
        """
        if kind not in self.resources:
            raise ResolveError(
                f"{self.asset_key}: the task needs a resource of kind {kind!r}, and "
                f"dagster_config.yaml has none.{did_you_mean(kind, self.resources)} "
                f"Add `- resource_kind: {kind}` to its `resources`."
            )
        return self.resources[kind]

    def path(self, path: str | Path) -> Path:
        """Return `path`; a relative path starts at the project folder."""
        return self.project_folder / path


class Task(BaseModel):
    """The base of task types; any other pydantic model with the same `run` works, too.

    The fields are the `params` in a workflow file. They are validated when definitions are built,
    and again in the run, when their variables have values.

    Attributes:
        kinds: Kinds that Dagster shows on the asset.
        required_resources: Resource kinds that the project must have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: ClassVar[tuple[str, ...]] = ()
    required_resources: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def spec_metadata(cls, params: Mapping[str, Any], project_folder: Path) -> Mapping[str, Any]:
        """Return what the page of the asset shows before any run.

        Args:
            params: The fields as they stand in the workflow file, with their variables.
            project_folder: The folder that holds the configuration folder.
        """
        return {}

    def run(self, context: TaskContext) -> TaskResult | Mapping[str, Any] | None:
        """Make the asset; a returned mapping is its metadata.

        Raises:
            NotImplementedError: The subclass has no `run`.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method `run`")


def to_result(value: Any, *, asset_key: str) -> TaskResult:
    """Return the value of a task's `run` as a `TaskResult`.

    Raises:
        ResolveError: The value is not a result, a mapping or None.
    """
    if value is None:
        return TaskResult()
    if isinstance(value, TaskResult):
        return value
    if isinstance(value, Mapping):
        return TaskResult(metadata=value)
    raise ResolveError(
        f"{asset_key}: the task's `run` gave a {type(value).__name__}. Return a `TaskResult`, "
        "a mapping of metadata, or nothing."
    )
