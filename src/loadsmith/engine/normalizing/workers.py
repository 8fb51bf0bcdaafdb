"""End dlt's normalize workers together with the run that started them.

The workers would outlive a killed run and write files into the package that the next run creates
again under the same id, so that rows would be loaded twice. Therefore each worker ends when its run
is gone, and holds a lock until then, for which the next run waits.
"""

import contextlib
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from dlt.common.configuration import configspec
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import ContainerInjectableContext
from dlt.common.runners.pool_runner import NullExecutor
from filelock import FileLock

from loadsmith.engine.dlt_hooks import kill_processes, replace_pool
from loadsmith.engine.locks import exclusive
from loadsmith.engine.normalizing.by_column import arrow_normalizer
from loadsmith.engine.secrets import redacted_logs, redactors_of_logs

#: Seconds between two checks of a worker whether its run is alive.
_LOOK_SECONDS = 0.1

#: The locks of this process, if it is a worker.
_held: list[FileLock] = []

#: The block that a worker stays in as long as it lives.
_open_block = contextlib.ExitStack()

#: The folders of the `workers_of_run` blocks that threads of this process are in.
_folders: list[Path] = []


@configspec
class _WorkerOfRun(ContainerInjectableContext):
    """A context that dlt gives to the processes that it starts, and that runs there first."""

    worker_affinity: ClassVar[bool] = True
    can_create_default: ClassVar[bool] = False

    folder: str = ""
    run_pid: int = 0
    by_column: bool = False
    redactors: Any = ()

    def after_add(self) -> None:
        """Bind this process to the run if it is a worker."""
        if os.getpid() != self.run_pid:
            _bind(Path(self.folder), self.run_pid)
            for redactor in self.redactors:
                _open_block.enter_context(redacted_logs(redactor))
            _open_block.enter_context(arrow_normalizer(self.by_column))


@contextlib.contextmanager
def workers_of_run(folder: Path, *, by_column: bool) -> Iterator[None]:
    """Bind the processes that `pipeline.normalize` starts in the block to this process.

    Args:
        folder: Folder for the locks of the workers; `wait_for_workers` reads it.
        by_column: Whether the workers normalize as in an `arrow_normalizer` block.
    """
    _folders.append(folder)
    context = _WorkerOfRun(
        folder=str(folder),
        run_pid=os.getpid(),
        by_column=by_column,
        redactors=redactors_of_logs(),
    )
    try:
        with Container().injectable_context(context):
            yield
    finally:
        _folders.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_workers(
    folder: Path, *, who: str, log: Callable[[str], None], cancelled: Callable[[], bool]
) -> None:
    """Wait until the workers of a dead run have ended. The caller holds the lock of the load."""
    for path in sorted(folder.glob("*.lock")):
        what = f"process {path.stem}, which normalizes for a run that died"
        with exclusive(path, what=what, who=who, log=log, cancelled=cancelled):
            path.unlink(missing_ok=True)


def _bind(folder: Path, run_pid: int) -> None:
    """Hold a lock in the folder as long as this process lives, and end with the run."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder / f"{os.getpid()}.lock", thread_local=False)
    lock.acquire()
    _held.append(lock)
    # The next run waits for this lock if it reads the folder later. If it read the folder earlier,
    # the run of this process was already gone.
    _end_without(run_pid)
    threading.Thread(target=_watch, args=(run_pid,), daemon=True).start()


def _end_without(run_pid: int) -> None:
    if os.getppid() != run_pid:
        os._exit(1)


def _watch(run_pid: int) -> None:
    while True:
        _end_without(run_pid)
        time.sleep(_LOOK_SECONDS)


def _watch_in_fork() -> None:
    # A forked process inherits everything, so dlt gives it no context.
    for folder in _folders:
        _bind(folder, os.getppid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch_in_fork)


class _EndingPool(ProcessPoolExecutor):
    """The pool of a run; if the run fails, it kills its workers instead of waiting for them."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the workers, unless the run was cancelled or has failed."""
        if sys.exc_info()[0] is not None:
            kill_processes(self)
        super().shutdown(wait, cancel_futures=cancel_futures)


def _pool_of_run(pool: Executor) -> Executor:
    if _WorkerOfRun not in Container() or type(pool) is not ProcessPoolExecutor:
        return pool
    if multiprocessing.current_process().daemon:
        # Python allows it no children: it is a worker of a pool itself, such as Celery's.
        return NullExecutor()
    pool.__class__ = _EndingPool
    return pool


# dlt always waits for its workers.
replace_pool(_pool_of_run)
