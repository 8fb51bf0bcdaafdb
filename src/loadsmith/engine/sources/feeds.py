"""Resources that feed others, where several ops of one load would extract them."""

from collections.abc import Sequence
from typing import Any

from loadsmith.engine.dlt_hooks import incremental_of
from loadsmith.engine.sources.windows import with_feeds
from loadsmith.errors import ResolveError
from loadsmith.model import LoadDefinition, RunRequest


def refuse_shared_feeds(
    definition: LoadDefinition, request: RunRequest, source: Any, wanted: Sequence[str]
) -> None:
    """Refuse to feed a transformer from a cursor that another op of the same load moves.

    Args:
        definition: The part of a load that an op is.
        request: What the run asks; takes the warning where it is allowed.
        source: The live source.
        wanted: The resources that the run loads.

    Raises:
        ResolveError: The one that comes second would miss what the first has seen.
    """
    whole, own = definition.part_of, definition.resources
    if whole is None:
        return
    for name in with_feeds(source, wanted):
        if own.matches(name):
            continue
        others = [one for one in source.resources if whole.matches(one)]
        other = next(
            (one for one in others if not own.matches(one) and name in with_feeds(source, [one])),
            None,
        )
        if other is None:
            continue
        fed = next(one for one in wanted if name in with_feeds(source, [one]))
        told = (
            f"resource '{fed}' is fed by '{name}', which another op of this load extracts for"
            f" '{other}'"
        )
        if request.window is None and incremental_of(source.resources[name]) is not None:
            raise ResolveError(
                f"{definition.place or definition.name}: {told}, and the cursor of"
                f" '{name}' can be in one place only: whoever comes second would miss rows."
                " Load both in one op (granularity: source), or have the source asked who feeds"
                " whom (a component's snapshot_path) in place of the schema file."
            )
        request.warn(f"{told}, too: it is extracted twice")
