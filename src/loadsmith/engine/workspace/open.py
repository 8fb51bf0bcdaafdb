"""The working directory of a load: which one a run uses, and that nobody else uses it meanwhile.

A load without partitions works where dlt would, so that `dlt pipeline <name> info` shows it. A
partition, and a load that shares its pipeline name with others, gets a directory of its own
beside it, so that any number of them run side by side.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadsmith.engine.destinations import (
    DestinationTraits,
    prefer_fastest_file_format,
    refuse_ambiguous_dataset,
    traits,
)
from loadsmith.engine.dlt_hooks import rename_pipeline
from loadsmith.engine.locks import (
    destination_lock,
    exclusive,
    prepare_for_lock,
    wait_until_free,
)
from loadsmith.engine.normalizing import wait_for_workers
from loadsmith.engine.workspace.names import Names, digest, names_of
from loadsmith.engine.workspace.parts import (
    bind_local_files,
    isolate_staging,
    new_pipeline,
    parts_of,
)
from loadsmith.model import (
    LoadDefinition,
    RunRequest,
    Wait,
    slice_of,
)


@dataclass
class Workspace:
    """A pipeline of this run alone, in a directory of this run alone.

    Attributes:
        pipeline: The live dlt pipeline.
        base_name: The pipeline name as the definition has it, without a partition.
        names: Names of the slice that the run loads.
        traits: What the destination is good at.
        transient: Whether the directory is of no use once the run has ended well.
    """

    pipeline: Any
    base_name: str
    names: Names
    traits: DestinationTraits
    request: RunRequest
    transient: bool
    waits: list[Wait] = field(default_factory=list)
    _clients: dict[str | None, Any] = field(default_factory=dict)
    _open: Any = None

    @contextlib.contextmanager
    def destination(self, step: str) -> Iterator[None]:
        """Hold the destination for the length of a step, where it takes one writer at a time.

        A DuckDB file stays open for the step: what dlt opens meanwhile costs nothing then, and no
        other process gets in between.
        """
        if not self.traits.single_writer or self.traits.local_path is None:
            yield
            return
        prepare_for_lock(self.traits.local_path)
        with (
            contextlib.ExitStack() as opened,
            destination_lock(
                self.traits.local_path,
                log=self.request.log,
                who=f"the {step} of {self.scope}",
                cancelled=self.request.cancelled,
                connect=(
                    (lambda: self._connect(opened))
                    if self.traits.destination_type == "duckdb"
                    else None
                ),
            ) as wait,
        ):
            self._note(wait)
            # Closed before the lock is given back.
            with opened:
                yield

    @property
    def scope(self) -> str:
        """What may run only once at a time, for the ledger and for messages."""
        return self.names.scope

    def is_blank(self) -> bool:
        """Tell whether neither the destination nor the directory can hold anything of the load."""
        path = self.traits.local_path
        if not self.traits.single_writer or path is None:
            return False
        prepare_for_lock(path)
        return not Path(path).exists() and not self.pipeline.has_data

    def client(self) -> Any:
        """Return the client of the destination; dlt resolves its settings once for a schema."""
        name = self.pipeline.default_schema_name
        if name not in self._clients:
            self._clients[name] = self.pipeline.destination_client()
        return self._clients[name]

    @contextlib.contextmanager
    def open_client(self) -> Iterator[Any]:
        """Give the client with an open connection: the one of the step, where it has one."""
        if self._open is not None:
            yield self._open
            return
        with self.client() as client:
            yield client

    def _connect(self, opened: contextlib.ExitStack) -> None:
        from dlt.destinations.exceptions import DestinationConnectionError

        client = self.client()
        try:
            opened.enter_context(client)
        except DestinationConnectionError as error:
            # The error of DuckDB says who has the file open.
            raise error.inner_exc from None
        self._open = client
        opened.callback(self._forget_open)

    def _forget_open(self) -> None:
        self._open = None

    def wait_until_free(self, what: str, ask: Callable[[], str | None]) -> None:
        """Wait until `ask` returns nobody who holds `what`; the result of the run tells of it.

        Raises:
            InterruptedError: The run was cancelled meanwhile.
        """
        request = self.request
        self._note(wait_until_free(what, ask, log=request.log, cancelled=request.cancelled))

    def _note(self, wait: Wait) -> None:
        if wait.holder is not None:
            self.waits.append(wait)


@contextlib.contextmanager
def open_workspace(definition: LoadDefinition, request: RunRequest) -> Iterator[Workspace]:
    """Make the pipeline of a run in a directory that this run holds alone.

    A second run of the same load and partition waits until the first has ended.
    """
    parts = parts_of(definition, request)
    home = Path(parts.pipelines_dir)
    names = names_of(slice_of(definition, request, parts.name), home)
    waiting: dict[str, Any] = {
        "who": f"run {request.run_id}",
        "log": request.log,
        "cancelled": request.cancelled,
    }
    with exclusive(names.lock_path, what=f"the load {names.scope}", **waiting) as wait:
        wait_for_workers(names.workers_dir, **waiting)
        names.pipelines_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _take_over_directory(names, waiting)
        working_dir = names.working_dir
        _remove_broken(working_dir)
        bind_local_files(parts, home)
        found = traits(parts.destination)
        prefer_fastest_file_format(parts.destination, found)
        isolate_staging(parts.destination, digest(names.scope))
        pipeline = new_pipeline(parts, names.state, names.pipelines_dir)
        client = pipeline.destination_client()
        if _serves_another_destination(working_dir, pipeline, client.config):
            request.warn(
                f"the working directory {working_dir} was used for another destination; it is"
                " emptied, so that neither rows nor cursors get from one to the other"
            )
            shutil.rmtree(working_dir)
            pipeline = new_pipeline(parts, names.state, names.pipelines_dir)
            client = pipeline.destination_client()
            _serves_another_destination(working_dir, pipeline, client.config)
        refuse_ambiguous_dataset(client)
        working_dir.chmod(0o700)
        workspace = Workspace(
            pipeline=pipeline,
            base_name=parts.name,
            names=names,
            traits=found,
            request=request,
            transient=slice_of(definition, request, parts.name).partition != ((), None),
        )
        workspace._clients[pipeline.default_schema_name] = client
        workspace._note(wait)
        try:
            yield workspace
        finally:
            with contextlib.suppress(Exception):
                pipeline.deactivate()
        if workspace.transient and workspace.traits.can_read and not pipeline.has_pending_data:
            shutil.rmtree(names.pipelines_dir, ignore_errors=True)


@contextlib.contextmanager
def look_into(
    definition: LoadDefinition, request: RunRequest
) -> Iterator[tuple[Any, DestinationTraits, Names]]:
    """Make the pipeline of a run for those who only look: nothing is locked, written or emptied.

    Yields:
        The pipeline, in a directory that is gone afterwards; what its destination is good at; and
        the names that a run without partitions, or of a static one, would use.
    """
    parts = parts_of(definition, request)
    home = Path(parts.pipelines_dir)
    names = names_of(slice_of(definition, request, parts.name), home)
    bind_local_files(parts, home)
    with tempfile.TemporaryDirectory(prefix="loadsmith-look-") as folder:
        pipeline = new_pipeline(parts, names.state, Path(folder))
        try:
            yield pipeline, traits(parts.destination), names
        finally:
            with contextlib.suppress(Exception):
                pipeline.deactivate()


def _take_over_directory(names: Names, waiting: dict[str, Any]) -> None:
    """Move the working directory that the slice has under its released name, where it is."""
    released = names.released
    if released is None or not released.working_dir.is_dir() or names.working_dir.exists():
        return
    with contextlib.ExitStack() as stack:
        if released.lock_path != names.lock_path:
            what = f"the load {released.scope}"
            stack.enter_context(exclusive(released.lock_path, what=what, **waiting))
        rename_pipeline(released.working_dir, names.state)
        released.working_dir.replace(names.working_dir)
        with contextlib.suppress(OSError):
            released.pipelines_dir.rmdir()


def _serves_another_destination(working_dir: Path, pipeline: Any, config: Any) -> bool:
    """Tell whether the directory holds the state of another destination; note ours if it is new.

    dlt keeps one local state for a pipeline name, whatever dataset it was loaded into.
    """
    where = [config.destination_type, config.fingerprint(), pipeline.dataset_name or ""]
    local = getattr(getattr(config, "credentials", None), "database", None)
    mark = hashlib.sha256(json.dumps([*where, str(local)]).encode()).hexdigest()
    path = working_dir / ".destination"
    known = path.read_text() if path.is_file() else None
    if known is None:
        path.write_text(mark)
    return known not in (None, mark)


def _remove_broken(working_dir: Path) -> None:
    """Remove what a run leaves that dies in the middle of a write of dlt's.

    A directory without a state is of no use. Schemas are written beside their place, and what was
    not moved there yet dlt would take for the schema of that name.
    """
    if working_dir.is_dir() and not (working_dir / "state.json").is_file():
        shutil.rmtree(working_dir)
    for path in working_dir.glob("schemas/*"):
        if ".schema." not in path.name:
            path.unlink()
