"""Names that code for dagster-dlt imports, and the live objects that were in its metadata."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

from loadsmith.assets.define import DagsterDltTranslator, loads_in
from loadsmith.assets.run import LoadEvent, LoadEvents
from loadsmith.errors import SelectionError

DltEventType: TypeAlias = LoadEvent
DltEventIterator: TypeAlias = LoadEvents

# Nothing has these keys here: `dlt_load_of` returns what dagster-dlt has under them.
META_KEY_SOURCE = "dagster_dlt/source"
META_KEY_PIPELINE = "dagster_dlt/pipeline"
META_KEY_TRANSLATOR = "dagster_dlt/translator"


@dataclass(frozen=True)
class DltLoad:
    """The live objects of a load.

    Attributes:
        source: The dlt source; where a function makes it, one that was made now.
        pipeline: The dlt pipeline; where a function makes it, one that was made now.
        translator: The translator of the assets.
    """

    source: Any
    pipeline: Any
    translator: DagsterDltTranslator


def dlt_load_of(assets: Any) -> DltLoad:
    """Return the live objects of the load of an asset, an asset's spec or a running asset.

    Args:
        assets: A `dg.AssetsDefinition`, a `dg.AssetSpec`, or the context of a run.

    Raises:
        SelectionError: There is no load, or there are several, or files declare the load.
    """
    names = loads_in(_metadata_of(assets))
    if len(names) != 1:
        known = f"{len(names)} loads are" if names else "no load is"
        raise SelectionError(
            f"dlt_load_of: {known} known of {assets!r}. Give it the assets or a spec of one load."
        )
    definition = names[0].definition
    if not callable(definition.source) or not callable(definition.pipeline):
        raise SelectionError(
            f"dlt_load_of: load '{definition.name}' is declared. Only its runs make its source and"
            " its pipeline."
        )
    return DltLoad(definition.source(), definition.pipeline(), names[0].translator)


def _metadata_of(assets: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(assets, dg.AssetSpec):
        return (assets.metadata,)
    if not isinstance(assets, dg.AssetsDefinition):
        assets = assets.assets_def
    return [spec.metadata for spec in assets.specs]
