"""The validated files of a project, and the place of each entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from loadsmith.config.models import (
    Asset,
    DltAsset,
    DltResourceParams,
    ExecutorEntry,
    JobParams,
    PartitionEntry,
    ResourceEntry,
)
from loadsmith.config.places import problems_of
from loadsmith.documents import Document
from loadsmith.errors import Problem

ValueT = TypeVar("ValueT", covariant=True)


@dataclass(frozen=True)
class Located(Generic[ValueT]):
    """A model that was read from a file, and where.

    Attributes:
        value: The model.
        document: The file; where `defaults` were merged in, they keep their own places.
        path: Where in the file the model is.
    """

    value: ValueT
    document: Document
    path: tuple[str | int, ...] = ()

    @property
    def place(self) -> str:
        """`file:line:column` of the model."""
        line, column = self.document.root.place(self.path)
        return f"{self.document.file}:{line}:{column}"

    def problem(self, message: str, *path: str | int, at_key: bool = False) -> Problem:
        """Return a problem at a field of the model, such as `"params", "query"`."""
        return self.document.problem(message, *self.path, *path, at_key=at_key)

    def problems_of(
        self, error: ValidationError, model: type[BaseModel], *path: str | int
    ) -> list[Problem]:
        """Return the errors of another model about a field, such as a task's about `params`."""
        return problems_of(error, model, self.document, (*self.path, *path))


@dataclass(frozen=True)
class ProjectFiles:
    """All files of a project.

    Attributes:
        root: Absolute path of the folder that was read (`odp_config`).
        base_path: Absolute path of the folder that holds it: relative paths start there.
        executor: What runs the steps, where the files say so.
    """

    root: str
    base_path: str
    resources: tuple[Located[ResourceEntry], ...]
    assets: tuple[Located[Asset], ...]
    partitions: tuple[Located[PartitionEntry], ...]
    jobs: tuple[Located[JobParams], ...]
    executor: Located[ExecutorEntry] | None = None

    @cached_property
    def dlt_assets(self) -> tuple[Located[DltAsset], ...]:
        """Those of the assets that are loads of dlt, in the order of the files."""
        return tuple(
            Located(asset.value, asset.document, asset.path)
            for asset in self.assets
            if isinstance(asset.value, DltAsset)
        )

    @cached_property
    def dlt_resource(self) -> DltResourceParams | None:
        """Parameters of the dlt resource, where there is one."""
        for entry in self.resources:
            if entry.value.resource_kind == "dlt":
                return DltResourceParams.model_validate(entry.value.params)
        return None

    @cached_property
    def project_dir(self) -> str | None:
        """Absolute path of the folder of the dlt code, where there is one."""
        resource = self.dlt_resource
        return str(Path(self.base_path) / resource.project_dir) if resource else None

    @cached_property
    def _partitions_by_key(self) -> Mapping[str, Located[PartitionEntry]]:
        return {key: entry for entry in self.partitions for key in entry.value.assets}

    def partitions_of(self, asset_key: str) -> Located[PartitionEntry] | None:
        """Return the partitions of the asset or load `asset_key`, or None."""
        return self._partitions_by_key.get(asset_key)
