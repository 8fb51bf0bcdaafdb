"""Slice: the part of a source that one run is responsible for."""

from dataclasses import dataclass

from loadsmith.model.load import LoadDefinition
from loadsmith.model.request import RunRequest, Window


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Which rows a run loads: of which load and pipeline, resources, partitions and window.

    Attributes:
        load: Name of the load, or of the part of it that an op loads.
        pipeline_name: Name of the pipeline, without a partition.
        owns_pipeline_name: Whether no other load uses that name, see `LoadDefinition`.
        resources: Resources that are loaded; None for all of the load.
        partition_keys: Keys of the partitions; none for a load without partitions.
        window: The time window; None where the partitions are none, or there are no partitions.
        window_is_chosen: Whether the window is that of the launchpad, not that of the keys.
    """

    load: str
    pipeline_name: str
    owns_pipeline_name: bool = True
    resources: tuple[str, ...] | None = None
    partition_keys: tuple[str, ...] = ()
    window: Window | None = None
    window_is_chosen: bool = False

    @property
    def partition(self) -> tuple[tuple[str, ...], Window | None]:
        """The partition or window: what tells apart two slices of one load."""
        is_by_key = self.partition_keys and not self.window_is_chosen
        return self.partition_keys, None if is_by_key else self.window

    @property
    def identity(self) -> tuple[str, str, tuple[tuple[str, ...], Window | None]]:
        """Load, pipeline and partition or window.

        The resources are not in it: two subsets of one load must not run at once, and a retry has
        to find the packages of its predecessor.
        """
        return self.load, self.pipeline_name, self.partition

    @property
    def has_own_cursors(self) -> bool:
        """Whether the partition keeps cursors of its own, as those do that are no windows."""
        return bool(self.partition_keys) and self.window is None


def slice_of(definition: LoadDefinition, request: RunRequest, pipeline_name: str) -> Slice:
    """Return the slice of a run; `pipeline_name` is that of the pipeline of the run."""
    keys = request.partition_keys or (
        () if request.partition_key is None else (request.partition_key,)
    )
    return Slice(
        load=definition.name,
        pipeline_name=pipeline_name,
        owns_pipeline_name=definition.owns_pipeline_name,
        resources=request.resources,
        partition_keys=keys,
        window=request.window,
        window_is_chosen=request.window_is_chosen,
    )
