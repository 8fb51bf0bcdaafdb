"""The ledger as small files beside dlt's own, and the files of a dead load."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from loadsmith.engine.once.entry import LEDGER_TABLE, LedgerEntry, LedgerTable
from loadsmith.engine.once.open_tables import find_open_table
from loadsmith.engine.once.undo_open import OpenUndo
from loadsmith.engine.once.writers import writers_to

if TYPE_CHECKING:
    from loadsmith.engine.workspace import Workspace


class FileLedger:
    """The ledger as small files beside dlt's own."""

    def __init__(self, client: Any, workspace: "Workspace") -> None:
        self._client = client
        self._workspace = workspace
        self._reported: set[str] = set()
        self._folder = client.pathlib.join(client.dataset_path, LEDGER_TABLE)

    def written(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        found = [
            entry
            for entry in map(self._read, self._files())
            if entry is not None and entry.scope == scope
        ]
        return sorted(found, key=lambda entry: entry.load_id)

    def entries(self, scope: str) -> list[LedgerEntry]:
        """See `Ledger`."""
        return [
            entry if entry.is_claim else replace(entry, committed=self.is_committed(entry.load_id))
            for entry in self.written(scope)
        ]

    def is_committed(self, load_id: str) -> bool:
        """See `Ledger`."""
        folder = self._client.get_table_dir(self._client.schema.loads_table_name)
        if not self._client.fs_client.exists(folder):
            return False
        ending = f"__{load_id}.jsonl"
        return any(
            path.endswith(ending) for path in self._client.fs_client.ls(folder, detail=False)
        )

    def write(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        if not self._client.is_storage_initialized():
            # Another load may make it at the same moment.
            with contextlib.suppress(FileExistsError):
                self._client.initialize_storage()
        self._client.fs_client.makedirs(self._folder, exist_ok=True)
        for entry in entries:
            self._write(entry)

    def strike(self, entries: Sequence[LedgerEntry]) -> None:
        """See `Ledger`."""
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                self._client.fs_client.rm(self._path(entry))

    def report(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        self._write(entry)

    def undo(self, entry: LedgerEntry, *, wait: bool = True) -> int | None:
        """See `Ledger`. dlt's file names carry the load id, so the files of a package are known."""
        appended = [table for table in entry.tables if table.appended]
        with_log = [table for table in appended if find_open_table(self._client, table.name)]
        removed = sum(
            self._remove_files(table.name, entry.load_id)
            for table in appended
            if table not in with_log
        )
        if not with_log:
            return removed
        # Two runs that undo at the same time do not wait for what each other's dead one was.
        self.report(replace(entry, abandoned=True))
        undo = OpenUndo(
            client=self._client, workspace=self._workspace, writers=self._writers, wait=wait
        )
        rows = undo.remove(entry, with_log)
        return None if rows is None else removed + rows

    def _writers(self, tables: Sequence[LedgerTable]) -> list[LedgerEntry]:
        """Return the packages of other loads that may be written to the tables at this moment."""
        entries = []
        for path in self._files():
            if path in self._reported:
                continue
            entry = self._read(path)
            if entry is not None:
                entries.append(entry)
                if entry.reported:
                    # It stays so, and there is one of each partition.
                    self._reported.add(path)
        return writers_to(tables, entries, self._workspace, self.is_committed)

    def _remove_files(self, table: str, load_id: str) -> int:
        removed = 0
        try:
            paths = self._client.list_table_files(table)
        except (DestinationUndefinedEntity, FileNotFoundError):
            # The package died before it had made the table.
            return 0
        for path in paths:
            if load_id in path.rsplit("/", 1)[-1]:
                self._client.fs_client.rm(path)
                removed += 1
        return removed

    def clear_staging(self) -> None:
        """See `Ledger`. Files are staged nowhere."""

    def _path(self, entry: LedgerEntry) -> str:
        path: str = self._client.pathlib.join(self._folder, f"{entry.load_id}.json")
        return path

    def _write(self, entry: LedgerEntry) -> None:
        value = {"load_id": entry.load_id, "scope": entry.scope, "payload": entry.to_text()}
        files, path = self._client.fs_client, self._path(entry)
        if not self._client.config.is_local_filesystem:
            files.write_text(path, json.dumps(value), encoding="utf-8")
            return
        # A death leaves an entry as it was or as it is to be: half of one says nothing. Elsewhere
        # an object is there as a whole or not at all.
        draft = f"{path}.draft"
        files.write_text(draft, json.dumps(value), encoding="utf-8")
        Path(draft).replace(path)

    def _read(self, path: str) -> LedgerEntry | None:
        """Read one entry; None where it is gone, or not written yet."""
        try:
            value = json.loads(self._client.fs_client.read_text(path, encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return LedgerEntry.from_text(
            value["payload"], load_id=value["load_id"], scope=value["scope"], committed=False
        )

    def _files(self) -> list[str]:
        if not self._client.fs_client.exists(self._folder):
            return []
        found = self._client.fs_client.ls(self._folder, detail=False)
        return [path for path in found if path.endswith(".json")]
