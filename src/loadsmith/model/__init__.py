"""The five nouns as frozen plain data: definition, snapshot, slice, request, result."""

from loadsmith.model.arguments import (
    RunArguments as RunArguments,
    guard_problem as guard_problem,
    timezone_problem as timezone_problem,
)
from loadsmith.model.feeds import Feeds as Feeds, joined as joined
from loadsmith.model.inputs import InputSnapshot as InputSnapshot
from loadsmith.model.load import (
    GRANULARITIES as GRANULARITIES,
    NORMALIZERS as NORMALIZERS,
    ON_EMPTY as ON_EMPTY,
    ON_ERROR as ON_ERROR,
    RELOADS as RELOADS,
    AssetAttributes as AssetAttributes,
    DestinationReference as DestinationReference,
    Granularity as Granularity,
    LoadDefinition as LoadDefinition,
    Normalizer as Normalizer,
    OnEmpty as OnEmpty,
    OnError as OnError,
    OpSettings as OpSettings,
    PartitionSettings as PartitionSettings,
    PipelineSettings as PipelineSettings,
    Preview as Preview,
    ResourceSelection as ResourceSelection,
    RunOptions as RunOptions,
    SourceReference as SourceReference,
    defined_loads as defined_loads,
    merged_tags as merged_tags,
    note_defined as note_defined,
)
from loadsmith.model.partition import Partition as Partition
from loadsmith.model.request import RunRequest as RunRequest, Window as Window
from loadsmith.model.result import (
    CHANGE_KINDS as CHANGE_KINDS,
    CursorResult as CursorResult,
    DiscardResult as DiscardResult,
    LoadResult as LoadResult,
    ResourceFailure as ResourceFailure,
    SchemaChange as SchemaChange,
    StageResult as StageResult,
    TableResult as TableResult,
    Wait as Wait,
)
from loadsmith.model.slice import Slice as Slice, slice_of as slice_of
from loadsmith.model.snapshot import (
    ColumnSnapshot as ColumnSnapshot,
    IncrementalSnapshot as IncrementalSnapshot,
    LoadSnapshot as LoadSnapshot,
    ResourceSnapshot as ResourceSnapshot,
    TableSnapshot as TableSnapshot,
)
from loadsmith.model.times import read_time as read_time
