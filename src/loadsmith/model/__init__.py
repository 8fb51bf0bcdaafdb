"""The five nouns as frozen plain data: definition, snapshot, slice, request, result."""

from loadsmith.model.load import (
    GRANULARITIES,
    NORMALIZERS,
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
    CHANGE_KINDS,
    CursorResult,
    DiscardResult,
    LoadResult,
    ResourceFailure,
    SchemaChange,
    StageResult,
    TableResult,
    Wait,
)
from loadsmith.model.slice import Slice, slice_of
from loadsmith.model.snapshot import (
    ColumnSnapshot,
    IncrementalSnapshot,
    LoadSnapshot,
    ResourceSnapshot,
    TableSnapshot,
)
from loadsmith.model.times import read_time

__all__ = [
    "CHANGE_KINDS",
    "GRANULARITIES",
    "NORMALIZERS",
    "ON_EMPTY",
    "ON_ERROR",
    "AssetAttributes",
    "ColumnSnapshot",
    "CursorResult",
    "DestinationReference",
    "DiscardResult",
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
    "Slice",
    "SourceReference",
    "StageResult",
    "TableResult",
    "TableSnapshot",
    "Wait",
    "Window",
    "read_time",
    "slice_of",
]
