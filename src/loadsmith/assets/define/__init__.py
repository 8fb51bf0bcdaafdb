"""Turn the snapshot of a load into Dagster's specs, checks, partitions and automation.

Nothing here runs a load.
"""

from loadsmith.assets.define.automation import (
    build_automation_condition as build_automation_condition,
    check_cron as check_cron,
    check_seconds as check_seconds,
)
from loadsmith.assets.define.check_specs import (
    build_check_specs as build_check_specs,
    settings_of as settings_of,
)
from loadsmith.assets.define.from_live import (
    DltPipelineLike as DltPipelineLike,
    DltSourceLike as DltSourceLike,
    build_live_specs as build_live_specs,
    live_definition as live_definition,
    with_seen_tables as with_seen_tables,
)
from loadsmith.assets.define.keys import (
    key_part as key_part,
    nested_key as nested_key,
    root_table_key as root_table_key,
)
from loadsmith.assets.define.partitions import (
    RunPartitions as RunPartitions,
    build_backfill_policy as build_backfill_policy,
    build_partitions_def as build_partitions_def,
    has_all_partitions as has_all_partitions,
    read_partitions as read_partitions,
    window_of_keys as window_of_keys,
)
from loadsmith.assets.define.settings import (
    AssetOptions as AssetOptions,
    OpOptions as OpOptions,
    known_options as known_options,
    read_options as read_options,
)
from loadsmith.assets.define.spec_metadata import (
    RESOURCE_KEY as RESOURCE_KEY,
    TABLE_KEY as TABLE_KEY,
    LoadName as LoadName,
    inputs_table as inputs_table,
    loads_in as loads_in,
    table_schema as table_schema,
)
from loadsmith.assets.define.specs import (
    AssetTarget as AssetTarget,
    DepsFor as DepsFor,
    KeyFor as KeyFor,
    build_specs as build_specs,
    targets_of as targets_of,
)
from loadsmith.assets.define.split import (
    OUTPUTS_PER_OP as OUTPUTS_PER_OP,
    group_equal as group_equal,
    load_part as load_part,
    split_load as split_load,
    with_granularity as with_granularity,
)
from loadsmith.assets.define.translator import (
    DagsterDltTranslator as DagsterDltTranslator,
    DltResourceTranslatorData as DltResourceTranslatorData,
)
from loadsmith.assets.define.upstream import (
    build_upstream_specs as build_upstream_specs,
    described_sources as described_sources,
)
