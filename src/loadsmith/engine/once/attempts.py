"""A ledger entry and a request in, whether the request tries again what the entry is of out."""

import os
import socket

from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.model import RunRequest


def was_left_by_attempt(entry: LedgerEntry, request: RunRequest) -> bool:
    """Tell whether a reported package belongs to a run that failed after it had reported it.

    A run can die between its report and its end, or end with the failure of another resource.
    Who runs it again must not load again what it had loaded. A run that merely follows a good one
    loads anew.
    """
    if entry.run_id == request.run_id:
        # Within one attempt, a second load is wanted: an op may call `run` in a loop.
        return entry.attempt != request.attempt
    outcome = request.outcome_of(entry.run_id)
    if outcome == "running":
        # A run reports a moment before Dagster knows that its step has ended.
        return _is_dead(entry.process)
    return outcome == "failed"


def has_ended(entry: LedgerEntry, request: RunRequest) -> bool:
    """Tell whether nobody writes a package any more, as far as that can be known from here.

    A process of this host is looked for. Of another host, Dagster says whether the run has failed.
    """
    if entry.process.rpartition(":")[0] == socket.gethostname():
        return _is_dead(entry.process)
    return request.outcome_of(entry.run_id) == "failed"


def goes_on(entry: LedgerEntry, request: RunRequest) -> bool:
    """Tell whether the run that wrote an entry is at it still, as far as Dagster knows."""
    return not _is_dead(entry.process) and request.outcome_of(entry.run_id) == "running"


def this_process() -> str:
    """Return a name of this process for the ledger."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_dead(process: str) -> bool:
    """Tell whether a process of this host is gone; False for those of other hosts."""
    host, _, number = process.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
