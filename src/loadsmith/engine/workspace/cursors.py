"""A load in, the cursors that are stored for it out; and a cursor forgotten, by dlt's own state."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dlt.common.destination.client import WithStateSync
from dlt.common.versioned_state import json_decode_state

from loadsmith.engine.dlt_hooks import (
    describe_packages,
    discard_pending_packages,
    list_extracted,
    moment_of_package,
)
from loadsmith.engine.secrets import Redactor
from loadsmith.engine.workspace.looking import destination_of, secrets_hidden
from loadsmith.engine.workspace.names import Names
from loadsmith.engine.workspace.open import Workspace, open_workspace
from loadsmith.engine.workspace.state import KnownState, fetch_state, restore_state
from loadsmith.engine.workspace.stored_states import sources_of
from loadsmith.errors import RunError
from loadsmith.model import LoadDefinition, ResourceSelection, RunRequest

#: Takes the place of a cursor that was forgotten. It is another one each time, as only a value that
#: no earlier state had is a change where loads share a pipeline name.
RESET_KEY = "loadsmith_reset_at"

_State = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredCursor:
    """A cursor as the next run would find it; values as text.

    Attributes:
        load: Name of the load.
        partition: The partition, where each keeps a cursor of its own.
        load_id: dlt's load package that took it to its last value; None where nobody knows.
        moved_at: When that package was begun, ISO text in UTC.
        kept_in: `destination`, or `working directory` where that keeps no state.
    """

    load: str
    resource: str
    cursor_path: str
    initial_value: str | None = None
    last_value: str | None = None
    partition: str | None = None
    load_id: str | None = None
    moved_at: str | None = None
    kept_in: str = "destination"


def fetch_cursors(
    definition: LoadDefinition, request: RunRequest, resources: Collection[str] | None = None
) -> tuple[StoredCursor, ...]:
    """Fetch the cursors that the next run of a load would start from. Nothing is changed by it.

    Args:
        definition: The load.
        request: Names the partition, where each keeps a cursor of its own.
        resources: Resources to look at; None for all of the load.

    Raises:
        RunError: The destination cannot be asked.
        SecretNotFound: A secret is missing.
    """
    with (
        secrets_hidden(definition, request) as redactor,
        destination_of(definition, request, f"the cursors of {definition.name}") as found,
    ):
        if found is None:
            return ()
        pipeline, _, names = found
        known = fetch_state(pipeline, names)
        if known is None or not known.leaves:
            sources = _local_sources(names)
            return _shown(_cursors(definition, request, sources, None, resources), redactor)
        sources = sources_of(known.leaves)
        return _shown(_cursors(definition, request, sources, known, resources), redactor)


def reset_cursors(
    definition: LoadDefinition, request: RunRequest, resources: Collection[str] | None = None
) -> tuple[StoredCursor, ...]:
    """Forget cursors, so that the next run starts from their initial values. Rows stay.

    It waits for a run of the load that is under way, as another run would.

    Args:
        definition: The load.
        request: Names the partition, where each keeps a cursor of its own.
        resources: Resources whose cursors are forgotten; None for all of the load.

    Returns:
        The cursors as they were.

    Raises:
        RunError: An unfinished package would bring the cursors back, or the destination cannot be
            reached.
        SecretNotFound: A secret is missing.
    """
    with (
        secrets_hidden(definition, request) as redactor,
        open_workspace(definition, request) as workspace,
    ):
        pipeline = workspace.pipeline
        path = workspace.traits.local_path
        if path is not None and not Path(path).exists() and not pipeline.has_data:
            return ()
        if pipeline.has_pending_data:
            raise RunError(
                f"load '{definition.name}': an earlier run left a package unfinished in "
                f"{pipeline.working_dir}, and its cursors with it. Run the load again to complete "
                "it, and reset the cursors then.",
                stage="sync",
                load=definition.name,
            )
        with workspace.destination("reset of cursors"):
            is_whole = definition.resources == ResourceSelection()
            restore_state(
                pipeline,
                names=workspace.names,
                owns=None if is_whole else definition.resources.matches,
            )
            if pipeline.default_schema_name is None:
                # Nothing was loaded by it yet, such as a partition that never ran.
                return ()
            found = _forget(definition, request, workspace, resources)
            if found and list_extracted(pipeline):
                pipeline.normalize()
                pipeline.load()
        return _shown(found, redactor)


def discard_pending(
    definition: LoadDefinition, request: RunRequest, agree: Callable[[str], bool]
) -> str | None:
    """Drop what an earlier run has extracted and not loaded; the cursors go back with it.

    It waits for a run of the load that is under way. Rows of it that are in the destination are
    removed by the next run.

    Args:
        definition: The load.
        request: Names the partition, where each has a working directory of its own.
        agree: Is told what would be dropped, and says whether it is.

    Returns:
        What was dropped; None for nothing.
    """
    with (
        secrets_hidden(definition, request),
        open_workspace(definition, request) as workspace,
    ):
        if not workspace.pipeline.has_pending_data:
            return None
        contents = describe_packages(workspace.pipeline)
        if not agree(contents):
            return None
        discard_pending_packages(workspace.pipeline)
        return contents


def _forget(
    definition: LoadDefinition,
    request: RunRequest,
    workspace: Workspace,
    resources: Collection[str] | None,
) -> tuple[StoredCursor, ...]:
    """Take the cursors out of dlt's state, into a package where the destination keeps states."""
    pipeline = workspace.pipeline
    is_kept = pipeline.config.restore_from_destination and isinstance(
        workspace.client(), WithStateSync
    )
    with pipeline.managed_state(extract_state=is_kept) as state:
        sources = state.get("sources", {})
        found = tuple(_cursors(definition, request, sources, None, resources))
        now = datetime.now(timezone.utc).isoformat()
        for own in _resource_states(definition, sources, resources):
            if own.pop("incremental", None):
                own[RESET_KEY] = now
    return found


def _cursors(
    definition: LoadDefinition,
    request: RunRequest,
    sources: _State,
    known: KnownState | None,
    resources: Collection[str] | None,
) -> Iterator[StoredCursor]:
    load_ids = {} if known is None else known.load_ids
    for source, resource, own in _named_states(definition, sources, resources):
        load_id = load_ids.get((source, "resources", resource))
        for path, cursor in own.get("incremental", {}).items():
            yield StoredCursor(
                load=definition.name,
                resource=resource,
                cursor_path=path,
                initial_value=_text(cursor.get("initial_value")),
                last_value=_text(cursor.get("last_value")),
                partition=request.partition_key,
                load_id=load_id,
                moved_at=_moment(load_id),
                kept_in="working directory" if known is None else "destination",
            )


def _resource_states(
    definition: LoadDefinition, sources: _State, resources: Collection[str] | None
) -> Iterator[Any]:
    for _, _, own in _named_states(definition, sources, resources):
        yield own


def _named_states(
    definition: LoadDefinition, sources: _State, resources: Collection[str] | None
) -> Iterator[tuple[str, str, Any]]:
    for source, state in sources.items():
        for resource, own in state.get("resources", {}).items():
            is_meant = definition.resources.matches(resource)
            if is_meant and (resources is None or resource in resources):
                yield source, resource, own


def _local_sources(names: Names) -> _State:
    path = names.working_dir / "state.json"
    if not path.is_file():
        return {} if names.released is None else _local_sources(names.released)
    return dict(json_decode_state(path.read_text(encoding="utf-8")).get("sources", {}))


def _moment(load_id: str | None) -> str | None:
    seconds = moment_of_package(load_id) if load_id else 0.0
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _shown(cursors: Iterable[StoredCursor], redactor: Redactor) -> tuple[StoredCursor, ...]:
    """Return cursors without secrets: a cursor may be an address with a token."""
    return tuple(StoredCursor(**redactor.redact_value(asdict(cursor))) for cursor in cursors)
