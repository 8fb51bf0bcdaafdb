"""What the ledger says of a package: whose it is, its tables and rows, and how far it came."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from loadsmith.model import RunRequest

LEDGER_TABLE = "_dlt_loadsmith_loads"

#: What the load id of an entry begins with that is of no package yet: a run has begun.
CLAIM = "begun-"


@dataclass(frozen=True)
class LedgerTable:
    """A table of a load, and whether rows of a dead load have to be removed from it."""

    name: str
    parent: str | None
    appended: bool


@dataclass(frozen=True)
class LedgerEntry:
    """One package of one load, or a run of a load that has begun.

    Attributes:
        rows: Rows by table that the package holds, for the report after a death.
        root_run_id: The run that `run_id` is a re-execution of, or the same.
        attempt: How often Dagster had retried the step.
        process: Host and number of the process that loaded it.
        reported: Whether Dagster was told. The last such entry of a load is kept: a retry of the
            run that wrote it goes on from there, and older packages elsewhere are obsolete.
        abandoned: Whether nobody writes it any more, and what is left of it is to be removed.
    """

    load_id: str
    scope: str
    run_id: str
    resources: tuple[str, ...] = ()
    tables: tuple[LedgerTable, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    root_run_id: str = ""
    attempt: int = 0
    process: str = ""
    reported: bool = False
    abandoned: bool = False
    committed: bool = False

    @property
    def is_claim(self) -> bool:
        """Whether it says that a run has begun, and is of no package."""
        return self.load_id.startswith(CLAIM)

    def to_text(self) -> str:
        """Return the entry as JSON, without what the ledger keeps in columns."""
        value = asdict(self)
        for name in ("load_id", "scope", "committed"):
            del value[name]
        return json.dumps(value)

    @staticmethod
    def from_text(text: str, *, load_id: str, scope: str, committed: bool) -> "LedgerEntry":
        """Read what `to_text` wrote."""
        value = json.loads(text)
        return LedgerEntry(
            load_id=load_id,
            scope=scope,
            committed=committed,
            run_id=value["run_id"],
            resources=tuple(value["resources"]),
            tables=tuple(LedgerTable(**table) for table in value["tables"]),
            rows=value["rows"],
            root_run_id=value["root_run_id"],
            attempt=value["attempt"],
            process=value["process"],
            reported=value["reported"],
            abandoned=value.get("abandoned", False),
        )

    def merged_with(self, others: "Sequence[LedgerEntry]") -> "LedgerEntry":
        """Return this entry with the resources and rows of others, as the report of a run."""
        rows: dict[str, int | None] = {}
        for entry in (*others, self):
            for table, count in entry.rows.items():
                known = rows.get(table, 0)
                rows[table] = None if known is None or count is None else known + count
        resources = {name for entry in (*others, self) for name in entry.resources}
        return replace(self, resources=tuple(sorted(resources)), rows=rows, reported=True)


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
