"""Look at the destination of a load as its run would, and raise errors as a run does."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadsmith.engine.destinations import DestinationTraits
from loadsmith.engine.dlt_hooks import secrets_of_load
from loadsmith.engine.locks import destination_lock
from loadsmith.engine.results import run_error
from loadsmith.engine.secrets import Redactor
from loadsmith.engine.workspace.names import names_of
from loadsmith.engine.workspace.open import look_into
from loadsmith.engine.workspace.parts import parts_of
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
        pipeline, traits, names = stack.enter_context(look_into(definition, request))
        path = traits.local_path if traits.single_writer else None
        if path is not None:
            if not Path(path).exists():
                yield None
                return
            stack.enter_context(destination_lock(path, log=request.log, who=what))
        yield pipeline, traits, names


def list_pending(definition: LoadDefinition, request: RunRequest) -> tuple[str, ...]:
    """Return the load ids of the packages that the next run of a load would complete first.

    It looks into the working directory of this machine alone.

    Args:
        definition: The load.
        request: Names the partition, where each has a directory of its own.
    """
    parts = parts_of(definition, request)
    names = names_of(slice_of(definition, request, parts.name), Path(parts.pipelines_dir))
    found = {
        path.name
        for own in (names, names.released)
        if own is not None
        for folder in ("normalize/extracted", "load/normalized")
        for path in own.working_dir.glob(f"{folder}/*")
        if path.is_dir()
    }
    return tuple(sorted(found))
