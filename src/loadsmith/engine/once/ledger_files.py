"""The ledger and the claims as small files beside dlt's own, and the files of a dead load."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from loadsmith.engine.dlt_hooks import JobName, in_transaction
from loadsmith.engine.once.claim import Claim, FoundClaim, is_stopped, whole_claims
from loadsmith.engine.once.damaged import entry_from_tables
from loadsmith.engine.once.entry import (
    LEDGER_TABLE,
    DamagedError,
    LedgerEntry,
    LedgerTable,
    Removal,
    in_order,
)
from loadsmith.engine.once.open_tables import find_open_table
from loadsmith.engine.once.undo_open import OpenUndo
from loadsmith.engine.once.writers import writers_to
from loadsmith.engine.workspace import forget_stored, greatest_sequence
from loadsmith.model import Window

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace

_CLAIM, _LEASE = ".claim", ".lease"


class FileLedger:
    """The ledger as small files beside dlt's own.

    The name of an entry's file is `<scope>-<sequence>-<load id>.json`, with a hash of the scope, so
    that a look at the names finds those of a slice. 0.1 named it by the load id alone.
    """

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        self.client = client
        self._workspace = workspace
        self._folder = client.pathlib.join(client.dataset_path, LEDGER_TABLE)

    def entries(self, *scopes: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        own = {_hash_of(scope): scope for scope in scopes}
        found = [
            self._read(path, own.get(key or "", ""), number, load_id)
            for path, (key, number, load_id) in self._files().items()
            if key is None or key in own
        ]
        return in_order(entry for entry in found if entry is not None and entry.scope in scopes)

    def entries_below(self, prefix: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        found = [
            self._read(path, "", number, load_id)
            for path, (_, number, load_id) in self._files().items()
        ]
        return in_order(
            entry for entry in found if entry is not None and entry.scope.startswith(prefix)
        )

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        return bool(self._marks(load_id))

    def write(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """See `Ledger`."""
        with self.transaction():
            files = self._files()
            # Files of the ledger may be lost; see `SqlLedger.write`.
            stored = greatest_sequence(self.client)
        last = max([stored, *(number for _, number, _ in files.values())])
        self.strike(entries)
        written = [
            replace(entry, sequence=number) for number, entry in enumerate(entries, last + 1)
        ]
        for entry in written:
            self._write(self._path(entry), {"load_id": entry.load_id, **_value_of(entry)})
        return written

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        gone = {entry.load_id for entry in entries}
        for path, (_, _, load_id) in self._files().items():
            if load_id in gone:
                with contextlib.suppress(FileNotFoundError):
                    self.client.fs_client.rm(path)

    def retire(self, entry: LedgerEntry) -> None:
        """See `Ledger`. A file that was on its way may come yet; the next run looks for it."""
        if entry.undone:
            self.strike([entry])
        else:
            self.change(replace(entry, undone=True))

    def change(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        known = [path for path, (_, _, one) in self._files().items() if one == entry.load_id]
        for path in known:
            self._write(path, {"load_id": entry.load_id, **_value_of(entry)})

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. dlt's file names carry the load id, so the files of a package are known."""
        appended = [table for table in entry.tables if table.appended]
        with_log = [table for table in appended if find_open_table(self.client, table.name)]
        removed = sum(
            self._remove_files(table.name, entry.load_id)
            for table in appended
            if table not in with_log
        )
        forget_stored(self.client, entry.load_id)
        self._remove_files(self.client.schema.state_table_name, entry.load_id)
        for path in self._marks(entry.load_id):
            self.client.fs_client.rm(path)
        if not with_log:
            return removed
        undo = OpenUndo(
            client=self.client, workspace=self._workspace, writers=self._writers, wait=wait
        )
        rows = undo.remove(entry, with_log)
        return None if rows is None else removed + rows

    def remove(self, removal: Removal) -> dict[str, int]:
        """See `Ledger`. Files are removed as whole packages."""
        removed = {}
        with_log = [table for table in removal.tables if find_open_table(self.client, table.name)]
        for table in removal.tables:
            if table not in with_log:
                removed[table.name] = self._remove_files(table.name, removal.load_id)
        if with_log:
            undo = OpenUndo(
                client=self.client, workspace=self._workspace, writers=self._writers, wait=True
            )
            removed |= undo.remove_loaded(removal.load_id, removal.tables)
        return removed

    def rows_of(self, table: str) -> int | None:
        """See `Ledger`. No file says how many rows it has."""
        return None if self.client.list_table_files(table) else 0

    def has_table(self, table: str) -> bool:
        """See `Ledger`."""
        return table in self.client.schema.tables

    def bounds_of(self, table: str, path: str, window: Window) -> tuple[str, str, str] | None:
        """See `Ledger`. Files are removed as a whole."""
        return None

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        """See `Ledger`. Files have none; the claim is looked for once."""
        return in_transaction(self.client)

    def fence(self, lose: Callable[[], Exception], mark: Callable[[Any, str], None]) -> "FileFence":
        """See `Ledger`."""
        return FileFence(lose, mark, self._workspace, self._workspace.request.warn)

    def forget_jobs(self, load_id: str) -> None:
        """See `Ledger`. Jobs are not written down."""

    def clear_staging(self, token: str) -> None:
        """See `Ledger`. Files are staged nowhere."""

    # -- claims -------------------------------------------------------------------------------

    def claims(self) -> list[FoundClaim]:
        """See `Claims`. The clock is that of the file system: a probe tells the time."""
        names = self._names()
        tokens = [name.removesuffix(_CLAIM) for name in names if name.endswith(_CLAIM)]
        if not tokens:
            return []
        files = self.client.fs_client
        probe = self._path_of(self._workspace.token, ".probe")
        files.write_text(probe, "", encoding="utf-8")
        now = files.modified(probe)
        files.rm(probe)
        found = []
        for token in tokens:
            try:
                age = (now - files.modified(self._path_of(token, _LEASE))).total_seconds()
                text = files.read_text(self._path_of(token, _CLAIM), encoding="utf-8")
            except FileNotFoundError:
                # It is being removed.
                continue
            except ValueError:
                text = ""
            claim = Claim.from_text(text, token)
            found.append(FoundClaim(claim, self._workspace.is_over(claim, age), age))
        return whole_claims(
            self, found, self._workspace, lambda claim: self._path_of(claim.token, _CLAIM)
        )

    def has_claim(self, token: str) -> bool:
        """See `Claims`."""
        return bool(self.client.fs_client.exists(self._path_of(token, _CLAIM)))

    def prepare(self) -> None:
        """See `Ledger`."""
        if not self.client.is_storage_initialized():
            # Another load may make it at the same moment.
            with contextlib.suppress(FileExistsError):
                self.client.initialize_storage()
        self.client.fs_client.makedirs(self._folder, exist_ok=True)

    def write_claim(self, claim: Claim) -> None:
        """See `Claims`."""
        self.renew_lease(claim.token)
        self._write(self._path_of(claim.token, _CLAIM), json.loads(claim.to_text()))

    def renew_lease(self, token: str) -> None:
        """See `Claims`. The claim itself is never written again, so that it stays gone."""
        self.client.fs_client.write_text(self._path_of(token, _LEASE), "", encoding="utf-8")

    def remove_claim(self, claim: Claim) -> None:
        """See `Claims`."""
        for ending in (_CLAIM, _LEASE):
            with contextlib.suppress(FileNotFoundError):
                self.client.fs_client.rm(self._path_of(claim.token, ending))

    def _writers(self, tables: Sequence[LedgerTable]) -> list[LedgerEntry]:
        """Return the packages of other loads that may be written to the tables at this moment."""
        return writers_to(tables, self, self.entries, self._workspace)

    # -- files --------------------------------------------------------------------------------

    def _remove_files(self, table: str, load_id: str) -> int:
        removed = 0
        try:
            paths = self.client.list_table_files(table)
        except (DestinationUndefinedEntity, FileNotFoundError):
            # The package died before it had made the table.
            return 0
        for path in paths:
            if load_id in path.rsplit("/", 1)[-1]:
                self.client.fs_client.rm(path)
                removed += 1
        return removed

    def _marks(self, load_id: str) -> list[str]:
        folder = self.client.get_table_dir(self.client.schema.loads_table_name)
        if not self.client.fs_client.exists(folder):
            return []
        ending = f"__{load_id}.jsonl"
        found = self.client.fs_client.ls(folder, detail=False)
        return [path for path in found if path.endswith(ending)]

    def _path(self, entry: LedgerEntry) -> str:
        name = f"{_hash_of(entry.scope)}-{entry.sequence}-{entry.load_id}.json"
        return str(self.client.pathlib.join(self._folder, name))

    def _path_of(self, token: str, ending: str) -> str:
        return str(self.client.pathlib.join(self._folder, token + ending))

    def _write(self, path: str, value: Any) -> None:
        files = self.client.fs_client
        if not self.client.config.is_local_filesystem:
            files.write_text(path, json.dumps(value), encoding="utf-8")
            return
        # A death leaves an entry as it was or as it is to be: half of one says nothing. Elsewhere
        # an object is there as a whole or not at all.
        draft = f"{path}.draft"
        files.write_text(draft, json.dumps(value), encoding="utf-8")
        Path(draft).replace(path)

    def _read(self, path: str, scope: str, number: int, load_id: str) -> LedgerEntry | None:
        """Read one entry; None where it is gone.

        Args:
            path: Its file.
            scope: Its scope by the name of the file, where that is known.
            number: Its number by that name.
            load_id: Its package by that name.
        """
        try:
            value = json.loads(self.client.fs_client.read_text(path, encoding="utf-8"))
            if value["load_id"] != load_id or scope not in ("", value["scope"]):
                raise DamagedError
            return LedgerEntry.from_text(
                value["payload"],
                load_id=load_id,
                scope=value["scope"],
                sequence=value.get("sequence"),
            )
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, TypeError, ValueError):
            return entry_from_tables(
                self._workspace,
                self.client,
                self.is_committed,
                place=path,
                load_id=load_id,
                scope=scope,
                sequence=number,
            )

    def _names(self) -> dict[str, str]:
        """Return the paths of the files of the ledger by name."""
        if not self.client.fs_client.exists(self._folder):
            return {}
        found = self.client.fs_client.ls(self._folder, detail=False)
        return {path.replace("\\", "/").rpartition("/")[2]: path for path in found}

    def _files(self) -> dict[str, tuple[str | None, int, str]]:
        """Return the hash of the scope, the number and the load id of each entry by its path."""
        found: dict[str, tuple[str | None, int, str]] = {}
        for name, path in self._names().items():
            if not name.endswith(".json"):
                continue
            parts = name.removesuffix(".json").split("-", 2)
            if len(parts) == 3 and parts[1].isdigit():
                found[path] = (parts[0], int(parts[1]), parts[2])
            else:
                found[path] = (None, 0, name.removesuffix(".json"))
        return found


@dataclass
class FileFence:
    """Looks for the claim of one attempt in the folder of the ledger; see `Fence`.

    Attributes:
        lose: Takes notice that the claim is gone; returns the error to raise.
        mark_once: Marks a package; see `Fence.mark`.
        workspace: That of the run.
        warn: See `Fence`.
        marked: See `Fence`.
    """

    lose: Callable[[], Exception]
    mark_once: Callable[[Any, str], None]
    workspace: "Workspace"
    warn: Callable[[str], None]
    marked: set[str] = field(default_factory=set)

    def hold(self, execute: Callable[[str], Any], job: JobName | None = None) -> None:
        """See `Fence`. Files have no transactions."""

    def is_stopped(self) -> bool:
        """See `Fence`."""
        return is_stopped(self.workspace)

    def is_done(self, client: Any, job: JobName) -> bool:
        """See `Fence`. A file may be written twice."""
        return False

    def check(self, client: Any) -> None:
        """See `Fence`."""
        if not FileLedger(client, self.workspace).has_claim(self.workspace.token):
            raise self.lose()

    def mark(self, client: Any, load_id: str) -> None:
        """See `Fence`."""
        self.check(client)
        self.mark_once(client, load_id)
        self.marked.add(load_id)


def _value_of(entry: LedgerEntry) -> dict[str, Any]:
    return {"scope": entry.scope, "sequence": entry.sequence, "payload": entry.to_text()}


def _hash_of(scope: str) -> str:
    return hashlib.sha256(scope.encode()).hexdigest()[:32]
