"""The four nouns as frozen plain data: definition, snapshot, request, result."""

from loadsmith.model.load import (
    GRANULARITIES,
    ON_EMPTY,
    ON_ERROR,
    AssetAttributes,
    DestinationReference,
    LoadDefinition,
    OpSettings,
    PartitionSettings,
    PipelineSettings,
    ResourceSelection,
    RunOptions,
    SourceReference,
)
from loadsmith.model.request import RunRequest, Window
from loadsmith.model.result import (
    CursorResult,
    DiscardResult,
    LoadResult,
    ResourceFailure,
    SchemaChange,
    StageResult,
    TableResult,
    Wait,
)
from loadsmith.model.snapshot import (
    ColumnSnapshot,
    IncrementalSnapshot,
    LoadSnapshot,
    ResourceSnapshot,
    TableSnapshot,
)

__all__ = [
    "GRANULARITIES",
    "ON_EMPTY",
    "ON_ERROR",
    "AssetAttributes",
    "ColumnSnapshot",
    "CursorResult",
    "DiscardResult",
    "DestinationReference",
    "IncrementalSnapshot",
    "LoadDefinition",
    "LoadResult",
    "LoadSnapshot",
    "OpSettings",
    "PartitionSettings",
    "PipelineSettings",
    "ResourceFailure",
    "ResourceSelection",
    "ResourceSnapshot",
    "RunOptions",
    "RunRequest",
    "SchemaChange",
    "SourceReference",
    "StageResult",
    "TableResult",
    "TableSnapshot",
    "Wait",
    "Window",
]
