"""What the ledger says of a package: whose it is, its tables and rows, and how far it came."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from loadsmith.engine.locks import is_gone, this_execution
from loadsmith.model import RunRequest

LEDGER_TABLE = "_dlt_loadsmith_loads"

#: What the load id of an entry of 0.1 begins with that is of no package: a run has begun.
_BEGUN = "begun-"


#: Under this name an entry has the checksum of the rest.
_CHECK = "check"


class DamagedError(ValueError):
    """What the ledger holds is not what a run has written."""


@dataclass(frozen=True)
class LedgerTable:
    """A table of a load, and whether rows of a dead load have to be removed from it."""

    name: str
    parent: str | None
    appended: bool


@dataclass(frozen=True)
class Replaced:
    """A resource whose partition a package replaces.

    Attributes:
        name: Name of the resource.
        table: Its root table, where hints name one.
        cursor_path: Path of the cursor that took the window, where there is one.
        by_window: Whether all other rows of the window are removed, whichever package brought them.
        arguments: A hash of what the resource was made with; None where nobody knows it.
        sharing: The resources of the package that load into the root table, this one among them.
    """

    name: str
    table: str | None
    cursor_path: str | None = None
    by_window: bool = False
    arguments: str | None = None
    sharing: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerEntry:
    """One package of one load.

    Attributes:
        slice: What the run was responsible for: `load`, `pipeline`, `partition_keys`, `window`.
        rows: Rows by table that the package holds, for the report after a death.
        root_run_id: The run that `run_id` is a re-execution of, or the same.
        attempt: How often Dagster had retried the step.
        process: The process that loaded it, for people: host and number.
        execution: That process, by a name that no other one has.
        token: That of the attempt that wrote it; empty in entries of 0.1.
        sequence: Numbers entries of the dataset in the order in which they were written; 0 in
            entries of 0.1.
        marked: Whether it was written down that dlt counts the package as loaded.
        reported: Whether Dagster was told. The last such entry of a load is kept: a retry of the
            run that wrote it goes on from there, and older packages elsewhere are obsolete.
        undone: Whether the rows were removed, and late files of it may come yet.
        replacing: Resources whose partition the package replaces; see `reload`.
        replaces: What it replaces, as plain data, until that is removed.
        replaced: Rows or files that it has replaced, by table.
        committed: Whether dlt counts the package as loaded.
    """

    load_id: str
    scope: str
    run_id: str
    slice: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    tables: tuple[LedgerTable, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    root_run_id: str = ""
    attempt: int = 0
    process: str = ""
    execution: str = ""
    token: str = ""
    sequence: int = 0
    marked: bool = False
    reported: bool = False
    undone: bool = False
    replacing: tuple[Replaced, ...] = ()
    replaces: tuple[Mapping[str, Any], ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict)
    committed: bool = False

    @property
    def is_begun_run(self) -> bool:
        """Whether 0.1 wrote it, to say that a run has begun; it is of no package."""
        return self.load_id.startswith(_BEGUN)

    def to_text(self) -> str:
        """Return the entry as JSON, without what the ledger keeps in columns."""
        value = asdict(self)
        for name in _COLUMNS:
            del value[name]
        return json.dumps({**value, _CHECK: _checksum(value)})

    @staticmethod
    def from_text(text: str, *, load_id: str, scope: str, sequence: int | None) -> "LedgerEntry":
        """Read what `to_text` wrote, here or in another version.

        Raises:
            DamagedError: It is something else.
        """
        try:
            value = json.loads(text)
            check = value.pop(_CHECK, None)
            if check not in (None, _checksum(value)):
                raise DamagedError
            known = _known(LedgerEntry, value, but=_COLUMNS)
            for name in ("resources", "replaces"):
                known[name] = tuple(known.get(name, ()))
            known["replacing"] = tuple(
                Replaced(**_known(Replaced, one)) for one in known.get("replacing", ())
            )
            known["tables"] = tuple(
                LedgerTable(**_known(LedgerTable, table)) for table in known["tables"]
            )
            return LedgerEntry(load_id=load_id, scope=scope, sequence=sequence or 0, **known)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError from error

    def merged_with(self, others: "Sequence[LedgerEntry]") -> "LedgerEntry":
        """Return this entry with the resources and rows of others, as the report of a run."""
        rows: dict[str, int | None] = {}
        for entry in (*others, self):
            for table, count in entry.rows.items():
                known = rows.get(table, 0)
                rows[table] = None if known is None or count is None else known + count
        resources = {name for entry in (*others, self) for name in entry.resources}
        return replace(self, resources=tuple(sorted(resources)), rows=rows, reported=True)


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Rows that a package replaces when it is marked as loaded.

    Attributes:
        load_id: The package that brought them.
        tables: The tables that they are in, parents first.
        resources: The resources of those tables.
        scope: Where the ledger's record of that package stands; None where the record stays,
            because only a part of the package is replaced.
        bounds: Column of the root table and its half-open bounds as texts of SQL, where only a
            part of the package belongs to the partition.
        others: Whether the rows of all packages but `load_id` are meant, within the bounds.
    """

    load_id: str
    tables: tuple[LedgerTable, ...]
    resources: tuple[str, ...]
    scope: str | None = None
    bounds: tuple[str, str, str] | None = None
    others: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the removal as plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Removal":
        """Read what `to_dict` returned."""
        bounds = value["bounds"]
        return Removal(
            load_id=value["load_id"],
            tables=tuple(LedgerTable(**table) for table in value["tables"]),
            resources=tuple(value["resources"]),
            scope=value["scope"],
            bounds=tuple(bounds) if bounds else None,
            others=value["others"],
        )


_COLUMNS = ("load_id", "scope", "sequence", "committed")


def _checksum(value: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _known(kind: Any, value: Mapping[str, Any], but: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields that this version knows."""
    names = {one.name for one in fields(kind)}.difference(but)
    return {name: own for name, own in value.items() if name in names}


def in_order(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Return entries in the order in which they were written."""
    return sorted(entries, key=lambda entry: (entry.sequence, entry.load_id))


def was_left_by_attempt(entry: LedgerEntry, request: RunRequest) -> bool:
    """Tell whether a reported package belongs to a run that failed after it had reported it.

    A run can die between its report and its end, or end with the failure of another resource, or
    be delivered twice. Who runs it again must not load again what it had loaded. A run that merely
    follows a good one loads anew.
    """
    if entry.run_id == request.run_id:
        # Within one attempt, a second load is wanted: an op may call `run` in a loop.
        return entry.attempt != request.attempt or entry.execution not in ("", this_execution())
    outcome = request.outcome_of(entry.run_id)
    if outcome == "running":
        # A run reports a moment before Dagster knows that its step has ended.
        return is_gone(entry.execution)
    return outcome == "failed"
