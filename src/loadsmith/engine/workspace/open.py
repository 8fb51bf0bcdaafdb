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
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadsmith.engine.destinations import (
    DestinationTraits,
    dataset_of,
    prefer_fastest_file_format,
    refuse_ambiguous_dataset,
    traits,
)
from loadsmith.engine.dlt_hooks import (
    Fence,
    damaged_base,
    damaged_in_packages,
    describe_packages,
    discard_pending_packages,
    is_draft,
    refuse_to_empty,
    rename_pipeline,
    set_fence,
    tidy_packages,
)
from loadsmith.engine.locks import (
    Holder,
    HolderGivenUpError,
    destination_lock,
    exclusive,
    is_gone,
    is_held,
    make_room,
    prepare_for_lock,
    wait_until_free,
)
from loadsmith.engine.normalizing import wait_for_workers
from loadsmith.engine.workspace.names import Names, names_of
from loadsmith.engine.workspace.parts import (
    bind_local_files,
    isolate_staging,
    new_pipeline,
    parts_of,
    staging_layout,
)
from loadsmith.model import (
    LoadDefinition,
    RunRequest,
    Wait,
    slice_of,
)

#: Seconds until it is looked whether a run that holds the directory was given up, and again.
_PATIENCE_SECONDS = 10.0

#: Keeps in a working directory how far the ledger was when a run began in it.
_NOTE = ".sequence"


@dataclass
class Workspace:
    """A pipeline of this run alone, in a directory of this run alone.

    Attributes:
        pipeline: The live dlt pipeline.
        base_name: The pipeline name as the definition has it, without a partition.
        names: Names of the slice that the run loads.
        traits: What the destination is good at.
        transient: Whether the directory is of no use once the run has ended well.
        token: Names this attempt in its claim, and its staging dataset.
        lost: Is set when the claim of this run was seen to be gone; the run is cancelled then.
        is_alone_with_iceberg: Whether it keeps other loads from the Iceberg tables of the dataset.
    """

    pipeline: Any
    base_name: str
    names: Names
    traits: DestinationTraits
    request: RunRequest
    transient: bool
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    lost: threading.Event = field(default_factory=threading.Event)
    waits: list[Wait] = field(default_factory=list)
    is_alone_with_iceberg: bool = False
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

    def set_fence(self, fence: Fence | None) -> None:
        """Let all clients that are made from here on ask for the claim of this run."""
        set_fence(self.pipeline.destination, fence)
        self._clients.clear()

    def claim_path(self, token: str) -> Path | None:
        """Return the file that an attempt locks while it works, beside a database of one writer."""
        path = self.traits.local_path if self.traits.single_writer else None
        return None if path is None else Path(path).with_name(f".{Path(path).name}.{token}.claim")

    def is_over(self, claim: Any, age: float | None) -> bool:
        """Tell whether nobody keeps up a claim.

        Args:
            claim: The claim.
            age: Seconds since its lease was renewed; None where it has none.
        """
        path = self.claim_path(claim.token)
        if path is not None:
            return not is_held(path)
        return is_gone(claim.execution) or age is None or age > claim.lease

    def staging_dataset_of(self, token: str) -> str | None:
        """Return the name of the staging dataset of an attempt; None where it is not its own."""
        client = self.client()
        config = copy(client.config)
        if config.staging_dataset_name_layout != staging_layout(self.token):
            return None
        config.staging_dataset_name_layout = staging_layout(token)
        return str(config.normalize_staging_dataset_name(client.schema))

    def note_sequence(self, number: int) -> None:
        """Note in the directory which entry of the slice was the last when this run began."""
        path = Path(self.pipeline.working_dir) / _NOTE
        path.write_text(json.dumps({"sequence": number, "token": self.token}), encoding="utf-8")

    def noted_sequence(self) -> tuple[int, str]:
        """Return the number that the last run in the directory has noted, and its token."""
        try:
            noted = json.loads((Path(self.pipeline.working_dir) / _NOTE).read_text("utf-8"))
            return int(noted["sequence"]), str(noted["token"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return 0, ""

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
def open_workspace(
    definition: LoadDefinition,
    request: RunRequest,
    is_given_up: Callable[[Workspace, str], bool] = lambda _workspace, _token: False,
) -> Iterator[Workspace]:
    """Make the pipeline of a run in a directory that this run holds alone.

    A second run of the same load and partition waits until the first has ended. Where the first
    was given up and holds the directory all the same, as one that was stopped does, the second
    works in a directory that is gone afterwards.

    Args:
        definition: The load.
        request: What is asked of it.
        is_given_up: Tells whether the attempt with a token was given up, by the destination of a
            workspace.
    """
    lost, cancelled = threading.Event(), request.cancelled
    request = replace(request, cancelled=lambda: lost.is_set() or cancelled())
    parts = parts_of(definition, request)
    home = Path(parts.pipelines_dir)
    names = names_of(slice_of(definition, request, parts.name), home)
    waiting: dict[str, Any] = {
        "who": f"run {request.run_id}",
        "log": request.log,
        "cancelled": request.cancelled,
    }
    token = uuid.uuid4().hex
    looked = time.monotonic()

    def leave(holder: Holder) -> bool:
        nonlocal looked
        if time.monotonic() - looked < _PATIENCE_SECONDS:
            return False
        looked = time.monotonic()
        with look_into(definition, request) as (pipeline, found, own_names):
            workspace = Workspace(
                pipeline=pipeline,
                base_name=parts.name,
                names=own_names,
                traits=found,
                request=request,
                transient=False,
            )
            return is_given_up(workspace, holder.token)

    with contextlib.ExitStack() as stack:
        what = f"the load {names.scope}"
        held = exclusive(
            names.lock_path, what=what, token=token, leave=leave, is_removed=True, **waiting
        )
        try:
            wait = stack.enter_context(held)
        except HolderGivenUpError as error:
            request.warn(f"{names.working_dir} is held by {error}; this run works without it")
            wait = None
            folder = tempfile.TemporaryDirectory(prefix="loadsmith-", ignore_cleanup_errors=True)
            own = Path(stack.enter_context(folder))
            names = replace(names, pipelines_dir=own, lock_path=own / "lock", released=None)
        wait_for_workers(names.workers_dir, **waiting)
        names.pipelines_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _take_over_directory(names, waiting)
        working_dir = names.working_dir
        _remove_broken(
            working_dir, request, lambda folder: new_pipeline(parts, names.state, folder)
        )
        bind_local_files(parts, home)
        found = traits(parts.destination)
        prefer_fastest_file_format(parts.destination, found)
        isolate_staging(parts.destination, token)
        pipeline = new_pipeline(parts, names.state, names.pipelines_dir)
        client = pipeline.destination_client()
        if _serves_another_destination(working_dir, pipeline, client.config):
            # Without a schema nothing was extracted: the secret was wrong, for instance.
            if pipeline.default_schema_name is not None:
                request.warn(
                    f"the working directory {working_dir} was used for another destination; it is"
                    " emptied, so that neither rows nor cursors get from one to the other"
                )
            shutil.rmtree(working_dir)
            pipeline = new_pipeline(parts, names.state, names.pipelines_dir)
            client = pipeline.destination_client()
            _serves_another_destination(working_dir, pipeline, client.config)
        elif (broken := damaged_in_packages(working_dir)) is not None:
            pipeline = _without_packages(pipeline, broken, request) or new_pipeline(
                parts, names.state, names.pipelines_dir
            )
            client = pipeline.destination_client()
        refuse_ambiguous_dataset(client)
        working_dir.chmod(0o700)
        workspace = Workspace(
            pipeline=pipeline,
            base_name=parts.name,
            names=names,
            traits=found,
            request=request,
            transient=slice_of(definition, request, parts.name).partition != ((), None),
            token=token,
            lost=lost,
        )
        workspace._clients[pipeline.default_schema_name] = client
        if wait is not None:
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
            stack.enter_context(
                exclusive(released.lock_path, what=what, is_removed=True, **waiting)
            )
        rename_pipeline(released.working_dir, names.state)
        released.working_dir.replace(names.working_dir)
        with contextlib.suppress(OSError):
            released.pipelines_dir.rmdir()


def _serves_another_destination(working_dir: Path, pipeline: Any, config: Any) -> bool:
    """Tell whether the directory holds the state of another destination; note ours if it is new.

    dlt keeps one local state for a pipeline name, whatever dataset it was loaded into.
    """
    where = [config.destination_type, config.fingerprint(), dataset_of(pipeline) or ""]
    local = getattr(getattr(config, "credentials", None), "database", None)
    mark = hashlib.sha256(json.dumps([*where, str(local)]).encode()).hexdigest()
    path = working_dir / ".destination"
    known = path.read_text("ascii", "replace") if path.is_file() else None
    if known is None or len(known) != len(mark):
        known = None
        path.write_text(mark)
    return known not in (None, mark)


def _remove_broken(
    working_dir: Path, request: RunRequest, make_pipeline: Callable[[Path], Any]
) -> None:
    """Remove what a run leaves that dies in the middle of a write of dlt's.

    A directory without a state is of no use. dlt writes a file beside its place, in the folder that
    holds schemas or packages, and would take what was not moved yet for one of them.

    Args:
        working_dir: The directory.
        request: Takes the warnings.
        make_pipeline: Makes the pipeline in another folder, to ask for its settings.
    """
    for pattern in ("*", "schemas/*", "normalize/*", "normalize/*/*", "load/*", "load/*/*"):
        for path in working_dir.glob(pattern):
            if is_draft(path.name) and path.is_file():
                path.unlink()
    if working_dir.is_dir() and (broken := damaged_base(working_dir)) is not None:
        with tempfile.TemporaryDirectory(prefix="loadsmith-look-") as folder:
            pipeline = make_pipeline(Path(folder))
            pipeline.deactivate()
            refuse_to_empty(working_dir, pipeline)
        request.warn(
            _damaged(broken) + ". The working directory is emptied; state and schemas are"
            " read from the destination, and what was not loaded is extracted again"
        )
        shutil.rmtree(working_dir)
    if working_dir.is_dir() and not (working_dir / "state.json").is_file():
        shutil.rmtree(working_dir)
    for path in (working_dir / ".destination", working_dir / _NOTE):
        make_room(path)
    for path in tidy_packages(working_dir):
        request.warn(f"{path} is no file of a load, and is removed")


def _without_packages(pipeline: Any, broken: Path, request: RunRequest) -> Any:
    """Give up what was extracted, of which a file is damaged.

    Returns:
        The pipeline; None where its directory had to be emptied.
    """
    contents = describe_packages(pipeline)
    request.warn(f"{_damaged(broken)}. It is given up and extracted again: {contents}")
    try:
        discard_pending_packages(pipeline)
    except Exception as error:  # noqa: BLE001 - what dlt says where its own files are damaged, too
        refuse_to_empty(Path(pipeline.working_dir), pipeline)
        request.log(f"{pipeline.working_dir} is emptied ({type(error).__name__})")
        shutil.rmtree(pipeline.working_dir)
        return None
    return pipeline


def _damaged(path: Path) -> str:
    return f"{path} is damaged: it is not as an earlier run has written it, as after a power cut"
