"""Look at the destination of a load as its run would, and raise errors as a run does."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadsmith.engine.destinations import DestinationTraits, own_credentials, traits
from loadsmith.engine.dlt_hooks import secrets_of_load
from loadsmith.engine.locks import destination_lock
from loadsmith.engine.results import run_error
from loadsmith.engine.secrets import Redactor
from loadsmith.engine.workspace.names import names_of
from loadsmith.engine.workspace.open import look_into
from loadsmith.engine.workspace.parts import bind_local_files, parts_of
from loadsmith.model import LoadDefinition, RunRequest, slice_of


@contextlib.contextmanager
def secrets_hidden(definition: LoadDefinition, request: RunRequest) -> Iterator[Redactor]:
    """Let dlt find the secrets of the load, and raise errors as a run does."""
    with secrets_of_load(definition, request) as redactor:
        try:
            yield redactor
        except Exception as error:
            if isinstance(error, InterruptedError):
                raise
            instead = run_error(
                error,
                load=definition.name,
                working_dir=None,
                selected=(),
                redactor=redactor,
                stage="sync",
            )
            redactor.raise_clean(error, instead)


@contextlib.contextmanager
def destination_of(
    definition: LoadDefinition, request: RunRequest, what: str
) -> Iterator[tuple[Any, DestinationTraits, Any] | None]:
    """Give the pipeline of a load, its traits and names, while nobody else writes its file.

    Gives None where its database has no file: whoever connects to DuckDB or SQLite makes one.
    """
    with contextlib.ExitStack() as stack:
        pipeline, good_at, names = stack.enter_context(look_into(definition, request))
        path = good_at.local_path if good_at.single_writer else None
        if path is not None:
            if not Path(path).exists():
                yield None
                return
            stack.enter_context(destination_lock(path, log=request.log, who=what))
        yield pipeline, good_at, names


def list_pending(
    definition: LoadDefinition, request: RunRequest, *, everywhere: bool = False
) -> tuple[str, ...]:
    """Return the load ids of the packages that the next run of a load would complete first.

    It looks into the working directories of this machine alone.

    Args:
        definition: The load.
        request: Names the partition, where each has a directory of its own.
        everywhere: Whether the directories of all partitions are looked into.
    """
    parts = parts_of(definition, request)
    slice_, home = slice_of(definition, request, parts.name), Path(parts.pipelines_dir)
    names = names_of(slice_, home)
    folders = {own.working_dir for own in (names, names.released) if own is not None}
    if everywhere:
        folders |= {path.parent for path in home.glob(f".loadsmith/{slice_.load}/**/state.json")}
    found = {
        path.name
        for folder in folders
        for kind in ("normalize/extracted", "load/normalized")
        for path in folder.glob(f"{kind}/*")
        if path.is_dir()
    }
    return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """What the pipeline of a load is made of, in words; without secrets.

    Attributes:
        name: Name of the pipeline.
        destination: Name of the destination.
        place: The file, or the address, as far as it is known without a secret.
    """

    name: str
    destination: str
    place: str | None
    dataset: str | None


def look_at_parts(definition: LoadDefinition, request: RunRequest) -> LookedAt:
    """Return what the pipeline of a load is made of. Nothing is connected to.

    Raises:
        ResolveError: The destination is not there.
    """
    with secrets_hidden(definition, request) as redactor:
        parts = parts_of(definition, request)
        bind_local_files(parts, Path(parts.pipelines_dir))
        params = parts.destination.config_params
        credentials = own_credentials(parts.destination)
        place = params.get("bucket_url") or traits(parts.destination).local_path
        if place is None and credentials is not None:
            host, database = (getattr(credentials, name, None) for name in ("host", "database"))
            place = "/".join(str(part) for part in (host, database) if part) or None
        return LookedAt(
            name=parts.name,
            destination=parts.destination.destination_name,
            place=None if place is None else redactor.redact(str(place)),
            dataset=parts.dataset_name,
        )
